"""Speaks with Anthropic's messages API; the only file that imports `anthropic`.

An `AsyncAnthropic` says the address, the key and the headers as the package means them; the bytes travel by
`transport`, so that each JSON is encoded and decoded once. Nothing here retries or follows a redirect: one call is one
HTTP request, and one more each time the model pauses in its turn and has to be told to go on. Whatever goes wrong is a
`Failed`.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import aiohttp
from multidict import CIMultiDict
from pydantic import SecretStr
from yarl import URL

from natscope.contracts.errors import SpecInvalid
from services.model_gateway.ports import Hear, Piece, Prompt, Reply
from services.model_gateway.providers.transport import BROKEN, TRUSTS_NOBODY, Transport, fault_of
from services.model_gateway.trying.faults import Failed
from services.model_gateway.wires.json_text import is_json
from services.model_gateway.wires.messages import Dialect, Request, continued, request
from services.model_gateway.wires.messages_faults import failed
from services.model_gateway.wires.messages_media import FETCHES
from services.model_gateway.wires.messages_reply import Draft
from services.model_gateway.wires.sse import Splitter

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

PATH = "/v1/messages"
PAUSES = 8
"""How often a turn is sent back to go on; then what there is counts as cut."""
AFTER_END_S = 0.1
"""How long the end of the body may take after the last event; then the connection is not used again."""


class AnthropicMessages:
    """One key at Anthropic, or at a server that speaks like it, with one client for the life of the process."""

    fetches = FETCHES

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: SecretStr,
        key_name: str | None = None,
        dialect: Dialect | None = None,
        stall_s: float = 120.0,
    ) -> None:
        """`key_name` is what the key's variable is called, for remedies; `stall_s` bounds the silence in a stream.

        Raises:
            SpecInvalid: the package is not installed.
        """
        if find_spec("anthropic") is None:
            raise SpecInvalid(
                f"provider {name!r} needs the package `anthropic`", remedy="install natscope with the extra `anthropic`"
            )
        self.name = name
        self._base_url = base_url.rstrip("/").removesuffix("/v1")
        self._key_name = key_name
        self._secret = api_key.get_secret_value()
        self._dialect = dialect or Dialect()
        self._stall_s = stall_s
        self._url = URL(self._base_url + PATH)
        self.address = (self._url.host or "", self._url.port or 443)
        self._transport = Transport(self._url)
        self._making = asyncio.Lock()
        self._client: AsyncAnthropic | None = None
        self._headers: Mapping[str, str] = {}

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        """Ask once; see `ports.Provider`."""
        asked = request(
            prompt.ask,
            model=prompt.model,
            provider=self.name,
            dialect=self._dialect,
            stream=hear is not None,
            max_output_tokens=prompt.max_output_tokens,
        )
        draft = Draft(self.name, prompt.model, answer=asked.answer, key=self._key_name, secret=self._secret)
        silence_s = prompt.timeout_s if hear is None else min(prompt.timeout_s, self._stall_s)
        await self._read_into(draft, asked, hear, silence_s)
        for _ in range(PAUSES):
            if not draft.paused:
                break
            more = continued(asked, draft.said(), written=draft.output_tokens, container=draft.container)
            if more is None:
                break
            draft.go_on()
            await self._read_into(draft, more, hear, silence_s)
        return draft.end()

    async def _read_into(self, draft: Draft, asked: Request, hear: Hear | None, silence_s: float) -> None:
        async with self._sent(asked.content, asked.headers, silence_s) as response:
            if _is_stream(response, wanted=hear is not None):
                await self._listen(response, draft, hear or _nobody)
            else:
                for piece in draft.whole(await self._all(response)):
                    await (hear or _nobody)(piece)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
        if self._client is not None:
            await self._client.close()

    async def _listen(self, response: aiohttp.ClientResponse, draft: Draft, hear: Hear) -> None:
        splitter = Splitter()
        try:
            async with asyncio.timeout(None) as limit:
                async for data in self._read(response):
                    for piece in draft.take(splitter.feed(data)):
                        await hear(piece)
                    if draft.finished:
                        limit.reschedule(asyncio.get_running_loop().time() + AFTER_END_S)
            for piece in draft.take(filter(is_json, splitter.end())):
                await hear(piece)
        except (Failed, TimeoutError):
            if not draft.finished:
                raise

    @asynccontextmanager
    async def _sent(
        self, content: bytes, headers: Mapping[str, str], silence_s: float
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Run the body with the open response, and break it off unless it was read to its end.

        An error status is a fault.
        """
        always = self._headers or await self._made()
        try:
            response = await self._transport.send(
                "POST", self._url, headers=CIMultiDict({**always, **headers}), content=content, silence_s=silence_s
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

    async def _made(self) -> Mapping[str, str]:
        """Return the headers of every request. The package takes seconds to import: others are served meanwhile."""
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(_client, self._base_url, self._secret)
                said = {**self._client.default_headers, **self._client.auth_headers}
                self._headers = {name.lower(): value for name, value in said.items() if isinstance(value, str)}
        return self._headers

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
        return Failed(fault_of(error), provider=self.name, key=self._key_name, said=type(error).__name__)


def _is_stream(response: aiohttp.ClientResponse, *, wanted: bool) -> bool:
    """Return whether the answer is a stream; some servers do not do as they are asked."""
    kind = response.headers.get("content-type", "").lower()
    return "event-stream" in kind or (wanted and "json" not in kind and "html" not in kind)


async def _nobody(piece: Piece) -> None:
    """Hear a piece that nobody waits for."""


def _client(base_url: str, key: str) -> "AsyncAnthropic":
    from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

    idle = DefaultAsyncHttpxClient(verify=TRUSTS_NOBODY)
    return AsyncAnthropic(api_key=key, base_url=base_url, max_retries=0, http_client=idle)
