"""`model.chat` and its kin over Gemini's wire, from end to end: a real nats-server, Google's own client, real HTTP."""

import asyncio
import base64
import json
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natscope.contracts import errors, model
from natscope.contracts.blocks import TextBlock, ThinkingBlock, ToolResultBlock, plain
from natscope.contracts.message import Message
from tests.integration.model_gateway.house import KEY, TOOL, House, opened, question
from tests.loopback import chat_wire, gemini_wire, media_wire
from tests.loopback.gemini_wire import SIGNATURE, chunk, failure, turns
from tests.loopback.provider import Provider
from tests.loopback.replies import JSON, Call, Reply

MODELS = """
providers:
  gemini: {kind: gemini, api_key: {env: GEMINI_API_KEY}, base_url: "%(gemini)s"}
  brief: {kind: gemini, api_key: {env: GEMINI_API_KEY}, base_url: "%(gemini)s", stall_s: 0.4}
  elsewhere: {kind: openai, name: elsewhere, api_key: {env: OPENAI_API_KEY}, base_url: "%(elsewhere)s"}
aliases:
  default: {targets: [{provider: gemini, model: gemini-3-flash}]}
  brief: {targets: [{provider: brief, model: gemini-3-flash}]}
  older: {targets: [{provider: gemini, model: gemini-2.5-flash}]}
  elsewhere: {targets: [{provider: elsewhere, model: other-1}]}
  embedding: {purpose: embedding, targets: [{provider: gemini, model: gemini-embedding-001}]}
  speech: {purpose: speech, targets: [{provider: gemini, model: gemini-2.5-flash-preview-tts}]}
  image: {purpose: image, targets: [{provider: gemini, model: gemini-2.5-flash-image}]}
"""
OUTPUT = model.Output(
    json_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "title": "N"}
)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """Google; it counts what it is asked."""
    async with Provider(turns, wire=gemini_wire) as provider:
        yield provider


@pytest.fixture
async def elsewhere() -> AsyncIterator[Provider]:
    """One that speaks chat completions."""
    async with Provider(wire=chat_wire) as provider:
        yield provider


@pytest.fixture
async def house(nats_url: str, provider: Provider, elsewhere: Provider, tmp_path: Path) -> AsyncIterator[House]:
    """The gateway and a guest who asks it."""
    models = MODELS % {"gemini": provider.url.removesuffix("/v1"), "elsewhere": elsewhere.url}
    async with opened(nats_url, provider.url, tmp_path, models=models) as house:
        yield house


def _whole(*parts: dict[str, object]) -> Reply:
    return Reply(raw=json.dumps(chunk(Reply(), list(parts))).encode(), content_type=JSON)


class TestAnswers:
    async def test_in_one_piece(self, house: House, provider: Provider) -> None:
        chatted = await house.chat()
        assert chatted.message.text == "The answer is 42."
        assert (chatted.finish_reason, chatted.provider, chatted.model) == ("stop", "gcp.gemini", "loopback-1")
        assert chatted.usage == model.Usage(input_tokens=12, output_tokens=7, cache_read_tokens=3, reasoning_tokens=2)
        assert provider.requests[0] == {
            "contents": [{"role": "user", "parts": [{"text": "Hello?"}]}],
            "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
        }
        headers = {name.lower(): value for name, value in provider.headers[0].items()}
        assert headers["x-goog-api-key"] == KEY
        assert headers["user-agent"].startswith("google-genai-sdk/")

    @pytest.mark.parametrize("rechunk", [None, 1])
    async def test_as_a_stream_that_ends_in_the_same_message(
        self, house: House, provider: Provider, rechunk: int | None
    ) -> None:
        calls = (Call("execute_python", '{"code": "1"}'),)
        provider.queue(Reply(text="Grüße, 世界.", thinking="Hm.", calls=calls, rechunk=rechunk))
        chatted = await house.chat(deltas_to=await house.listen(), tools=[TOOL])
        for kind, text in (("thinking", "Hm."), ("text", "Grüße, 世界."), ("tool_use", '{"code":"1"}')):
            assert "".join(delta.text for delta in house.deltas if delta.kind == kind) == text
        assert [delta.sequence for delta in house.deltas] == list(range(len(house.deltas)))
        assert [block.type for block in chatted.message.content] == ["thinking", "text", "thinking", "tool_use"]
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

    @pytest.mark.parametrize("stream", [False, True])
    async def test_by_schema_beside_tools_on_models_of_either_age(
        self, house: House, provider: Provider, stream: bool
    ) -> None:
        provider.queue(Reply(text='{"n": 4}'), Reply(calls=(Call("answer", '{"n": 4}'),)))
        for alias in ("default", "older"):
            subject = await house.listen() if stream else None
            chatted = await house.chat(model=alias, tools=[TOOL], output=OUTPUT, deltas_to=subject)
            assert json.loads(chatted.message.text) == {"n": 4}
            assert chatted.finish_reason == "stop"
        newer, older = provider.requests
        assert newer["generationConfig"]["responseMimeType"] == "application/json"
        assert older["tools"][0]["functionDeclarations"][1]["name"] == "answer"


