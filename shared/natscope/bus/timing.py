"""When a task may begin: how far from now its time may lie, so that what it refers to is still there."""

from datetime import datetime, timedelta

from natscope.bus.envelope import CLAIM_BYTES
from natscope.contracts.contract import now
from natscope.contracts.errors import BodyInvalid
from natscope.contracts.task import Submit

FURTHEST = timedelta(days=28)
"""Attached media and journals are kept for 30 days."""
FURTHEST_LARGE = timedelta(days=7)
"""Bodies over 256 KiB are kept for eight days."""
LONG_AGO = timedelta(days=1)


def is_early(body: Submit) -> bool:
    """Return whether the time of a task has not come."""
    return body.not_before is not None and body.not_before > now()


def check_time(body: Submit, *, at: datetime | None = None) -> None:
    """Refuse a task, submitted `at` (None: now), whose time is a mistake or too far ahead.

    Raises:
        BodyInvalid: more than a day ago, more than 28 days ahead, or more than 7 with a body over 256 KiB.
    """
    if body.not_before is None:
        return
    ahead = body.not_before - (at or now())
    if ahead < -LONG_AGO:
        raise BodyInvalid(f"the task's time was {body.not_before.isoformat()}", remedy="leave `not_before` out")
    furthest = FURTHEST_LARGE if len(body.model_dump_json()) > CLAIM_BYTES else FURTHEST
    if ahead > furthest:
        raise BodyInvalid(
            f"the task is to begin {body.not_before.isoformat()}; it is kept for {furthest.days} days at most",
            remedy="make a schedule: `natscope schedule add`",
        )
