"""The ground every contract stands on: frozen values, tolerant readers, identifiers that fit a subject token."""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict

TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}\Z")
SUBJECT = re.compile(r"(?=.{1,512}\Z)[^\s.*>$\x00-\x1f][^\s.*>\x00-\x1f]*(?:\.[^\s.*>\x00-\x1f]+)*\Z")


class Contract(BaseModel):
    """A value on the wire. Fields a reader does not know are kept and written back unchanged."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def unknown_fields(self) -> Mapping[str, object]:
        """Fields that this version does not declare, as they were read."""
        return self.__pydantic_extra__ or {}


def check_token(value: str) -> str:
    """Return `value` if it may stand as one token of a subject.

    Raises:
        ValueError: it is empty, longer than 128 characters, or has characters besides letters, digits, `-` and `_`.
    Source: NATS subject naming, https://docs.nats.io/nats-concepts/subjects#characters-allowed-and-recommended-for-subject-names
    """
    if not TOKEN.match(value):
        raise ValueError(f"{value!r} must be 1-128 letters, digits, '-' or '_' and start with a letter or digit")
    return value


Token = Annotated[str, AfterValidator(check_token)]
"""An identifier that is used as one token of a NATS subject."""


def check_subject(value: str) -> str:
    """Return `value` if something may be published to it that an asker hears.

    Raises:
        ValueError: it is no subject, has wildcards, is over 512 characters, or is one of the server's own (`$…`).
    """
    if not SUBJECT.match(value):
        raise ValueError(f"{value[:80]!r} is no subject to publish to: no spaces, no wildcards, no `$` in front")
    return value


Subject = Annotated[str, AfterValidator(check_subject)]
"""A subject that an asker names for what it wants to hear."""


def _seconds(value: object) -> object:
    if isinstance(value, str):
        try:
            return timedelta(seconds=float(value))
        except (ValueError, OverflowError):
            return value
    return value


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
"""A length of time: seconds as a number (`90`), or ISO 8601 (`PT1M30S`)."""

Instant = AwareDatetime
"""A point in time with its zone; ours are UTC."""


def new_id() -> str:
    """Return a fresh random identifier of 32 hexadecimal digits."""
    return uuid.uuid4().hex


def now() -> datetime:
    """Return the present instant in UTC."""
    return datetime.now(UTC)