class TestSignatures:
    async def test_go_back_byte_for_byte_even_after_a_detour(
        self, house: House, provider: Provider, elsewhere: Provider
    ) -> None:
        ask = question("What is six times seven?", tools=[TOOL])
        called = await house.guest.ask(model.CHAT, ask)
        (use,) = called.message.tool_uses
        assert ThinkingBlock(thinking="", provider="gcp.gemini", signature=SIGNATURE) in called.message.content
        result = ToolResultBlock(id=use.id, name=use.name, output=[TextBlock(text="42")])
        talk = [*ask.messages, called.message, Message(name=use.name, role="tool", content=[result])]
        detour = await house.guest.ask(model.CHAT, model.Chat(model="elsewhere", messages=talk))
        assert SIGNATURE not in json.dumps(elsewhere.requests[0])
        talk += [detour.message, Message(name="user", role="user", content=plain("Are you sure?"))]
        await house.guest.ask(model.CHAT, model.Chat(model="default", messages=talk))
        told = provider.requests[1]["contents"]
        assert [turn["role"] for turn in told] == ["user", "model", "user", "model", "user"]
        thought, call = told[1]["parts"]
        assert thought == {"text": "A tool will do.", "thought": True}
        assert (call["functionCall"]["id"], call["thoughtSignature"]) == (use.id, SIGNATURE)
        assert told[2]["parts"][0]["functionResponse"]["response"] == {"output": "42"}


