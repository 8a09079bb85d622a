"""Reading what a provider's HTTP error means."""

import json

import pytest

from natscope.contracts import errors
from services.model_gateway.wires.http_faults import failed

KEY = "sk-abcdefghijklmnop"


def _body(message: str = "no", code: str | None = None, type: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "code": code, "type": type}}).encode()


class TestFailed:
    @pytest.mark.parametrize(
        ("status", "body", "fault", "error"),
        [
            (400, _body(code="context_length_exceeded"), "context_too_long", errors.ContextTooLong),
            (
                400,
                _body("the maximum context length is 8192 tokens"),
                "context_too_long",
                errors.ContextTooLong,
            ),
            (400, _body("prompt is too long: 9 tokens"), "context_too_long", errors.ContextTooLong),
            (400, _body(code="content_filter"), "content_filter", errors.ContentRefused),
            (400, _body("Your input was rejected by the safety system"), "content_filter", errors.ContentRefused),
            (400, _body("The requested model 'x' does not exist"), "unknown_model", errors.ModelNotFound),
            (400, _body("API key not valid. API_KEY_INVALID"), "bad_key", errors.CredentialRefused),
            (400, _body("Unknown parameter: 'x'"), "bad_request", errors.BodyInvalid),
            (401, _body(code="invalid_api_key"), "bad_key", errors.CredentialRefused),
            (402, _body(), "no_balance", errors.ModelUnavailable),
            (403, _body(), "forbidden", errors.CredentialRefused),
            (404, _body(code="model_not_found"), "unknown_model", errors.ModelNotFound),
            (404, b"not here", "unknown_model", errors.ModelNotFound),
            (408, _body(), "request_timeout", errors.ModelUnavailable),
            (413, b"", "too_large", errors.BodyTooLarge),
            (422, b'{"detail": "context window exceeded"}', "context_too_long", errors.ContextTooLong),
            (429, _body(code="rate_limit_exceeded"), "rate_limit", errors.ModelUnavailable),
            (429, _body(code="insufficient_quota"), "quota", errors.ModelUnavailable),
            (429, b"slow down", "rate_limit", errors.ModelUnavailable),
            (500, _body(), "server_error", errors.ModelUnavailable),
            (502, b"<html>Bad gateway</html>", "proxy_page", errors.ModelUnavailable),
            (503, _body(), "overloaded", errors.ModelUnavailable),
            (503, b"<html></html>", "proxy_page", errors.ModelUnavailable),
            (504, _body(), "request_timeout", errors.ModelUnavailable),
            (529, _body(), "overloaded", errors.ModelUnavailable),
            (418, b"[]", "bad_request", errors.BodyInvalid),
            (529, _body("Overloaded", type="overloaded_error"), "overloaded", errors.ModelUnavailable),
            (504, _body(type="timeout_error"), "request_timeout", errors.ModelUnavailable),
            (400, _body("input and `max_tokens` exceed context limit"), "context_too_long", errors.ContextTooLong),
            (400, _body("Output blocked by content filtering policy"), "content_filter", errors.ContentRefused),
            (400, _body("Your credit balance is too low"), "no_balance", errors.ModelUnavailable),
            (400, _body("You have reached your specified API usage limits."), "quota", errors.ModelUnavailable),
            (402, _body(type="billing_error"), "no_balance", errors.ModelUnavailable),
            (404, _body("model: claude-x", type="not_found_error"), "unknown_model", errors.ModelNotFound),
            (413, _body(type="request_too_large"), "too_large", errors.BodyTooLarge),
            (429, _body("Spend limit reached", type="rate_limit_error"), "quota", errors.ModelUnavailable),
            (429, _body("limit", type="rate_limit_error"), "rate_limit", errors.ModelUnavailable),
            (
                429,
                b'{"error": {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}}',
                "quota",
                errors.ModelUnavailable,
            ),
            (500, b'[{"error": {"message": "INTERNAL", "code": 500}}]', "server_error", errors.ModelUnavailable),
            (529, b"", "overloaded", errors.ModelUnavailable),
            (403, _body(code="AllocationQuota.FreeTierOnly"), "quota", errors.ModelUnavailable),
            (400, _body("Your request exceeded model token limit: 8192"), "context_too_long", errors.ContextTooLong),
            (400, _body("Range of input length should be [1, 30720]"), "context_too_long", errors.ContextTooLong),
            (400, _body("Input length 9 exceeds the maximum of 8"), "context_too_long", errors.ContextTooLong),
            (400, _body("the input token count exceeds the maximum"), "context_too_long", errors.ContextTooLong),
            (400, _body("exceeds the available context size"), "context_too_long", errors.ContextTooLong),
            (400, _body("Model Not Exist"), "unknown_model", errors.ModelNotFound),
            (400, _body("x is not a valid model ID"), "unknown_model", errors.ModelNotFound),
        ],
    )
    def test_names_the_fault_and_our_error(
        self, status: int, body: bytes, fault: str, error: type[errors.NatscopeError]
    ) -> None:
        found = failed("openai", status, {}, body, key="OPENAI_API_KEY")
        assert found.name == fault
        assert type(found.error(model="m", attempts=1)) is error

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "3"}, 3.0),
            ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
            ({"retry-after": "-1"}, 0.0),
            ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:27:58 GMT"}, 2.0),
            ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:29:00 GMT"}, 0.0),
            ({"retry-after": "Wed, 21 Oct 2020 07:28:00 GMT"}, 0.0),
            ({"retry-after": "soon"}, None),
            ({}, None),
        ],
    )
    def test_reads_how_long_to_wait(self, headers: dict[str, str], seconds: float | None) -> None:
        assert failed("openai", 429, headers, _body()).retry_after_s == seconds

    @pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
    def test_never_passes_the_key_on_even_if_the_provider_repeats_it(self, status: int) -> None:
        body = _body(f"Incorrect API key provided: {KEY}, also sk-proj-****wxyz")
        told = str(failed("openai", status, {}, body, key="OPENAI_API_KEY", secret=KEY).error(model="m", attempts=1))
        assert KEY not in told
        assert "wxyz" not in told

    @pytest.mark.parametrize("before", range(270, 300, 3))
    def test_leaves_no_half_of_a_key_where_long_words_are_cut(self, before: int) -> None:
        found = failed("openai", 400, {}, _body(f"{'x' * before} {KEY[3:]} and more"), secret=KEY[3:])
        assert KEY[3:7] not in found.error(model="m", attempts=1).message

    def test_passes_the_providers_own_words_on_and_names_provider_model_and_remedy(self) -> None:
        error = failed("openai", 400, {}, _body("Unknown parameter: 'x'")).error(model="m-1", attempts=1)
        assert "'openai'" in error.message
        assert "'m-1'" in error.message
        assert "Unknown parameter: 'x'" in error.message
        unaccepted = failed("openai", 401, {}, _body(), key="OPENAI_API_KEY").error(model="m-1", attempts=1)
        assert unaccepted.remedy == "check OPENAI_API_KEY"


