"""`model.chat` over Anthropic's messages, from end to end: a real nats-server, real HTTP."""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from natscope.contracts import errors, model
from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock, plain
from natscope.contracts.message import Message
from services.model_gateway.ports import Piece, Prompt
from services.model_gateway.providers.anthropic_messages import AnthropicMessages
from services.model_gateway.trying.faults import Failed
from tests.integration.model_gateway.house import KEY, TOOL, House, opened, question
from tests.loopback import chat_wire, gemini_wire, messages_wire, responses_wire
from tests.loopback.messages_wire import REDACTED, SIGNATURE, failure, faulty, turns
from tests.loopback.provider import Provider, Wire
from tests.loopback.replies import Call, Reply

MODELS = """
providers:
  first: {kind: anthropic, api_key: {env: ANTHROPIC_API_KEY}, base_url: "%(first)s"}
  brief: {kind: anthropic, api_key: {env: ANTHROPIC_API_KEY}, base_url: "%(first)s", stall_s: 1}
  other: {%(kind)s, api_key: {env: OPENAI_API_KEY}, base_url: "%(other)s", name: other}
aliases:
  default: {targets: [{provider: first, model: claude-sonnet-4-6}]}
  brief: {targets: [{provider: brief, model: claude-sonnet-4-6}]}
  other: {targets: [{provider: other, model: other-1}]}
"""
OTHERS: dict[str, tuple[str, Wire]] = {
    "chat": ("kind: openai", chat_wire),
    "responses": ("kind: openai, api: responses", responses_wire),
    "gemini": ("kind: gemini", gemini_wire),
}
FAULTS = {
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
    "503 html": "proxy_page",
    "reset": "cut",
    "tcp cut": "cut",
    "clean truncation": "truncated",
    "200 html": "not_json",
    "200 empty": "empty",
    "error event mid-stream": "overloaded",
    "error as first event": "overloaded",
    "empty choices": "no_answer",
    "garbled json": "not_json",
    "stall": "stall",
}
WELL = Reply(text="It is forty-two, I think.", pieces=6)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """The provider; it counts what it is asked."""
    async with Provider(turns, wire=messages_wire) as provider:
        yield provider