class TestFaults:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_key_that_is_refused_is_told_at_once(self, house: House, provider: Provider, stream: bool) -> None:
        provider.queue(failure(400, "API key not valid. Please pass a valid API key."))
        with pytest.raises(errors.CredentialRefused, match="GEMINI_API_KEY"):
            await house.chat(deltas_to=await house.listen() if stream else None)
        assert provider.total == 1

    async def test_a_stream_that_falls_silent_is_given_up(self, house: House, provider: Provider) -> None:
        provider.queue(*[Reply(text="Half of it", pieces=2, pace_s=20)] * 3)
        with pytest.raises(errors.ModelUnavailable, match="stopped sending"):
            await house.chat(model="brief", deltas_to=await house.listen())

    async def test_nothing_more_is_waited_for_long_after_the_end(self, house: House, provider: Provider) -> None:
        whole = b"".join(gemini_wire.events(Reply(text="The answer is 42.")))
        provider.queue(Reply(raw=whole + b":" * 90 * len(whole), rechunk=len(whole), pace_s=0.1))
        assert (await house.chat(deltas_to=await house.listen())).message.text == "The answer is 42."
        async with asyncio.timeout(20):
            await provider.was_abandoned.wait()

    async def test_a_call_that_google_cannot_read_is_asked_for_once_more(
        self, house: House, provider: Provider
    ) -> None:
        provider.queue(gemini_wire.faulty("malformed tool args", streamed=False))
        chatted = await house.chat(tools=[TOOL])
        assert [use.name for use in chatted.message.tool_uses] == ["execute_python"]
        assert provider.total == 2

    async def test_the_key_is_in_no_log_span_or_error(
        self, house: House, provider: Provider, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        provider.queue(failure(403, f"Consumer api_key:{KEY} may not."), failure(400, f"{KEY} is odd."))
        for error in (errors.CredentialRefused, errors.BodyInvalid):
            with pytest.raises(error) as caught:
                await house.chat()
            assert KEY not in f"{caught.value} {caught.value.details}"
        traced = "".join(span.to_json() for span in house.spans.get_finished_spans())
        logged = "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
        assert "gcp.gemini" in traced
        assert KEY not in traced
        assert KEY not in logged


class TestCancel:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_closes_the_connection(self, house: House, provider: Provider, stream: bool) -> None:
        provider.queue(Reply(text="never heard to the end", pace_s=0.001, pieces=9))
        provider.may_end.clear()
        subject = await house.listen() if stream else None
        asked = asyncio.create_task(house.guest.ask(model.CHAT, question(request_id="r-1", deltas_to=subject)))
        async with asyncio.timeout(20):
            await (house.heard if stream else provider.was_asked).wait()
            await house.guest.tell(model.CANCELLED, model.Cancelled(request_id="r-1"), "r-1")
            await provider.was_abandoned.wait()
            with pytest.raises(errors.Refused, match="cancelled"):
                await asked


class TestMaking:
    async def test_vectors_come_in_the_order_of_their_texts(self, house: House, provider: Provider) -> None:
        rows = [{"values": [0.5, 1]}, {"values": [1, 0]}]
        provider.queue(Reply(raw=json.dumps({"embeddings": rows}).encode(), content_type=JSON))
        found = await house.guest.ask(model.EMBED, model.Embed(model="embedding", texts=["a", "b"]))
        assert found.vectors == [[0.5, 1.0], [1.0, 0.0]]
        assert [each["content"] for each in provider.requests[0]["requests"]] == [
            {"parts": [{"text": "a"}]},
            {"parts": [{"text": "b"}]},
        ]

    async def test_speech_is_a_wave_file(self, house: House, provider: Provider) -> None:
        samples = base64.b64encode(b"\0\1" * 100).decode()
        provider.queue(_whole({"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": samples}}))
        spoken = await house.guest.ask(model.SPEAK, model.Speak(model="speech", text="Hello."))
        sound = await house.guest.blobs.bytes_of(spoken.audio)
        assert (spoken.audio.source.media_type, sound[:4], len(sound)) == ("audio/wav", b"RIFF", 244)

    async def test_a_picture_is_what_was_drawn(self, house: House, provider: Provider) -> None:
        picture = base64.b64encode(media_wire.PNG).decode()
        provider.queue(_whole({"text": "Here."}, {"inlineData": {"mimeType": "image/png", "data": picture}}))
        drawn = await house.guest.ask(model.DRAW, model.Draw(model="image", prompt="A hut."))
        (image,) = drawn.images
        assert await house.guest.blobs.bytes_of(image) == media_wire.PNG


class TestWithoutThePackage:
    async def test_the_extra_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "models.yaml"
        file.write_text(MODELS % {"gemini": "http://127.0.0.1:9", "elsewhere": "http://127.0.0.1:9"})
        program = f"""
import sys
sys.modules["google.genai"] = None
from pathlib import Path
from natscope.contracts.errors import SpecInvalid
from services.model_gateway.catalog.models_file import Catalog
from services.model_gateway.clients import client
catalog = Catalog.read(Path({str(file)!r}), {{"GEMINI_API_KEY": "k"}})
try:
    client(catalog, catalog.providers["gemini"], catalog.keys("gemini")[0])
except SpecInvalid as error:
    print(error)
"""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env={"PYTHONPATH": "shared:."}, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        assert b"pip install 'natscope[gemini]'" in said
