"""Reading what Gemini's errors mean."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.gemini_faults import failed, told
from tests.loopback.faults import STATUSES
from tests.loopback.gemini_wire import faulty

KEY = "AIzaSyD-loopback-0123456789abcdefghijk"
CURRENT = "You exceeded your current quota, please check your plan and billing details."
MINUTE = "GenerateRequestsPerMinutePerProjectPerModel"
DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
EXPECTED = {
    "429 retry-after": "rate_limit",
    "429 insufficient_quota": "quota",
    "500": "server_error",
    "529 overloaded": "overloaded",
    "401": "bad_key",
    "403": "forbidden",
    "402": "no_balance",
    "404 model": "unknown_model",
    "400 context_length": "context_too_long",
    "400 content_filter": "content_filter",
    "408": "request_timeout",
}


def _failed(
    status: int, message: str = "", details: list[dict[str, Any]] | None = None, headers: dict[str, str] | None = None
) -> Failed:
    error = {"code": status, "message": message, "status": "X", "details": details or []}
    return failed("gcp.gemini", status, headers or {}, json.dumps({"error": error}).encode(), secret=KEY)


def _wait(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def _quota(id: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id}]}


def _reason(reason: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}


class TestErrors:
    @pytest.mark.parametrize("name", STATUSES)
    def test_of_the_matrix_have_their_names(self, name: str) -> None:
        reply = faulty(name, streamed=False)
        assert failed("gcp.gemini", reply.status, {}, reply.raw or b"").name == EXPECTED[name]

    @pytest.mark.parametrize(
        ("status", "message", "details", "name"),
        [
            (400, "API key not valid. Please pass a valid API key.", [_reason("API_KEY_INVALID")], "bad_key"),
            (400, "API key expired. Please renew the API key.", [], "bad_key"),
            (403, "Your API key was reported as leaked. Please use another API key.", [], "bad_key"),
            (403, "This API method requires billing to be enabled.", [_reason("BILLING_DISABLED")], "no_balance"),
            (400, "User location is not supported for the API use.", [], "forbidden"),
            (400, "Please use a valid role: user, model.", [], "bad_request"),
            (400, "Request payload size exceeds the limit: 20971520 bytes.", [], "too_large"),
            (404, "models/x is not found for API version v1beta", [], "unknown_model"),
            (503, "The model is overloaded. Please try again later.", [], "overloaded"),
            (504, "Deadline expired before operation could complete.", [], "request_timeout"),
            (429, CURRENT, [_wait("37s"), _quota(MINUTE)], "rate_limit"),
            (429, CURRENT, [_wait("37s"), _quota(DAY)], "quota"),
            (429, CURRENT, [], "quota"),
            (429, "Resource has been exhausted (e.g. check quota).", [], "rate_limit"),
            (429, "Your project has exceeded its spending cap.", [], "quota"),
        ],
    )
    def test_recorded_in_the_wild_have_their_names(
        self, status: int, message: str, details: list[dict[str, Any]], name: str
    ) -> None:
        assert _failed(status, message, details).name == name

    def test_say_in_their_body_how_long_to_wait(self) -> None:
        assert _failed(429, CURRENT, [_wait("37.5s")]).retry_after_s == 37.5
        assert _failed(429, CURRENT, headers={"retry-after": "2"}).retry_after_s == 2.0
        assert _failed(429, CURRENT, [_wait("soon")]).retry_after_s is None

    def test_in_a_list_are_read_as_well(self) -> None:
        body = json.dumps([{"error": {"code": 503, "message": "overloaded"}}]).encode()
        assert failed("gcp.gemini", 503, {}, body).name == "overloaded"

    def test_without_a_status_are_known_by_their_own(self) -> None:
        assert told("gcp.gemini", {"status": "RESOURCE_EXHAUSTED"}).name == "rate_limit"
        assert told("gcp.gemini", {"code": 503, "message": "x"}).name == "overloaded"
        assert told("gcp.gemini", {"message": "x"}).name == "server_error"

    def test_of_a_proxy_are_no_errors_of_google(self) -> None:
        assert failed("gcp.gemini", 502, {}, b"<html>").name == "proxy_page"

    def test_do_not_pass_on_keys(self) -> None:
        other = "AIzaSyB-somebody-elses-0123456789abcdef"
        said = _failed(403, f"consumer api_key:{KEY} or {other} is suspended").said
        assert "suspended" in said
        assert KEY not in said
        assert other not in said

    @given(st.integers(300, 599), st.binary(max_size=60))
    def test_any_bytes_are_a_fault(self, status: int, body: bytes) -> None:
        assert failed("gcp.gemini", status, {}, body).status == status

    @given(
        st.dictionaries(
            st.sampled_from(["code", "status", "message", "details"]),
            st.none() | st.integers() | st.text(max_size=9) | st.lists(st.dictionaries(st.text(max_size=9), st.text())),
        )
    )
    def test_any_object_is_a_fault(self, error: dict[str, Any]) -> None:
        assert told("gcp.gemini", error).name
