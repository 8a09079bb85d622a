"""Reading how long a provider of messages wants to be left alone."""

import json

import pytest

from services.model_gateway.wires.messages_faults import failed

BODY = json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}).encode()
DATE = "Sat, 21 Nov 2026 03:00:00 GMT"


class TestWaiting:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Retry-After": "3"}, 3.0),
            (
                {
                    "anthropic-ratelimit-requests-remaining": "0",
                    "anthropic-ratelimit-requests-reset": "2026-11-21T03:00:02Z",
                },
                2.0,
            ),
            (
                {
                    "anthropic-ratelimit-requests-remaining": "0",
                    "anthropic-ratelimit-requests-reset": "2026-11-21T02:00:00Z",
                },
                0.0,
            ),
            (
                {
                    "anthropic-ratelimit-requests-remaining": "9",
                    "anthropic-ratelimit-requests-reset": "2026-11-21T03:00:02Z",
                },
                None,
            ),
            ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "soon"}, None),
            ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-11-21"}, None),
            ({}, None),
        ],
    )
    def test_is_as_long_as_the_headers_say(self, headers: dict[str, str], seconds: float | None) -> None:
        assert failed("anthropic", 429, {"Date": DATE, **headers}, BODY).retry_after_s == seconds

    def test_is_as_long_as_the_last_of_the_limits(self) -> None:
        headers = {f"anthropic-ratelimit-{name}-remaining": "0" for name in ("requests", "input-tokens")}
        headers["anthropic-ratelimit-requests-reset"] = "2026-11-21T03:00:02Z"
        headers["anthropic-ratelimit-input-tokens-reset"] = "2026-11-21T03:00:30Z"
        assert failed("anthropic", 429, {"date": DATE, **headers}, BODY).retry_after_s == 30.0
        assert failed("anthropic", 429, headers, BODY).retry_after_s is None
