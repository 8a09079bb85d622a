"""Reads what a provider's HTTP error means."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import JsonValue
from pydantic_core import from_json

from services.model_gateway.trying.faults import Failed, FaultName

_BY_STATUS: Mapping[int, FaultName] = {
    401: "bad_key", 402: "no_balance", 403: "forbidden", 404: "unknown_model", 408: "request_timeout",
    409: "overloaded", 413: "too_large", 424: "server_error", 425: "overloaded", 429: "rate_limit",
    498: "overloaded", 503: "overloaded", 504: "request_timeout", 529: "overloaded",
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
    "invalid_prompt": "content_filter",  # OpenAI, in a response that failed
    "bio_policy": "content_filter",
    "misalignment_policy_violation": "content_filter",
    "image_content_policy_violation": "content_filter",
    "failed_to_download_image": "bad_request",
    "image_parse_error": "bad_request",
    "image_too_large": "bad_request",
    "image_too_small": "bad_request",
    "invalid_base64_image": "bad_request",
    "invalid_image": "bad_request",
    "invalid_image_format": "bad_request",
    "invalid_image_url": "bad_request",
    "unsupported_image_media_type": "bad_request",
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
    "tool_use_failed": "malformed_call",  # Groq
    "json_validate_failed": "malformed_call",
    "model_decommissioned": "unknown_model",
    "invalid_model": "unknown_model",  # Mistral
    "wrong_api_key": "bad_key",  # Cerebras
    "overloaded": "overloaded",
    "engine_overloaded_error": "overloaded",  # Moonshot
    "serveroverloaded": "overloaded",  # Volcengine
    "accountoverdueerror": "no_balance",
    "quotaexceeded": "quota",
    "allocationquota": "quota",  # DashScope
    "sensitivecontentdetected": "content_filter",
    "exceeded_current_quota_error": "quota",  # Moonshot
    "arrearage": "no_balance",  # DashScope
    "data_inspection_failed": "content_filter",
    "datainspectionfailed": "content_filter",
    "1113": "no_balance",  # Zhipu
    "1211": "unknown_model",
    "1261": "context_too_long",
    "1301": "content_filter",
    "1304": "quota",
    "1308": "quota",
    "base_resp 1002": "rate_limit",  # MiniMax
    "base_resp 1004": "bad_key",
    "base_resp 1008": "no_balance",
    "base_resp 1026": "content_filter",
    "base_resp 1027": "content_filter",
    "base_resp 1039": "context_too_long",
    "base_resp 2013": "bad_request",
    "base_resp 2049": "bad_key",
}
_BY_TEXT: tuple[tuple[re.Pattern[str], FaultName], ...] = (
    (re.compile(r"context (length|window|limit|size)|prompt is too long|too many (input )?tokens|model token limit"
                r"|(input token count|input length)\b.*\bexceeds|range of input length", re.I), "context_too_long"),
    (re.compile(r"content (management|filtering) policy|safety system|content policy", re.I), "content_filter"),
    (re.compile(r"violates .*(usage (guidelines|polic)|content polic)", re.I), "content_filter"),
    (re.compile(r"credit balance is too low|insufficient (balance|credits)|requires more credits", re.I), "no_balance"),
    (re.compile(r"reached your specified API usage limits", re.I), "quota"),
    (re.compile(r"API_KEY_INVALID|api key not valid|incorrect api key", re.I), "bad_key"),
    (re.compile(r"model\b.*\b(does not exist|not exist|not found|is not supported)|not a valid model", re.I),
     "unknown_model"),
)  # fmt: skip
_SPENT = re.compile(r"spend(ing)? limit|current quota|all available credits", re.I)
"""Told with the status of a rate limit, but without a time after which to try again."""
_VAGUE = ("server_error",)
"""What says less than the status it came with."""
_DIGITS = 3
OVERLOADED = 529
"""A status that no proxy gives."""
READ = 4000
"""Characters of it that are looked at."""
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
        name = "proxy_page" if 500 <= status != OVERLOADED else _BY_STATUS.get(status, "bad_request")
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
    inner = _upstream(error)
    status = status or _status(error.get("code"))
    text = ": ".join(dict.fromkeys(str(each["message"]) for each in (error, inner) if each.get("message")))[:READ]
    name = _name(status, _codes(inner) or _codes(error), text)
    if name in ("rate_limit", "forbidden") and retry_after_s is None and _SPENT.search(text):
        name = "quota"
    said = "" if name == "bad_key" else _without(secret, " ".join(text.split()))[:SAID]
    wrote = error.get("failed_generation")
    return Failed(
        name,
        provider=provider,
        key=key,
        status=status,
        said=said,
        retry_after_s=retry_after_s,
        wrote=wrote if isinstance(wrote, str) else None,
    )


def _upstream(error: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return the error of the provider behind the provider, which OpenRouter writes under `metadata`."""
    metadata = error.get("metadata")
    if not isinstance(metadata, dict):
        return {}
    raw: JsonValue = metadata.get("raw")
    if isinstance(raw, str):
        try:
            raw = from_json(raw)
        except ValueError:
            raw = {"message": raw}
    if "flagged_input" in metadata:
        return {"code": "content_filter"}
    return error_in(raw) or {}


def _status(code: JsonValue) -> int | None:
    """Return a code that is an HTTP status; some write it as a text."""
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == _DIGITS:
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600 else None


def _codes(error: Mapping[str, JsonValue]) -> list[str]:
    """Return the codes that we know, the most telling first; Anthropic's errors hold a cause of their own."""
    details = error.get("details")
    cause = details.get("error_code") if isinstance(details, dict) else None
    codes = [str(each).lower() for each in (cause, error.get("code"), error.get("type")) if each is not None]
    return [code for code in (*codes, *(code.partition(".")[0] for code in codes)) if code in _BY_CODE]


def _name(status: int | None, codes: list[str], text: str) -> FaultName:
    if codes and not (status is not None and codes[0] in _VAGUE):
        return _BY_CODE[codes[0]]
    if status in (None, 400, 403, 404, 413, 422):
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
    base = value.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return {"message": base.get("status_msg"), "code": f"base_resp {base['status_code']}"}
    found = value.get("error") or value.get("detail") or value.get("message") or value.get("errors")
    if isinstance(found, list):
        found = "; ".join(_line(each) for each in found)
    if isinstance(found, dict):
        return found
    kind = value.get("type") or value.get("error_type")
    return {"message": found, "code": value.get("code"), "type": kind} if isinstance(found, str) else None


def _line(value: JsonValue) -> str:
    said = (value.get("msg") or value.get("message")) if isinstance(value, dict) else value
    return said if isinstance(said, str) else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `retry-after-ms` or `retry-after` name; a date counts from the answer's own.

    Source: RFC 9110, section 10.2.3.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is not None:
            try:
                return max(0.0, float(value) / unit)
            except ValueError:
                until = _date(value)
                sent = _date(headers.get("date", "")) or datetime.now(UTC)
                return None if until is None else max(0.0, (until - sent).total_seconds())
    return None


def _date(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _without(secret: str, text: str) -> str:
    """Return `text` without the key. One of a few letters is no secret (local servers take any), but part of words."""
    return re.sub(r"\bsk-[\w*-]{6,}", "sk-…", text.replace(secret, "…") if len(secret) >= 8 else text)
