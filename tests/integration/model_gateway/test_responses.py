"""`model.chat` over the responses API, from end to end: a real nats-server, real HTTP."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natscope.contracts import errors, model
from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock, plain
from natscope.contracts.message import Message
from tests.integration.model_gateway.house import KEY, TOOL, House, opened, question
from tests.loopback import chat_wire, responses_wire
from tests.loopback.faults import NAMES
from tests.loopback.provider import Provider
from tests.loopback.replies import JSON, Call, Reply
from tests.loopback.responses_wire import SEALED, failure, faulty, response, turns

MODELS = """
providers:
  first: {kind: openai, api: responses, base_url: "%(first)s"}
  brief: {kind: openai, api: responses, base_url: "%(first)s", stall_s: 2, timeout_s: 2}
  spare: {kind: openai, api: responses, base_url: "%(spare)s"}
  elsewhere: {kind: openai, name: elsewhere, base_url: "%(elsewhere)s"}
aliases:
  default: {targets: [{provider: first, model: gpt-5}]}
  backed: {targets: [{provider: first, model: gpt-5}, {provider: spare, model: gpt-5-mini}]}
  brief: {targets: [{provider: brief, model: gpt-5}, {provider: spare, model: gpt-5-mini}]}
  elsewhere: {targets: [{provider: elsewhere, model: other-1}]}