@pytest.fixture
async def house(nats_url: str, provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    """The gateway and a guest who asks it."""
    models = MODELS % {"first": provider.url, "other": provider.url, "kind": "kind: openai"}
    async with opened(nats_url, provider.url, tmp_path, models=models) as house:
        yield house


class TestAnswers:
    async def test_in_one_piece(self, house: House, provider: Provider) -> None:
        chatted = await house.chat()
        assert chatted.message.text == "The answer is 42."
        assert (chatted.finish_reason, chatted.provider, chatted.model) == ("stop", "anthropic", "loopback-1")
        assert chatted.usage == model.Usage(input_tokens=12, output_tokens=7)
        said = [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}]
        asked = provider.requests[0]
        assert (asked["model"], asked["messages"]) == ("claude-sonnet-4-6", said)
        assert asked["max_tokens"] > 0
        headers = {name.lower(): value for name, value in provider.headers[0].items()}
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["anthropic-version"]

    @pytest.mark.parametrize("rechunk", [None, 1])
    async def test_as_a_stream_that_ends_in_the_same_message(
        self, house: House, provider: Provider, rechunk: int | None
    ) -> None:
        calls = (Call("execute_python", '{"code": "1"}', "toolu_1"),)
        provider.queue(Reply(text="Grüße, 世界.", thinking="Hm.", calls=calls, rechunk=rechunk))
        chatted = await house.chat(deltas_to=await house.listen(), tools=[TOOL])
        for kind, text in (("thinking", "Hm."), ("text", "Grüße, 世界."), ("tool_use", '{"code": "1"}')):
            assert "".join(delta.text for delta in house.deltas if delta.kind == kind) == text
        assert [delta.sequence for delta in house.deltas] == list(range(len(house.deltas)))
        assert chatted.message.content == [
            ThinkingBlock(thinking="Hm.", provider="anthropic", signature=SIGNATURE),
            TextBlock(text="Grüße, 世界."),
            ToolUseBlock(id="toolu_1", name="execute_python", input={"code": "1"}, raw_input='{"code": "1"}'),
        ]
        assert chatted.finish_reason == "tool_call"

    async def test_the_first_piece_before_the_last_is_written(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(text="one two three", pieces=3, pace_s=0.001))
        provider.may_end.clear()
        asked = asyncio.create_task(house.chat(deltas_to=await house.listen()))
        async with asyncio.timeout(20):
            await house.heard.wait()
        assert not asked.done()
        provider.may_end.set()
        await asked

    async def test_a_json_answer_to_a_stream_is_read_all_the_same(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(text="The answer is 42.", whole=True))
        chatted = await house.chat(deltas_to=await house.listen())
        assert chatted.message.text == "The answer is 42."
        assert [delta.text for delta in house.deltas if delta.kind == "text"] == ["The answer is 42."]

    async def test_a_stream_that_was_not_asked_for_is_read_all_the_same(self, house: House, provider: Provider) -> None:
        stream = b"".join(messages_wire.events(WELL))
        provider.queue(Reply(raw=stream, content_type="text/event-stream; charset=utf-8"))
        assert (await house.chat()).message.text == "It is forty-two, I think."

    async def test_a_tool_call_and_then_with_its_result(self, house: House, provider: Provider) -> None:
        ask = question("What is six times seven?", tools=[TOOL])
        called = await house.guest.ask(model.CHAT, ask)
        use = called.message.tool_uses[0]
        result = ToolResultBlock(id=use.id, name=use.name, output=plain("42"))
        talk = [*ask.messages, called.message, Message(name=use.name, role="tool", content=[result])]
        final = await house.guest.ask(model.CHAT, ask.model_copy(update={"messages": talk, "request_id": "r-2"}))
        assert final.message.text == "The answer is 42."
        assert [turn["role"] for turn in provider.requests[1]["messages"]] == ["user", "assistant", "user"]
        kinds = [part["type"] for part in provider.requests[1]["messages"][1]["content"]]
        assert kinds == ["thinking", "tool_use"]

    async def test_a_value_as_it_was_asked_for(self, house: House, provider: Provider) -> None:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        provider.queue(Reply(text='{"n": 42}'))
        chatted = await house.chat(output=model.Output(json_schema=schema))
        assert json.loads(chatted.message.text) == {"n": 42}
        assert provider.requests[0]["output_config"]["format"]["type"] == "json_schema"

    async def test_a_value_that_is_no_object_by_way_of_a_tool(self, house: House, provider: Provider) -> None:
        numbers = {"type": "array", "items": {"type": "integer"}}
        provider.queue(Reply(calls=(Call("answer", '{"value": [4, 2]}', "toolu_1"),)))
        chatted = await house.chat(output=model.Output(json_schema=numbers))
        assert (json.loads(chatted.message.text), chatted.finish_reason) == ([4, 2], "stop")
        assert provider.requests[0]["tool_choice"] == {"type": "tool", "name": "answer"}


