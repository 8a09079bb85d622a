"""Speaks chat completions through the `openai` package; the only file that imports it.

The package keeps the connections, the key and the headers. Its parsing is passed by: responses are taken raw and every
JSON is decoded once, by us, which costs a third of its own path (docs/performance.md). It never retries: that is ours.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import cast
from urllib.parse import urlsplit

import aiohttp
import httpx2
from openai import (
    APIConnectionError,
    APIStatusError,
    AsyncOpenAI,
    AsyncStream,
    DefaultAioHttpClient,
    OpenAIError,
    RequestOptions,
)
from pydantic import SecretStr

from services.model_gateway.completions import Dialect, body
from services.model_gateway.completions_reply import DONE, Draft, is_json
from services.model_gateway.faults import Failed, FaultName
from services.model_gateway.http_faults import failed
from services.model_gateway.ports import Hear, Prompt, Reply
from services.model_gateway.sse import Splitter

_PATH = "/chat/completions"
_BROKEN = (OpenAIError, httpx2.HTTPError, aiohttp.ClientError, OSError)
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
        self._client = AsyncOpenAI(
            api_key=self._secret, base_url=base_url, max_retries=0, http_client=DefaultAioHttpClient(limits=limits)
        )

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
        try:
            response = await self._client.post(
                _PATH, cast_to=httpx2.Response, content=content, options=_options(timeout_s, timeout_s)
            )
        except _BROKEN as error:
            raise self._failed(error) from None
        return response.content

    async def _stream(self, content: bytes, timeout_s: float, draft: Draft, hear: Hear) -> None:
        try:
            response = await self._client.post(
                _PATH,
                cast_to=httpx2.Response,
                content=content,
                options=_options(timeout_s, min(timeout_s, self._stall_s)),
                stream=True,
                stream_cls=AsyncStream[object],
            )
        except _BROKEN as error:
            raise self._failed(error) from None
        try:
            await self._listen(cast("httpx2.Response", response), draft, hear)
        finally:
            await cast("httpx2.Response", response).aclose()

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
        if isinstance(error, APIStatusError):
            found = error.response
            return failed(
                self.name, found.status_code, found.headers, found.content, key=self._key_name, secret=self._secret
            )
        cause = error.__cause__ if isinstance(error, APIConnectionError) and error.__cause__ else error
        return Failed(_name(cause), provider=self.name, key=self._key_name, said=type(cause).__name__)


def _name(cause: BaseException) -> FaultName:
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return "connection"
    return "stall" if isinstance(cause, httpx2.TimeoutException | TimeoutError) else "cut"


def _options(whole_s: float, silence_s: float) -> RequestOptions:
    timeout = httpx2.Timeout(whole_s, connect=min(whole_s, CONNECT_S), read=silence_s)
    return {"headers": {"content-type": "application/json"}, "timeout": timeout}


def _last(splitter: Splitter) -> list[bytes]:
    """Return the data of an event that lacks its empty line, unless it was cut in the middle."""
    return [data for data in splitter.end() if data == DONE or is_json(data)]
