"""Reading usage and errors in chat completions answers, wherever endpoints write them."""

import json
from typing import Any

import pytest

from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.model import Usage
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.chat_reply import Draft
from services.model_gateway.wires.sse import Splitter


def _whole(message: dict[str, Any], reason: str | None = "stop", **more: Any) -> Reply:
    draft = Draft("openai", "asked-for")
    draft.whole(json.dumps({"choices": [{"message": message, "finish_reason": reason}], **more}).encode())
    return draft.end()


def _streamed(*chunks: dict[str, Any], done: bool = True) -> tuple[Reply, list[Piece]]:
    draft, splitter, pieces = Draft("openai", "asked-for"), Splitter(), list[Piece]()
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    for frame in (*frames, *([b"data: [DONE]\n\n"] if done else [])):
        pieces += draft.take(splitter.feed(frame))
    return draft.end(), pieces


def _chunk(delta: dict[str, Any], reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": reason}], **more}


def _call(name: str | None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{**more, "type": "function", "function": {"name": name, "arguments": arguments}}]}


def _calls(reply: Reply) -> list[tuple[str, str]]:
    return [(block.name, block.raw_input) for block in reply.content if isinstance(block, ToolUseBlock)]


class TestUsage:
    def test_numbers_may_be_written_as_texts(self) -> None:
        reply = _whole({"content": "Yes."}, usage={"prompt_tokens": "11", "completion_tokens": "2"})
        assert reply.usage == Usage(input_tokens=11, output_tokens=2)

    @pytest.mark.parametrize(
        ("usage", "told"),
        [
            (
                {"prompt_tokens": 5, "completion_tokens": 2, "num_cached_tokens": 4},
                Usage(input_tokens=5, output_tokens=2, cache_read_tokens=4),
            ),
            (
                {"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 4},
                Usage(input_tokens=5, output_tokens=2, cache_read_tokens=4),
            ),
            (
                {
                    "prompt_tokens": 5,
                    "completion_tokens": 2,
                    "prompt_cache_hit_tokens": 4,
                    "prompt_tokens_details": None,
                },
                Usage(input_tokens=5, output_tokens=2, cache_read_tokens=4),
            ),
            (
                {
                    "prompt_tokens": 5,
                    "completion_tokens": 2,
                    "total_tokens": 107,
                    "completion_tokens_details": {"reasoning_tokens": 100},
                },
                Usage(input_tokens=5, output_tokens=102, reasoning_tokens=100),
            ),
            ({"prompt_tokens": 5.0, "completion_tokens": "two"}, Usage(input_tokens=5)),
            ({"prompt_tokens": -5, "completion_tokens": True}, Usage()),
            ({"prompt_tokens": 10**400, "completion_tokens": -(10**400), "cost": 10**400}, Usage()),
            ({"prompt_tokens": float("inf"), "completion_tokens": float("nan")}, Usage()),
        ],
    )
    def test_is_counted_alike_however_it_is_written(self, usage: dict[str, Any], told: Usage) -> None:
        assert _whole({"content": "Hi."}, usage=usage).usage == told

    def test_may_stand_in_other_places_of_a_stream(self) -> None:
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        groq, _ = _streamed(_chunk({"content": "Hi."}, "stop", x_groq={"id": "r", "usage": usage}))
        moonshot, _ = _streamed({"choices": [{"delta": {"content": "Hi."}, "finish_reason": "stop", "usage": usage}]})
        late, _ = _streamed(_chunk({"content": "Hi."}, "stop"), {"choices": [], "usage": usage})
        assert groq.usage == moonshot.usage == late.usage == Usage(input_tokens=5, output_tokens=2)


class TestErrors:
    @pytest.mark.parametrize(
        ("chunk", "fault"),
        [
            ({"error": {"code": 502, "message": "Provider returned error"}, "choices": []}, "server_error"),
            ({"error": {"code": 429, "message": "slow", "metadata": {"raw": "busy"}}}, "rate_limit"),
            ({"choices": [{"delta": {}, "error": {"code": 503, "message": "down"}}]}, "overloaded"),
            ({"choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}, "server_error"),
            ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None}, "no_balance"),
        ],
    )
    def test_inside_an_answer_are_faults(self, chunk: dict[str, Any], fault: str) -> None:
        with pytest.raises(Failed, match=fault):
            _streamed(_chunk({"content": "Hal"}), chunk)

    def test_in_a_list_are_faults(self) -> None:
        draft = Draft("openai", "m")
        with pytest.raises(Failed, match="overloaded"):
            draft.whole(b'[{"error": {"code": 503, "message": "busy"}}]')

    def test_a_call_that_the_provider_could_not_read_is_a_call_to_be_repaired(self) -> None:
        failed = Failed("malformed_call", provider="groq", wrote='{"name": "look", "arguments": {"at": "i"t"}}')
        draft = Draft("groq", "m")
        pieces = draft.unread(failed)
        reply = draft.end()
        assert _calls(reply) == [("look", '{"at": "i"t"}')]
        assert (reply.finish_reason, pieces[0].tool) == ("tool_call", "look")

    def test_it_stays_a_fault_if_no_call_is_in_it_or_some_was_told(self) -> None:
        with pytest.raises(Failed, match="malformed_call"):
            Draft("groq", "m").unread(Failed("malformed_call", provider="groq", wrote="I would rather talk."))
        told = Draft("groq", "m")
        told.take([json.dumps(_chunk({"content": "Well"})).encode()])
        with pytest.raises(Failed, match="malformed_call"):
            told.unread(Failed("malformed_call", provider="groq", wrote='{"name": "look"}'))
