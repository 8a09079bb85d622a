"""Speaks with Google's Gemini; the only file that imports `google.genai`.

A `genai.Client` says the address, the version and the headers as the package means them (the key travels in a header,
never in an address); the bytes travel by `transport`, because the package's own client repeats requests after a pause
of up to ten seconds, hides how streams end, and takes five times the CPU. One call here is one HTTP request, and
whatever goes wrong is a `Failed`.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
from google import genai
from google.genai.types import HttpOptions
from multidict import CIMultiDict
from pydantic import SecretStr
from yarl import URL

from natscope.contracts.blocks import AudioBlock, Base64Source, ContentBlock, ImageBlock
from natscope.contracts.model import Draw, Embed, Speak, Usage
from services.model_gateway.ports import Hear, Made, Media, Prompt, Reply, Vectors
from services.model_gateway.providers.transport import BROKEN, TRUSTS_NOBODY, Transport, fault_of
from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires import gemini_making as making
from services.model_gateway.wires.gemini import FETCHES, base, body, forced, path, resource
from services.model_gateway.wires.gemini_faults import failed
from services.model_gateway.wires.gemini_parts import decoded
from services.model_gateway.wires.gemini_reply import Draft
from services.model_gateway.wires.json_text import is_json
from services.model_gateway.wires.sse import Splitter

AFTER_END_S = 2.0
"""The longest wait for one more event after the end of an answer was proven; what may still come is its usage."""


class GoogleGemini:
    """One key at Google, or at a server that speaks like it, with one client for the life of the process."""

    texts_at_once = making.TEXTS_AT_ONCE
    fetches = FETCHES

    def __init__(
        self, name: str, *, base_url: str, api_key: SecretStr, key_name: str | None = None, stall_s: float = 120.0
    ) -> None:
        """`key_name` is what the key's variable is called, for remedies; `stall_s` bounds the silence in a stream."""
        self.name = name
        self._key_name = key_name
        self._secret = api_key.get_secret_value()
        self._stall_s = stall_s
        options = HttpOptions(
            base_url=base_url,
            client_args={"verify": TRUSTS_NOBODY},
            async_client_args={"verify": TRUSTS_NOBODY, "ssl": TRUSTS_NOBODY},
        )
        self._client = genai.Client(vertexai=False, api_key=self._secret, http_options=options)
        # The package has no public door to what it would send; this one is at least meant to be read.
        said = self._client._api_client.get_read_only_http_options()
        self._base = base(str(said["base_url"]))
        self._headers = CIMultiDict({str(header): str(value) for header, value in said["headers"].items()})
        url = URL(self._base)
        self.address = (url.host or "", url.port or 443)
        self._transport = Transport(url)

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        """Ask once; see `ports.Provider`."""
        content = body(prompt.ask, model=prompt.model, provider=self.name)
        draft = self._draft(prompt)
        where = path(prompt.model, stream=hear is not None)
        if hear is None:
            draft.whole(await self._whole(where, content, prompt.timeout_s))
        else:
            async with self._sent(where, content, min(prompt.timeout_s, self._stall_s)) as response:
                await self._listen(response, draft, hear)
        return draft.end()

    async def embed(self, ask: Embed, *, model: str, timeout_s: float) -> Vectors:
        """Ask once; see `ports.Embedder`."""
        content = await self._whole(f"{resource(model)}:batchEmbedContents", making.embed_body(ask, model), timeout_s)
        found = making.embedded(content, count=len(ask.texts), model=model)
        if isinstance(found, Vectors):
            return found
        raise self._failed(found)

    async def speak(self, ask: Speak, *, model: str, timeout_s: float) -> Made:
        """Ask once; see `ports.Speaker`. The sound is WAV, or bare samples if `pcm` is asked for."""
        reply = await self._made(making.speak_body(ask), model, timeout_s)
        media = [making.playable(sound, ask) for sound in _media(reply.content, AudioBlock)]
        return self._some(Made(media[:1], reply.usage, reply.model))

    async def draw(self, ask: Draw, *, model: str, timeout_s: float) -> Made:
        """Ask once; see `ports.Painter`. Imagen draws as many pictures as are asked for, Gemini one."""
        content = making.draw_body(ask, model)
        if making.is_predicted(model):
            found = making.predicted(await self._whole(f"{resource(model)}:predict", content, timeout_s))
            if isinstance(found, str):
                raise self._failed(found)
            return Made(found, Usage(), model)
        if ask.count > 1:
            raise self._failed("bad_request", f"{model} draws one picture for each ask, not {ask.count}")
        reply = await self._made(content, model, timeout_s)
        return self._some(Made(_media(reply.content, ImageBlock), reply.usage, reply.model))

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
        await self._client.aio.aclose()
        self._client.close()

    def _draft(self, prompt: Prompt) -> Draft:
        stand_in = forced(prompt.ask, model=prompt.model)
        return Draft(self.name, prompt.model, key=self._key_name, secret=self._secret, forced=stand_in)

    async def _made(self, content: bytes, model: str, timeout_s: float) -> Reply:
        draft = Draft(self.name, model, key=self._key_name, secret=self._secret)
        draft.whole(await self._whole(path(model, stream=False), content, timeout_s))
        return draft.end()

    def _some(self, made: Made) -> Made:
        if not made.media:
            raise self._failed("no_answer")
        return made

    async def _whole(self, where: str, content: bytes, timeout_s: float) -> bytes:
        async with self._sent(where, content, timeout_s) as response:
            return await self._all(response)

    async def _listen(self, response: aiohttp.ClientResponse, draft: Draft, hear: Hear) -> None:
        kind = response.headers.get("content-type", "").lower()
        if "json" in kind or "html" in kind:
            for piece in draft.whole(await self._all(response)):
                await hear(piece)
            return
        splitter = Splitter()
        try:
            async with asyncio.timeout(None) as limit:
                async for data in self._read(response):
                    events = splitter.feed(data)
                    for piece in draft.take(events):
                        await hear(piece)
                    if draft.finished and events:
                        limit.reschedule(asyncio.get_running_loop().time() + AFTER_END_S)
            last = splitter.end()
            if not all(map(is_json, last)):
                raise self._failed("truncated")
            for piece in draft.take(last):
                await hear(piece)
        except (Failed, TimeoutError):
            if not draft.finished:
                raise

    @asynccontextmanager
    async def _sent(self, where: str, content: bytes, silence_s: float) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Run the body with the open response, and break it off unless it was read to its end.

        An error status is a fault.
        """
        try:
            response = await self._transport.send(
                "POST", URL(f"{self._base}/{where}"), headers=self._headers, content=content, silence_s=silence_s
            )
        except BROKEN as error:
            raise self._broken(error) from None
        try:
            if 200 <= response.status < 300:
                yield response
                return
            said = await self._all(response)
        finally:
            response.close()
        raise failed(self.name, response.status, response.headers, said, key=self._key_name, secret=self._secret)

    async def _all(self, response: aiohttp.ClientResponse) -> bytes:
        return b"".join([data async for data in self._read(response)])

    async def _read(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
        try:
            async for data in response.content.iter_any():
                yield data
        except BROKEN as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> Failed:
        """Return what `error` means. It must not be chained: its text may repeat the key, and traces keep the chain."""
        return self._failed(fault_of(error), type(error).__name__)

    def _failed(self, name: FaultName, said: str = "") -> Failed:
        return Failed(name, provider=self.name, key=self._key_name, said=said)


def _media(content: list[ContentBlock], kind: type[AudioBlock] | type[ImageBlock]) -> list[Media]:
    sources = [block.source for block in content if isinstance(block, kind)]
    inline = [source for source in sources if isinstance(source, Base64Source)]
    return [Media(data, each.media_type) for each in inline if (data := decoded(each.data))]
