"""One account at an endpoint of OpenAI's make: the only file that imports `openai`, and knows nothing of what is said.

An `AsyncOpenAI` says the address, the key and the headers as the package means them; the bytes travel by `transport`,
so that each JSON is encoded and decoded once: of the CPU time of `client.chat.completions.create`, nine tenths are
building the request, copying its options and parsing the reply. Nothing here retries or follows a redirect: one call is
one HTTP request. Whatever goes wrong is a `Failed`.

    account = OpenAIAccount("openai", base_url=…, api_key=…, key_name="OPENAI_API_KEY")
    answer = await account.post("/embeddings", body, timeout_s=30)     # answer.content, .kind, .headers
    async with account.stream("/chat/completions", body, timeout_s=30) as stream:
        async for data in stream: ...                                  # stream.kind, .headers
    answer = await account.upload("/audio/transcriptions", {"model": "whisper-1"}, [File(…)], timeout_s=30)
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

import aiohttp
from httpx2 import AsyncBaseTransport, Request
from multidict import CIMultiDict
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from pydantic import SecretStr
from yarl import URL

from services.model_gateway.providers.transport import BROKEN, Transport, fault_of
from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires.http_faults import failed

JSON = "application/json"
Content = bytes | aiohttp.FormData | None


@dataclass(frozen=True, slots=True)
class File:
    """A part of a form."""

    field: str
    name: str
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer with a status of success."""

    content: bytes
    headers: Mapping[str, str]
    """Names in any case; `x-ratelimit-…` are among them."""

    @property
    def kind(self) -> str:
        """Its content type, in lower case; empty if none is said."""
        return self.headers.get("content-type", "").lower()


class Stream:
    """An answer with a status of success whose body is read as it comes: `async for data in stream`."""

    def __init__(self, account: "OpenAIAccount", response: aiohttp.ClientResponse) -> None:
        self._account = account
        self._response = response
        self.headers: Mapping[str, str] = response.headers
        self.kind = response.headers.get("content-type", "").lower()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes as they come, cut anywhere.

        Raises:
            Failed: the connection was lost, or was silent for too long.
        """
        try:
            async for data in self._response.content.iter_any():
                yield data
        except BROKEN as error:
            raise self._account.broken(error) from None

    async def whole(self) -> bytes:
        """Return the rest of the body in one piece."""
        try:
            return await self._response.read()
        except BROKEN as error:
            raise self._account.broken(error) from None


class _Nowhere(AsyncBaseTransport):
    """Stands where the package's own connections would be, whose certificates take a tenth of a second to load."""

    async def handle_async_request(self, request: Request) -> NoReturn:
        raise RuntimeError("requests to providers go by `Transport`")


class OpenAIAccount:
    """An address and a key, with one client for the life of the process."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: SecretStr | None = None,
        key_name: str | None = None,
        headers: Mapping[str, str] | None = None,
        stall_s: float = 120.0,
    ) -> None:
        """`key_name` is what the key's variable is called, for remedies; `stall_s` bounds the silence in a stream.

        With no `api_key` none is sent. `headers` go with every request.
        """
        self.name = name
        self.key_name = key_name
        self.secret = api_key.get_secret_value() if api_key else ""
        """To be struck out of what the provider says; see `http_faults`."""
        self.stall_s = stall_s
        unused = DefaultAsyncHttpxClient(transport=_Nowhere(), trust_env=False)
        self._client = AsyncOpenAI(api_key=self.secret or "none", base_url=base_url, max_retries=0, http_client=unused)
        self._base = URL(str(self._client.base_url).rstrip("/"))
        self.address = (self._base.host or "", self._base.port or 443)
        self._transport = Transport(self._base)
        self._headers = self._always(headers or {})
        self._bare = {name: value for name, value in self._headers.items() if name.lower() != "content-type"}
        self._urls: dict[str, URL] = {}

    async def post(
        self, path: str, content: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send JSON and return the whole answer.

        Raises:
            Failed: an error status, or no answer.
        """
        return await self._whole("POST", path, content, timeout_s, headers)

    async def get(self, path: str, *, timeout_s: float, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for what is at `path` and return the whole answer.

        Raises:
            Failed: an error status, or no answer.
        """
        return await self._whole("GET", path, None, timeout_s, headers)

    async def upload(self, path: str, fields: Mapping[str, str], files: Sequence[File], *, timeout_s: float) -> Answer:
        """Send a form (`multipart/form-data`) and return the whole answer.

        Raises:
            Failed: an error status, or no answer.
        """
        form = aiohttp.FormData(dict(fields), default_to_multipart=True)
        for file in files:
            form.add_field(file.field, file.data, filename=file.name, content_type=file.media_type)
        return await self._whole("POST", path, form, timeout_s, None)

    @asynccontextmanager
    async def stream(
        self, path: str, content: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Stream]:
        """Send JSON and read the answer as it comes; leaving the block closes the connection if more would come.

        Raises:
            Failed: an error status, or no answer.
        """
        response = await self._sent("POST", path, content, min(timeout_s, self.stall_s), headers)
        try:
            yield Stream(self, response)
        finally:
            response.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
        await self._client.close()

    def failed(self, name: FaultName, said: str = "") -> Failed:
        """Return a fault of this account; `said` must be free of secrets."""
        return Failed(name, provider=self.name, key=self.key_name, said=said)

    def broken(self, error: Exception) -> Failed:
        """Return what `error` means. It must not be chained: its text may repeat the key, and traces keep the chain."""
        return self.failed(fault_of(error), type(error).__name__)

    async def _whole(
        self, method: str, path: str, content: Content, timeout_s: float, headers: Mapping[str, str] | None
    ) -> Answer:
        response = await self._sent(method, path, content, timeout_s, headers)
        try:
            return Answer(await Stream(self, response).whole(), response.headers)
        finally:
            response.close()

    async def _sent(
        self,
        method: str,
        path: str,
        content: Content,
        silence_s: float,
        headers: Mapping[str, str] | None,
    ) -> aiohttp.ClientResponse:
        """Return the open response; the caller closes it. An error status is a fault."""
        always = self._headers if isinstance(content, bytes) else self._bare
        try:
            response = await self._transport.send(
                method,
                self._url(path),
                headers={**always, **headers} if headers else always,
                content=content,
                silence_s=silence_s,
            )
            if 200 <= response.status < 300:
                return response
            said = await _rest(response)
        except BROKEN as error:
            raise self.broken(error) from None
        raise failed(self.name, response.status, response.headers, said, key=self.key_name, secret=self.secret)

    def _url(self, path: str) -> URL:
        found = self._urls.get(path)
        if found is None:
            found = URL(str(self._base) + path)
            if len(self._urls) < 64:
                self._urls[path] = found
        return found

    def _always(self, more: Mapping[str, str]) -> Mapping[str, str]:
        headers = {name: value for name, value in self._client.default_headers.items() if isinstance(value, str)}
        headers.pop("Authorization", None)
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        return CIMultiDict({**headers, "Content-Type": JSON, **more})


async def _rest(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.read()
    finally:
        response.close()
