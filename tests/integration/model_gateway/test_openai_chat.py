"""Asking chat completions over real HTTP, on an account at an endpoint of OpenAI's make."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from pydantic import SecretStr

from natscope.contracts.blocks import TextBlock, ToolUseBlock
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from services.model_gateway.ports import Piece, Prompt, Reply
from services.model_gateway.providers.openai_account import File, OpenAIAccount
from services.model_gateway.providers.openai_chat import OpenAIChat
from services.model_gateway.trying.faults import Failed
from tests.loopback.chat_wire import events, failure, faulty, unary
from tests.loopback.faults import NAMES
from tests.loopback.provider import Provider
from tests.loopback.replies import EVENTS, JSON
from tests.loopback.replies import Reply as Sent

KEY = "sk-loopback-0123456789abcdef"
SAID = Sent(text="Grüße, 世界 🌍.", thinking="Hm.")
ASK = Chat(model="default", messages=[Message(name="user", role="user", content=[TextBlock(text="Hi.")])])


class Asker:
    """Asks one provider, and hears what it says if it streams."""

    def __init__(self, url: str, key: str | None = KEY, *, stall_s: float = 30) -> None:
        secret = SecretStr(key) if key else None
        self.account = OpenAIAccount("openai", base_url=url, api_key=secret, key_name="OPENAI_API_KEY", stall_s=stall_s)
        self.chat = OpenAIChat(self.account)
        self.pieces: list[Piece] = []
        self.heard = asyncio.Event()

    async def hear(self, piece: Piece) -> None:
        """Note a piece."""
        self.pieces.append(piece)
        self.heard.set()

    async def ask(self, *, streamed: bool, timeout_s: float = 30) -> Reply:
        """Ask once."""
        return await self.chat.chat(Prompt(ASK, "m-1", timeout_s), self.hear if streamed else None)


@pytest.fixture
async def asker(provider: Provider) -> AsyncIterator[Asker]:
    """Asks the loopback provider with a key."""
    asker = Asker(provider.url)
    yield asker
    await asker.chat.close()


class TestAnswers:
    @pytest.mark.parametrize("size", [1, 7, None])
    async def test_a_stream_says_the_same_wherever_it_is_cut(
        self, asker: Asker, provider: Provider, size: int | None
    ) -> None:
        provider.queue(Sent(text=SAID.text, thinking=SAID.thinking, rechunk=size))
        reply = await asker.ask(streamed=True)
        assert [block.type for block in reply.content] == ["thinking", "text"]
        assert "".join(piece.text for piece in asker.pieces if piece.kind == "text") == SAID.text

    @pytest.mark.parametrize("kind", [JSON, EVENTS, "text/plain", "text/html"])
    async def test_one_piece_where_a_stream_was_asked_is_read_whatever_it_is_called(
        self, asker: Asker, provider: Provider, kind: str
    ) -> None:
        provider.queue(Sent(raw=b"\n " + unary(SAID), content_type=kind))
        assert (await asker.ask(streamed=True)).content[-1] == TextBlock(text="Grüße, 世界 🌍.")

    @pytest.mark.parametrize("kind", [JSON, "text/plain", "application/octet-stream"])
    async def test_a_stream_is_read_whatever_it_is_called(self, asker: Asker, provider: Provider, kind: str) -> None:
        provider.queue(Sent(raw=b"\xef\xbb\xbf: hello\n\n" + b"".join(events(SAID)), content_type=kind))
        assert (await asker.ask(streamed=True)).content[-1] == TextBlock(text="Grüße, 世界 🌍.")

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_a_call_that_the_provider_could_not_read_is_a_call(
        self, asker: Asker, provider: Provider, streamed: bool
    ) -> None:
        error = {"code": "tool_use_failed", "failed_generation": '{"name": "look", "arguments": {"at": "i"t"}}'}
        provider.queue(Sent(status=400, raw=json.dumps({"error": error}).encode(), content_type=JSON))
        reply = await asker.ask(streamed=streamed)
        assert [(b.name, b.raw_input) for b in reply.content if isinstance(b, ToolUseBlock)] == [
            ("look", '{"at": "i"t"}')
        ]
        assert bool(asker.pieces) is streamed


class TestFaults:
    @pytest.mark.parametrize("streamed", [False, True])
    @pytest.mark.parametrize("name", NAMES)
    async def test_none_passes_for_an_answer_and_none_tells_the_key(
        self, asker: Asker, provider: Provider, name: str, streamed: bool
    ) -> None:
        provider.queue(faulty(name, streamed=streamed, reply=Sent(text="The answer is 42.", pieces=6)))
        if name == "malformed tool args":
            reply = await asker.ask(streamed=streamed)
            assert [block.input for block in reply.content if isinstance(block, ToolUseBlock)] == [{}]
            return
        with pytest.raises(Failed) as caught:
            await asker.ask(streamed=streamed, timeout_s=2 if name == "stall" else 30)
        told = caught.value.error(model="m-1", attempts=1)
        assert KEY not in "".join(traceback.format_exception(caught.value)) + str(told) + str(told.details)
        assert provider.total == 1

    async def test_a_redirect_is_not_followed(self, asker: Asker, provider: Provider) -> None:
        provider.queue(Sent(status=307, raw=b"", headers=(("location", f"{provider.url}/elsewhere"),)))
        with pytest.raises(Failed, match="bad_request"):
            await asker.ask(streamed=False)
        assert provider.total == 1

    async def test_what_the_provider_says_of_the_limit_is_told(self, asker: Asker, provider: Provider) -> None:
        provider.queue(failure(429, "slow down", code="rate_limit_exceeded", retry_after="7"))
        with pytest.raises(Failed) as caught:
            await asker.ask(streamed=False)
        assert caught.value.retry_after_s == 7

    async def test_cancelling_closes_the_stream(self, asker: Asker, provider: Provider) -> None:
        provider.queue(Sent(text="x" * 400, pieces=400, pace_s=0.01))
        provider.may_end.clear()
        task = asyncio.create_task(asker.ask(streamed=True))
        async with asyncio.timeout(20):
            await asker.heard.wait()
            task.cancel()
            await provider.was_abandoned.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


class TestAccount:
    async def test_without_a_key_none_is_sent(self, provider: Provider) -> None:
        asker = Asker(provider.url, key=None)
        await asker.ask(streamed=False)
        await asker.chat.close()
        assert "Authorization" not in provider.headers[-1]

    async def test_the_key_goes_as_a_bearer(self, asker: Asker, provider: Provider) -> None:
        await asker.ask(streamed=False)
        assert provider.headers[-1]["Authorization"] == f"Bearer {KEY}"

    async def test_what_the_provider_says_beside_the_answer_can_be_read(self, asker: Asker, provider: Provider) -> None:
        provider.queue(Sent(text="Hi.", headers=(("x-ratelimit-remaining-requests", "3"),)))
        answer = await asker.account.post("/chat/completions", b'{"messages": []}', timeout_s=30)
        assert answer.headers["X-RateLimit-Remaining-Requests"] == "3"
        assert answer.kind.startswith(JSON)

    async def test_a_form_carries_fields_and_files(self) -> None:
        got: list[tuple[str, str, bytes, str]] = []

        async def take(request: web.BaseRequest) -> web.Response:
            form = await request.post()
            file = form["file"]
            assert isinstance(file, web.FileField)
            got.append((str(form["model"]), file.filename, file.file.read(), file.content_type))
            return web.json_response({"text": "Hi."})

        runner = web.ServerRunner(web.Server(take))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        asker = Asker(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        sound = File("file", "a.mp3", b"ID3", "audio/mpeg")
        answer = await asker.account.upload("/audio/transcriptions", {"model": "w"}, [sound], timeout_s=30)
        await asker.chat.close()
        await runner.cleanup()
        assert json.loads(answer.content) == {"text": "Hi."}
        assert got == [("w", "a.mp3", b"ID3", "audio/mpeg")]

    async def test_one_that_nobody_listens_for_is_a_lost_connection(self) -> None:
        asker = Asker("http://127.0.0.1:1/v1")
        with pytest.raises(Failed, match="connection"):
            await asker.ask(streamed=False)
        await asker.chat.close()
