"""Reads what Gemini's errors mean, with an HTTP status or in the midst of a stream.

Source: https://ai.google.dev/gemini-api/docs/troubleshooting and https://google.aip.dev/193 (ErrorInfo, RetryInfo,
QuotaFailure).
"""

import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue
from pydantic_core import from_json

from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires.http_faults import SAID, error_in, retry_after
from services.model_gateway.wires.http_faults import failed as failed_by_status

Json = Mapping[str, JsonValue]

_BY_REASON: Mapping[str, FaultName] = {
    "API_KEY_INVALID": "bad_key",
    "API_KEY_EXPIRED": "bad_key",
    "ACCESS_TOKEN_EXPIRED": "bad_key",
    "CREDENTIALS_MISSING": "bad_key",
    "BILLING_DISABLED": "no_balance",
    "RATE_LIMIT_EXCEEDED": "rate_limit",
}
_BY_TEXT: tuple[tuple[re.Pattern[str], FaultName], ...] = (
    (re.compile(r"api key (not valid|not found|expired|was reported as leaked)|unregistered callers", re.I), "bad_key"),
    (re.compile(r"token count\b.*\bexceeds|maximum (number of tokens allowed|context length)", re.I | re.S),
     "context_too_long"),
    (re.compile(r"context (length|window)|prompt is too long|too many (input )?tokens", re.I), "context_too_long"),
    (re.compile(r"content management policy|safety (system|settings|policy)|content policy", re.I), "content_filter"),
    (re.compile(r"payload size exceeds|request (is )?too large", re.I), "too_large"),
    (re.compile(r"model\b.*\b(does not exist|not found|is not supported)", re.I), "unknown_model"),
    (re.compile(r"location is not supported", re.I), "forbidden"),
    (re.compile(r"enable billing|billing account|prepayment|balance", re.I), "no_balance"),
)  # fmt: skip
_BY_CODE: Mapping[int, FaultName] = {
    401: "bad_key", 402: "no_balance", 403: "forbidden", 404: "unknown_model", 408: "request_timeout",
    409: "overloaded", 413: "too_large", 425: "overloaded", 429: "rate_limit", 499: "server_error",
    503: "overloaded", 504: "request_timeout", 529: "overloaded",
}  # fmt: skip
_BY_STATUS: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ABORTED": 409, "ALREADY_EXISTS": 409, "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499, "DATA_LOSS": 500, "UNKNOWN": 500, "INTERNAL": 500, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
_LONG = re.compile(r"PerDay|PerMonth|per_day|per_month", re.I)
_SPENT = re.compile(r"current quota|spend(ing)? (cap|limit)|limit: 0\b|insufficient[_ ]quota", re.I)
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")
_KEY = re.compile(r"AIza[\w-]{10,}|AQ\.[\w.-]{10,}")


def failed(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, *, key: str | None = None, secret: str = ""
) -> Failed:
    """Return what an answer with an error status means. `secret` is struck out of whatever is passed on."""
    try:
        error = error_in(from_json(body))
    except ValueError:
        error = None
    if error is None:
        return failed_by_status(provider, status, headers, body, key=key, secret=secret)
    return told(provider, error, status=status, key=key, secret=secret, retry_after_s=retry_after(headers))


def told(
    provider: str,
    error: Json,
    *,
    status: int | None = None,
    key: str | None = None,
    secret: str = "",
    retry_after_s: float | None = None,
) -> Failed:
    """Return what an error object means; without `status` its own code is taken for it."""
    if status is None:
        code = error.get("code")
        status = code if isinstance(code, int) and code >= 400 else _BY_STATUS.get(str(error.get("status")))
    text = str(error.get("message") or "")
    details = list(_details(error))
    wait = _delay(details)
    name = _name(status, text, details, asked_to_wait=wait is not None or retry_after_s is not None)
    said = "" if name == "bad_key" else without(secret, text)
    return Failed(name, provider=provider, key=key, status=status, said=said, retry_after_s=wait or retry_after_s)


def without(secret: str, text: str) -> str:
    """Return the provider's words in one line of bounded length, without anything that looks like a key."""
    text = " ".join(text.split())
    return _KEY.sub("…", text.replace(secret, "…") if len(secret) >= 8 else text)[:SAID]


def _name(status: int | None, text: str, details: list[Json], *, asked_to_wait: bool) -> FaultName:
    for detail in details:
        found = _BY_REASON.get(str(detail.get("reason")))
        if found is not None and (status != 429 or found != "rate_limit"):
            return found
    if status == 429:
        return "quota" if _is_used_up(text, details, asked_to_wait=asked_to_wait) else "rate_limit"
    if status in (None, 400, 403, 404, 413, 422):
        for pattern, name in _BY_TEXT:
            if pattern.search(text):
                return name
    return _BY_CODE.get(status or 500, "server_error" if (status or 500) >= 500 else "bad_request")


def _is_used_up(text: str, details: list[Json], *, asked_to_wait: bool) -> bool:
    """Return whether waiting a while is of no use.

    The words are the same for a limit by the minute and one by the day; what tells them apart is the quota's name, or
    else whether the answer says how long to wait.
    """
    quotas = [f"{each.get('quotaId')} {each.get('quotaMetric')}" for each in _violations(details)]
    if any(_LONG.search(quota) for quota in quotas):
        return True
    return bool(_SPENT.search(text)) and not asked_to_wait


def _details(error: Json) -> Iterator[Json]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield detail


def _violations(details: list[Json]) -> Iterator[Json]:
    for detail in details:
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                yield violation


def _delay(details: list[Json]) -> float | None:
    """Return the seconds that a `RetryInfo` names."""
    for detail in details:
        found = _SECONDS.fullmatch(str(detail.get("retryDelay")))
        if found:
            return float(found[1])
    return None