"""
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(90_000)).decode()
"""Too large to stay in a message."""
RIGHT = Reply(text="The answer is 42.", calls=(Call("execute_python", '{"code": "1"}'),))
TOLD = {
    "400 context_length": errors.ContextTooLong,
    "400 content_filter": errors.ContentRefused,
}
"""Faults that no other try can mend."""


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """The provider; it counts what it is asked."""
    async with Provider(turns, wire=responses_wire) as provider:
        yield provider


@pytest.fixture
async def spare() -> AsyncIterator[Provider]:
    """Another one of the same kind."""
    async with Provider(turns, wire=responses_wire) as provider:
        yield provider


@pytest.fixture
async def elsewhere() -> AsyncIterator[Provider]:
    """One that speaks chat completions."""
    async with Provider(wire=chat_wire) as provider:
        yield provider


@pytest.fixture
async def house(
    nats_url: str, provider: Provider, spare: Provider, elsewhere: Provider, tmp_path: Path
) -> AsyncIterator[House]:
    """The gateway and a guest who asks it."""
    models = MODELS % {"first": provider.url, "spare": spare.url, "elsewhere": elsewhere.url}
    async with opened(nats_url, provider.url, tmp_path, models=models) as house:
        yield house


class TestAnswers:
    async def test_in_one_piece(self, house: House, provider: Provider) -> None:
        chatted = await house.chat()
        assert chatted.message.text == "The answer is 42."
        assert (chatted.finish_reason, chatted.provider, chatted.model) == ("stop", "openai", "loopback-1")
        assert chatted.usage == model.Usage(input_tokens=12, output_tokens=7, cache_read_tokens=3, reasoning_tokens=2)
        assert provider.requests[0] == {
            "model": "gpt-5",
            "input": [{"role": "user", "content": "Hello?"}],
            "store": False,
            "include": ["reasoning.encrypted_content"],
        }
        assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize("rechunk", [None, 1])
    async def test_as_a_stream_that_ends_in_the_same_message(
        self, house: House, provider: Provider, rechunk: int | None
    ) -> None:
        calls = (Call("execute_python", '{"code": "1"}'),)
        provider.queue(Reply(text="Grüße, 世界.", thinking="Hm.", calls=calls, rechunk=rechunk))
        chatted = await house.chat(deltas_to=await house.listen(), tools=[TOOL])
        for kind, text in (("thinking", "Hm."), ("text", "Grüße, 世界."), ("tool_use", '{"code": "1"}')):
            assert "".join(delta.text for delta in house.deltas if delta.kind == kind) == text
        assert [delta.sequence for delta in house.deltas] == list(range(len(house.deltas)))
        assert [block.type for block in chatted.message.content] == ["thinking", "text", "tool_use"]
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

    async def test_a_value_that_is_no_object_as_it_was_asked_for(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(text='{"value": [4, 2]}'))
        output = model.Output(json_schema={"type": "array", "items": {"type": "integer"}})
        chatted = await house.chat(output=output)
        assert json.loads(chatted.message.text) == [4, 2]
        assert provider.requests[0]["text"]["format"]["strict"] is True

    async def test_what_it_did_with_its_own_tools_is_kept_and_told_again(
        self, house: House, provider: Provider
    ) -> None:
        search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "42?"}}
        drawn = {"type": "image_generation_call", "id": "ig_1", "result": PICTURE, "status": "completed"}
        whole = response(Reply(), output=[search, drawn, *responses_wire.items(Reply(text="Found."))])
        provider.queue(Reply(raw=json.dumps(whole).encode(), content_type=JSON))
        ask = question()
        said = (await house.guest.ask(model.CHAT, ask)).message
        assert [block.type for block in said.content] == ["responses_item", "responses_item", "image", "text"]
        assert len(said.model_dump_json()) < len(PICTURE)
        talk = [*ask.messages, said, *ask.messages]
        await house.guest.ask(model.CHAT, model.Chat(model="default", messages=talk))
        assert provider.requests[1]["input"][1:3] == [search, drawn]
        await house.guest.ask(model.CHAT, model.Chat(model="elsewhere", messages=talk))

    async def test_work_that_the_provider_does_not_know_any_more_is_left_out(
        self, house: House, provider: Provider
    ) -> None:
        search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "42?"}}
        whole = response(Reply(), output=[search, *responses_wire.items(Reply(text="Found."))])
        provider.queue(
            Reply(raw=json.dumps(whole).encode(), content_type=JSON),
            failure(404, "Item with id 'ws_1' not found. Items are not persisted when `store` is set to false."),
        )
        ask = question()
        said = (await house.guest.ask(model.CHAT, ask)).message
        talk = [*ask.messages, said, *ask.messages]
        chatted = await house.guest.ask(model.CHAT, model.Chat(model="default", messages=talk))
        assert chatted.message.text == "The answer is 42."
        assert [item.get("type") for item in provider.requests[2]["input"]] == [None, None, None]

    async def test_what_it_says_of_its_texts_is_kept_and_told_again(self, house: House, provider: Provider) -> None:
        (item,) = responses_wire.items(Reply(text="Found."))
        whole = response(Reply(), output=[{**item, "phase": "final_answer"}])
        provider.queue(Reply(raw=json.dumps(whole).encode(), content_type=JSON))
        ask = question()
        said = (await house.guest.ask(model.CHAT, ask)).message
        assert said.metadata == {"phases": ["final_answer"]}
        await house.guest.ask(model.CHAT, model.Chat(model="default", messages=[*ask.messages, said, *ask.messages]))
        assert provider.requests[1]["input"][1] == {"role": "assistant", "content": "Found.", "phase": "final_answer"}

    async def test_a_promise_is_waited_for(self, house: House, provider: Provider) -> None:
        later = json.dumps(response(Reply(), status="queued", output=[])).encode()
        provider.queue(Reply(raw=later, content_type=JSON), Reply(text="At last."))
        chatted = await house.chat()
        assert chatted.message.text == "At last."
        assert (chatted.attempts, provider.total) == (1, 2)

    async def test_a_promise_that_is_not_kept_anywhere_is_no_answer(self, house: House, provider: Provider) -> None:
        later = json.dumps(response(Reply(), status="queued", output=[])).encode()
        provider.queue(*[Reply(raw=later, content_type=JSON), failure(404, "no such response")] * 2)
        with pytest.raises(errors.ReplyInvalid):
            await house.chat()
        assert provider.total == 4

    async def test_nothing_is_waited_for_after_the_end(self, house: House, provider: Provider) -> None:
        whole = b"".join(responses_wire.events(Reply(text="The answer is 42.")))
        provider.queue(Reply(raw=whole + b":" * 50 * len(whole), rechunk=len(whole), pace_s=0.2))
        chatted = await house.chat(deltas_to=await house.listen())
        assert chatted.message.text == "The answer is 42."
        async with asyncio.timeout(20):
            await provider.was_abandoned.wait()


class TestReasoning:
    async def test_goes_back_byte_for_byte_even_after_a_detour(
        self, house: House, provider: Provider, elsewhere: Provider
    ) -> None:
        ask = question("What is six times seven?", tools=[TOOL])
        called = await house.guest.ask(model.CHAT, ask)
        thought, use = called.message.content
        assert isinstance(thought, ThinkingBlock)
        assert isinstance(use, ToolUseBlock)
        assert thought.redacted == SEALED
        result = ToolResultBlock(id=use.id, name=use.name, output=[TextBlock(text="42")])
        talk = [*ask.messages, called.message, Message(name=use.name, role="tool", content=[result])]
        detour = await house.guest.ask(model.CHAT, model.Chat(model="elsewhere", messages=talk))
        assert SEALED not in json.dumps(elsewhere.requests[0])
        talk += [detour.message, Message(name="user", role="user", content=plain("Are you sure?"))]
        await house.guest.ask(model.CHAT, model.Chat(model="default", messages=talk))
        told = provider.requests[1]["input"]
        assert [item.get("type", item.get("role")) for item in told] == [
            "user", "reasoning", "function_call", "function_call_output", "assistant", "user",
        ]  # fmt: skip
        assert (told[1]["id"], told[1]["encrypted_content"]) == (responses_wire.REASONING, SEALED)

    async def test_that_the_provider_cannot_read_is_left_out_and_nobody_notices(
        self, house: House, provider: Provider
    ) -> None:
        ask = question("What is six times seven?", tools=[TOOL])
        called = await house.guest.ask(model.CHAT, ask)
        use = called.message.tool_uses[0]
        result = ToolResultBlock(id=use.id, name=use.name, output=[TextBlock(text="42")])
        talk = [*ask.messages, called.message, Message(name=use.name, role="tool", content=[result])]
        refused = failure(400, "The encrypted content could not be verified.", code="invalid_encrypted_content")
        provider.queue(refused)
        chatted = await house.guest.ask(model.CHAT, model.Chat(model="default", messages=talk))
        assert (chatted.message.text, chatted.attempts) == ("The answer is 42.", 1)
        kinds = [[item.get("type", "user") for item in request["input"]] for request in list(provider.requests)[1:]]
        assert kinds == [
            ["user", "reasoning", "function_call", "function_call_output"],
            ["user", "function_call", "function_call_output"],
        ]


class TestFaults:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("name", NAMES)
    async def test_end_in_the_right_answer_or_a_named_error(
        self, house: House, provider: Provider, spare: Provider, name: str, stream: bool
    ) -> None:
        provider.queue(faulty(name, streamed=stream, reply=RIGHT), *[RIGHT] * 3)
        spare.queue(RIGHT)
        alias = "brief" if name == "stall" else "backed"
        asked = house.chat(model=alias, tools=[TOOL], deltas_to=await house.listen() if stream else None)
        if name in TOLD:
            with pytest.raises(TOLD[name]):
                await asked
            return
        chatted = await asked
        (use,) = chatted.message.tool_uses
        if name == "malformed tool args":
            assert (provider.total, use.raw_input) == (1, '{"code": "1"')
            assert use.input in ({}, {"code": "1"})
            return
        assert chatted.message.text == "The answer is 42."
        assert use.input == {"code": "1"}
        assert provider.total + spare.total == chatted.attempts == 2
        heard = ""
        for delta in house.deltas:
            heard = "" if delta.kind == "reset" else heard + (delta.text if delta.kind == "text" else "")
        assert heard == ("The answer is 42." if stream else "")

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_request_that_is_no_longer_wanted_is_broken_off(
        self, house: House, provider: Provider, stream: bool
    ) -> None:
        provider.queue(Reply(text="never heard to the end", delay_s=0.0 if stream else 30, pace_s=30))
        ask = question(request_id="r-1", deltas_to="deltas.r-1" if stream else None)
        asked = asyncio.create_task(house.guest.ask(model.CHAT, ask))
        async with asyncio.timeout(20):
            await provider.was_asked.wait()
            await house.guest.tell(model.CANCELLED, model.Cancelled(request_id="r-1"), "r-1")
            with pytest.raises(errors.Refused, match="cancelled"):
                await asked
            await provider.was_abandoned.wait()