class TestFaults:
    @pytest.mark.parametrize("streamed", [False, True])
    async def test_of_every_kind_have_a_name_and_chain_nothing_that_may_hold_the_key(
        self, provider: Provider, streamed: bool
    ) -> None:
        account = AnthropicMessages(
            "anthropic", base_url=provider.url, api_key=SecretStr(KEY), key_name="ANTHROPIC_API_KEY"
        )
        heard: list[Piece] = []

        async def hear(piece: Piece) -> None:
            heard.append(piece)

        found: dict[str, str] = {}
        for name in FAULTS:
            provider.queue(faulty(name, streamed=streamed))
            prompt = Prompt(question(), "claude-sonnet-4-6", 2 if name == "stall" else 30)
            with pytest.raises(Failed) as caught:
                await account.chat(prompt, hear if streamed else None)
            found[name] = caught.value.name
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__ or caught.value.__context__ is None
        await account.close()
        assert found == {**FAULTS, "clean truncation": "truncated" if streamed else "not_json"}
        assert provider.total == len(FAULTS)

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_a_try_is_one_request_and_a_second_one_may_help(
        self, house: House, provider: Provider, streamed: bool
    ) -> None:
        provider.queue(failure(529, "Overloaded", kind="overloaded_error"), WELL)
        chatted = await house.chat(deltas_to=await house.listen() if streamed else None)
        assert chatted.message.text == "It is forty-two, I think."
        assert (chatted.attempts, provider.total) == (2, 2)

    async def test_a_stream_that_stalls_is_given_up(self, house: House, provider: Provider) -> None:
        provider.queue(*[Reply(text="one two three", pieces=3, pace_s=30)] * 3)
        with pytest.raises(errors.ModelUnavailable, match="stopped sending"):
            await house.chat(model="brief", deltas_to=await house.listen())

    async def test_the_key_is_in_no_log_span_or_error(
        self, house: House, provider: Provider, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        said = failure(401, f"invalid x-api-key: {KEY}", kind="authentication_error")
        provider.queue(said, failure(400, f"{KEY} may not"))
        for _ in range(2):
            with pytest.raises(errors.Refused) as caught:
                await house.chat()
            assert KEY not in f"{caught.value} {caught.value.details}"
        told = "".join(span.to_json() for span in house.spans.get_finished_spans())
        told += "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
        assert "credential_refused" in told
        assert KEY not in told


class TestCancel:
    @pytest.mark.parametrize("streamed", [False, True])
    async def test_a_request_that_is_no_longer_wanted_is_broken_off_at_the_provider(
        self, house: House, provider: Provider, streamed: bool
    ) -> None:
        await house.chat()
        provider.queue(Reply(text="never heard to the end", pace_s=0.001, pieces=22))
        provider.may_end.clear()
        ask = question(request_id="r-1", deltas_to=await house.listen() if streamed else None)
        provider.was_asked.clear()
        asked = asyncio.create_task(house.guest.ask(model.CHAT, ask))
        async with asyncio.timeout(20):
            await (house.heard if streamed else provider.was_asked).wait()
            await house.guest.tell(model.CANCELLED, model.Cancelled(request_id="r-1"), "r-1")
            await provider.was_abandoned.wait()
            with pytest.raises(errors.Refused, match="cancelled"):
                await asked


class TestThoughts:
    @pytest.mark.parametrize("wire", OTHERS)
    async def test_come_back_byte_for_byte_after_a_detour_through_another_provider(
        self, nats_url: str, provider: Provider, tmp_path: Path, wire: str
    ) -> None:
        kind, spoken = OTHERS[wire]
        async with Provider(lambda _: Reply(text="Meanwhile."), wire=spoken) as other:
            models = MODELS % {"first": provider.url, "other": other.url, "kind": kind}
            async with opened(nats_url, provider.url, tmp_path, models=models) as house:
                provider.queue(Reply(thinking="Grüße — 世界 \u2028 \\n.", text="One."), Reply(thinking="", text="Two."))
                talk = list(question("Begin.").messages)
                for alias in ("default", "default", "other", "default"):
                    chatted = await house.guest.ask(model.CHAT, model.Chat(model=alias, messages=talk))
                    kept = model.Chatted.model_validate_json(chatted.model_dump_json())
                    talk += [kept.message, Message(name="user", role="user", content=plain("And?"))]
        thoughts = [
            {"type": "thinking", "thinking": "Grüße — 世界 \u2028 \\n.", "signature": SIGNATURE},
            {"type": "redacted_thinking", "data": REDACTED},
        ]
        turns = provider.requests[-1]["messages"]
        assert [turn["content"][0] for turn in turns if turn["role"] == "assistant"][:2] == thoughts
        assert turns[-2]["content"][0]["text"] == "Meanwhile."
        heard = json.dumps(other.requests[0], ensure_ascii=False)
        assert "One." in heard
        assert not [secret for secret in (SIGNATURE, REDACTED, "世界") if secret in heard]


class TestWithoutThePackage:
    async def test_the_error_names_the_extra(self) -> None:
        program = """
import sys
sys.modules["anthropic"] = None
from pydantic import SecretStr
from services.model_gateway.providers.anthropic_messages import AnthropicMessages
try:
    AnthropicMessages("anthropic", base_url="https://api.anthropic.com", api_key=SecretStr("k"))
except Exception as error:
    print(type(error).__name__, error)
"""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": "shared:."}
        )
        told, _ = await process.communicate()
        assert told.decode().startswith("SpecInvalid")
        assert "extra `anthropic`" in told.decode()
