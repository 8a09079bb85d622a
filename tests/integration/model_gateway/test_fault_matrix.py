"""Every fault on every wire ends as the right answer, or as an error that names the fault; never as a wrong answer."""

from pathlib import Path

import pytest

from natscope.contracts.errors import DeadlineExceeded
from tests.integration.model_gateway.matrix import TEXT, WIRES, heard, matrix
from tests.loopback.faults import NAMES

TOLD = {
    "429 insufficient_quota": "model_unavailable: quota",
    "401": "credential_refused: bad_key",
    "403": "credential_refused: forbidden",
    "402": "model_unavailable: no_balance",
    "404 model": "model_not_found: unknown_model",
    "400 context_length": "context_too_long: context_too_long",
    "400 content_filter": "content_refused: content_filter",
}
"""No other try at the same target can mend these."""
STAYS = {
    **TOLD,
    "429 retry-after": "model_unavailable: rate_limit",
    "500": "model_unavailable: server_error",
    "529 overloaded": "model_unavailable: overloaded",
    "408": "model_unavailable: request_timeout",
    "503 html": "model_unavailable: proxy_page",
    "reset": "reply_truncated: cut",
    "stall": "model_unavailable: stall",
    "tcp cut": "reply_truncated: cut",
    "clean truncation": "reply_truncated: truncated",
    "200 html": "reply_invalid: not_json",
    "200 empty": "reply_invalid: empty",
    "error event mid-stream": "model_unavailable: overloaded",
    "error as first event": "model_unavailable: overloaded",
    "empty choices": "reply_invalid: no_answer",
    "garbled json": "reply_invalid: not_json",
    "malformed tool args": "right",
}
TRIES = {"right": 1, "reply_invalid": 2, "model_unavailable": 3, "reply_truncated": 3}

on_every_wire = pytest.mark.parametrize("wire", WIRES)
in_both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])


def _tried(streamed: bool) -> tuple[str, ...]:
    """Return the faults to try: a unary answer that never comes ends at the deadline, and is tried for itself."""
    return NAMES if streamed else tuple(name for name in NAMES if name != "stall")


def _stays(wire: str, streamed: bool) -> dict[str, str]:
    """Return how each fault ends that does not pass, as this wire sees it."""
    stays = dict(STAYS)
    if wire == "gemini":
        stays["malformed tool args"] = "reply_invalid: malformed_call"
    if not streamed:
        stays["clean truncation"] = "reply_invalid: not_json"
    return stays


def _tries(outcome: str) -> int:
    """Return how often a provider is asked, in all, that ends so."""
    return 1 if outcome in TOLD.values() else TRIES[outcome.split(":")[0]]


@on_every_wire
@in_both_ways
class TestOnce:
    async def test_is_followed_by_the_right_answer_where_another_try_can_help(
        self, nats_url: str, tmp_path: Path, wire: str, streamed: bool
    ) -> None:
        names = _tried(streamed)
        async with matrix(nats_url, tmp_path, wire=wire, streamed=streamed, case="once", names=names) as tried:
            results = await tried.ask()
        assert {name: each.outcome for name, each in results.items()} == {
            name: TOLD.get(name, "right") for name in names
        }
        again = {name: each.asked for name, each in results.items() if name != "malformed tool args"}
        assert again == {name: 1 if name in TOLD else 2 for name in again}
        if streamed:
            spoken = {name: heard(each.deltas) for name, each in results.items() if name in again and name not in TOLD}
            assert spoken == dict.fromkeys(spoken, TEXT.text)


@on_every_wire
@in_both_ways
class TestForEver:
    async def test_is_answered_by_another_target(
        self, nats_url: str, tmp_path: Path, wire: str, streamed: bool
    ) -> None:
        async with matrix(nats_url, tmp_path, wire=wire, streamed=streamed, case="backed") as tried:
            results = await tried.ask()
        assert {name: each.outcome for name, each in results.items()} == dict.fromkeys(NAMES, "right")
        if streamed:
            spoken = {name: heard(each.deltas) for name, each in results.items() if name != "malformed tool args"}
            assert spoken == dict.fromkeys(spoken, TEXT.text)

    async def test_without_another_target_is_named_after_no_more_tries_than_may_help(
        self, nats_url: str, tmp_path: Path, wire: str, streamed: bool
    ) -> None:
        names = _tried(streamed)
        async with matrix(nats_url, tmp_path, wire=wire, streamed=streamed, case="alone", names=names) as tried:
            results = await tried.ask()
        stays = _stays(wire, streamed)
        assert {name: each.outcome for name, each in results.items()} == {name: stays[name] for name in names}
        tries = {name: each.asked for name, each in results.items()}
        assert tries == {name: _tries(stays[name]) for name in names}
        failed = [each.error for each in results.values() if each.error is not None]
        assert [error.details["tier"] for error in failed] == [1] * len(failed)


@on_every_wire
class TestSilence:
    async def test_of_a_whole_answer_is_broken_off_at_the_deadline(
        self, nats_url: str, tmp_path: Path, wire: str
    ) -> None:
        async with matrix(
            nats_url, tmp_path, wire=wire, streamed=False, case="alone", names=("stall",), deadline_s=3.0
        ) as tried:
            results = await tried.ask()
        assert isinstance(results["stall"].error, DeadlineExceeded)
        assert results["stall"].asked == 1
