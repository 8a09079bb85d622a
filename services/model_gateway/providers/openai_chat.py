"""Speaks chat completions through the `openai` package; the only file that imports it.

One `AsyncOpenAI` for the life of the process keeps the address, the key, the headers and the connections (aiohttp's).
Requests go out on its HTTP client as they are and responses are taken raw, so that each JSON is encoded and decoded
once: of the CPU time of `client.chat.completions.create`, 70 % is building the request, copying its options and parsing
the reply. Nothing below this file retries.
"""

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

import aiohttp
import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient
from pydantic import SecretStr

from services.model_gateway.ports import Hear, Prompt, Reply
from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires.chat import Dialect, body
from services.model_gateway.wires.chat_reply import DONE, Draft, is_json
from services.model_gateway.wires.http_faults import failed
from services.model_gateway.wires.sse import Splitter

_BROKEN = (httpx2.HTTPError, aiohttp.ClientError, OSError)
CONNECTIONS = 512
CONNECT_S = 5.0
AFTER_DONE_S = 0.1
"""How long the end of the body may take after `[DONE]`; then the connection is not used again."""


class OpenAIChat:
    """One account at an endpoint that speaks chat completions, with one client for the life of the process."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: SecretStr,
        key_name: str,
        dialect: Dialect | None = None,
        stall_s: float = 120.0,
    ) -> None:
        """`key_name` is what the key's variable is called, for remedies; `stall_s` bounds the silence in a stream."""
        self.name = name
        self._dialect = dialect or Dialect()
        self._key_name = key_name
        self._secret = api_key.get_secret_value()
        self._stall_s = stall_s
        url = urlsplit(base_url)
        self.address = (url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=60)
        self._http = DefaultAioHttpClient(limits=limits)
        self._client = AsyncOpenAI(api_key=self._secret, base_url=base_url, max_retries=0, http_client=self._http)
        self._url = httpx2.URL(f"{str(self._client.base_url).rstrip('/')}/chat/completions")
        headers = {**self._client.default_headers, "Authorization": f"Bearer {self._client.api_key}"}
        self._headers = httpx2.Headers({name: value for name, value in headers.items() if isinstance(value, str)})

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        """Ask once; see `ports.Provider`."""
        content = body(
            prompt.ask, model=prompt.model, provider=self.name, dialect=self._dialect, stream=hear is not None
        )
        draft = Draft(self.name, prompt.model, key=self._key_name, secret=self._secret)
        if hear is None:
            draft.whole(await self._unary(content, prompt.timeout_s))
        else:
            await self._stream(content, prompt.timeout_s, draft, hear)
        return draft.end()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _unary(self, content: bytes, timeout_s: float) -> bytes:
        response = await self._sent(content, timeout_s, timeout_s)
        try:
            return b"".join([data async for data in self._read(response)])
        finally:
            await response.aclose()

    async def _stream(self, content: bytes, timeout_s: float, draft: Draft, hear: Hear) -> None:
        response = await self._sent(content, timeout_s, min(timeout_s, self._stall_s))
        try:
            await self._listen(response, draft, hear)
        finally:
            await response.aclose()

    async def _sent(self, content: bytes, whole_s: float, silence_s: float) -> httpx2.Response:
        """Return the open response; the caller closes it. An error status is a fault."""
        timeout = httpx2.Timeout(whole_s, connect=min(whole_s, CONNECT_S), read=silence_s)
        request = httpx2.Request(
            "POST", self._url, headers=self._headers, content=content, extensions={"timeout": timeout.as_dict()}
        )
        try:
            response = await self._http.send(request, stream=True)
            if response.is_success:
                return response
            said = await response.aread()
        except _BROKEN as error:
            raise self._failed(error) from None
        raise failed(self.name, response.status_code, response.headers, said, key=self._key_name, secret=self._secret)

    async def _listen(self, response: httpx2.Response, draft: Draft, hear: Hear) -> None:
        kind = response.headers.get("content-type", "")
        if "json" in kind or "html" in kind:
            whole = b"".join([data async for data in self._read(response)])
            for piece in draft.whole(whole):
                await hear(piece)
            return
        splitter = Splitter()
        try:
            async with asyncio.timeout(None) as limit:
                async for data in self._read(response):
                    for piece in draft.take(splitter.feed(data)):
                        await hear(piece)
                    if draft.done:
                        limit.reschedule(asyncio.get_running_loop().time() + AFTER_DONE_S)
            for piece in draft.take(_last(splitter)):
                await hear(piece)
        except (Failed, TimeoutError):
            if not draft.finished:
                raise

    async def _read(self, response: httpx2.Response) -> AsyncGenerator[bytes]:
        try:
            async for data in response.aiter_bytes():
                yield data
        except _BROKEN as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> Failed:
        """Return what `error` means. It must not be chained: its text may repeat the key, and traces keep the chain."""
        return Failed(_name(error), provider=self.name, key=self._key_name, said=type(error).__name__)


def _name(cause: BaseException) -> FaultName:
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return "connection"
    return "stall" if isinstance(cause, httpx2.TimeoutException | TimeoutError) else "cut"


def _last(splitter: Splitter) -> list[bytes]:
    """Return the data of an event that lacks its empty line, unless it was cut in the middle."""
    return [data for data in splitter.end() if data == DONE or is_json(data)]
