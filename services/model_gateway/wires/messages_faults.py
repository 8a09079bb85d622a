"""Reads what an HTTP error of the messages API means, and from its rate-limit headers how long to wait."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.http_faults import failed as failed_by_body

_LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")


def failed(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, *, key: str | None = None, secret: str = ""
) -> Failed:
    """Return what an answer with an error status means. `secret` is struck out of whatever is passed on."""
    known = {name.lower(): value for name, value in headers.items()}
    if status == 429 and "retry-after" not in known and (waits := list(_waits(known))):
        known["retry-after"] = f"{max(waits):.3f}"
    return failed_by_body(provider, status, known, body, key=key, secret=secret)


def _waits(headers: Mapping[str, str]) -> Iterator[float]:
    """Yield the seconds until each used-up limit is filled again, by the provider's own clock.

    Source: https://platform.claude.com/docs/en/api/rate-limits#response-headers
    """
    try:
        now = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return
    for limit in _LIMITS:
        if headers.get(f"anthropic-ratelimit-{limit}-remaining") != "0":
            continue
        try:
            again = datetime.fromisoformat(headers.get(f"anthropic-ratelimit-{limit}-reset", ""))
            yield max(0.0, (again - now).total_seconds())
        except (ValueError, TypeError):
            continue