class TestEndpoints:
    @pytest.mark.parametrize(
        ("status", "error", "fault"),
        [
            (
                429,
                {"code": 429, "message": "x", "metadata": {"raw": '{"error": {"code": "insufficient_quota"}}'}},
                "quota",
            ),
            (429, {"code": 429, "message": "x", "metadata": {"raw": "m is rate-limited upstream"}}, "rate_limit"),
            (
                403,
                {"code": 403, "message": "x", "metadata": {"reasons": ["s"], "flagged_input": "…"}},
                "content_filter",
            ),
            (402, {"code": 402, "message": "This request requires more credits"}, "no_balance"),
            (400, {"code": "Arrearage", "message": "Access denied"}, "no_balance"),
            (400, {"code": "data_inspection_failed", "message": "x"}, "content_filter"),
            (429, {"code": "1113", "message": "x"}, "no_balance"),
            (400, {"code": "1301", "message": "x"}, "content_filter"),
            (429, {"type": "engine_overloaded_error", "message": "x"}, "overloaded"),
            (429, {"type": "exceeded_current_quota_error", "message": "x"}, "quota"),
            (403, {"code": "AccountOverdueError", "message": "x"}, "no_balance"),
            (400, {"code": "SensitiveContentDetected.SevereViolation", "message": "x"}, "content_filter"),
            (400, {"code": "tool_use_failed", "message": "x", "failed_generation": "…"}, "malformed_call"),
            (400, {"code": "model_decommissioned", "message": "x"}, "unknown_model"),
            (400, {"code": "1500", "type": "invalid_model", "message": "x"}, "unknown_model"),
            (503, {"type": "server_error", "code": "x", "message": "x"}, "overloaded"),
        ],
    )
    def test_name_their_faults_in_many_ways(self, status: int, error: dict[str, object], fault: str) -> None:
        assert failed("x", status, {}, json.dumps({"error": error}).encode()).name == fault

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"error": "plain"}, "plain"),
            ({"detail": [{"loc": ["body"], "msg": "wrong"}, {"msg": "more"}]}, "wrong; more"),
            ({"object": "error", "message": "flat", "code": 400}, "flat"),
            ([{"error": {"message": "listed"}}], "listed"),
            ({"error": {"message": "outer", "metadata": {"raw": "inner"}}}, "outer: inner"),
        ],
    )
    def test_write_them_in_many_shapes(self, body: object, said: str) -> None:
        assert failed("x", 400, {}, json.dumps(body).encode()).said == said
