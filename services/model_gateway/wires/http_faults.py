"""Reads what a provider's HTTP error means."""

import re
from collections.abc import Mapping

from pydantic import JsonValue
from pydantic_core import from_json

from services.model_gateway.trying.faults import Failed, FaultName

_BY_STATUS: Mapping[int, FaultName] = {
    401: "bad_key", 402: "no_balance", 403: "forbidden", 404: "unknown_model", 408: "request_timeout",
    409: "overloaded", 413: "too_large", 425: "overloaded", 429: "rate_limit", 503: "overloaded",
    504: "request_timeout", 529: "overloaded",
}  # fmt: skip
_BY_CODE: Mapping[str, FaultName] = {
    "context_length_exceeded": "context_too_long",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "invalid_api_key": "bad_key",
    "model_not_found": "unknown_model",
    "rate_limit_exceeded": "rate_limit",
    "server_error": "server_error",
    "authentication_error": "bad_key",
    "billing_error": "no_balance",
    "contract_spend_limit_reached": "quota",
    "enforced_spend_limit_reached": "quota",
    "gateway_timeout_error": "request_timeout",
    "linked_organization_billing_unavailable": "no_balance",
    "linked_organization_spend_limit_reached": "quota",
    "not_found_error": "unknown_model",
    "overloaded_error": "overloaded",
    "permission_error": "forbidden",
    "rate_limit_error": "rate_limit",
    "refusal": "content_filter",
    "request_too_large": "too_large",
    "timeout_error": "request_timeout",
}
_BY_TEXT: tuple[tuple[re.Pattern[str], FaultName], ...] = (
    (re.compile(r"context (length|window|limit)|prompt is too long|too many (input )?tokens", re.I),
     "context_too_long"),
    (re.compile(r"content (management|filtering) policy|safety system|content policy", re.I), "content_filter"),
    (re.compile(r"credit balance is too low", re.I), "no_balance"),
    (re.compile(r"reached your specified API usage limits", re.I), "quota"),
    (re.compile(r"API_KEY_INVALID|api key not valid|incorrect api key", re.I), "bad_key"),
    (re.compile(r"model\b.*\b(does not exist|not found|is not supported)", re.I), "unknown_model"),
)  # fmt: skip
_SPENT = re.compile(r"spend(ing)? limit|current quota", re.I)
"""Told with the status of a rate limit, but without a time after which to try again."""
SAID = 300
"""Characters of the provider's own text that are passed on."""


def failed(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, *, key: str | None = None, secret: str = ""
) -> Failed:
    """Return what an answer with an error status means. `secret` is struck out of whatever is passed on."""
    try:
        value: JsonValue = from_json(body)
    except ValueError:
        value = None
    error = error_in(value)
    name: FaultName
    if error is None:
        name = "proxy_page" if status >= 500 else _BY_STATUS.get(status, "bad_request")
        return Failed(name, provider=provider, key=key, status=status, retry_after_s=retry_after(headers))
    return told(provider, error, status=status, key=key, secret=secret, retry_after_s=retry_after(headers))


def told(
    provider: str,
    error: Mapping[str, JsonValue],
    *,
    status: int | None = None,
    key: str | None = None,
    secret: str = "",
    retry_after_s: float | None = None,
) -> Failed:
    """Return what an error object means, with the status it came with, or in the midst of a stream without one."""
    code = error.get("code")
    if status is None and isinstance(code, int):
        status = code
    text = str(error.get("message") or "")
    name = _name(status, _detail(error) or str(code or error.get("type") or "").lower(), text)
    if name == "rate_limit" and retry_after_s is None and _SPENT.search(text):
        name = "quota"
    said = "" if name == "bad_key" else _without(secret, " ".join(text.split()))[:SAID]
    return Failed(name, provider=provider, key=key, status=status, said=said, retry_after_s=retry_after_s)


def _detail(error: Mapping[str, JsonValue]) -> str | None:
    """Return the cause where an error names one we know apart from its kind, as Anthropic's do."""
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return code if isinstance(code, str) and code in _BY_CODE else None


def _name(status: int | None, code: str, text: str) -> FaultName:
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status in (None, 400, 404, 413, 422):
        for pattern, name in _BY_TEXT:
            if pattern.search(text):
                return name
    if status is None or status >= 500:
        return _BY_STATUS.get(status or 500, "server_error")
    return _BY_STATUS.get(status, "bad_request")


def error_in(value: JsonValue) -> dict[str, JsonValue] | None:
    """Return the error object of a body, in whichever of the usual shapes it is written; None if there is none."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    found = value.get("error") or value.get("detail") or value.get("message")
    if isinstance(found, dict):
        return found
    return {"message": found, "code": value.get("code")} if isinstance(found, str) else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `retry-after-ms` or `retry-after` name; a date is not read.

    Source: RFC 9110, section 10.2.3.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is not None:
            try:
                return max(0.0, float(value) / unit)
            except ValueError:
                return None
    return None


def _without(secret: str, text: str) -> str:
    """Return `text` without the key. One of a few letters is no secret (local servers take any), but part of words."""
    return re.sub(r"\bsk-[\w*-]{6,}", "sk-…", text.replace(secret, "…") if len(secret) >= 8 else text)
