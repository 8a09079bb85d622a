"""One account at an endpoint of OpenAI's make: the only file that imports `openai`, and knows nothing of what is said.

One `AsyncOpenAI` for the life of the process keeps the address, the key, the headers and the connections (aiohttp's).
Requests go out on its HTTP client as they are and responses are taken raw, so that each JSON is encoded and decoded
once: of the CPU time of `client.chat.completions.create`, 70 % is building the request, copying its options and parsing
the reply. Nothing here retries or follows a redirect: one call is one HTTP request. Whatever goes wrong is a `Failed`.

    account = OpenAIAccount("openai", base_url=…, api_key=…, key_name="OPENAI_API_KEY")
    answer = await account.post("/embeddings", body, timeout_s=30)     # answer.content, .kind, .headers
    async with account.stream("/chat/completions", body, timeout_s=30) as stream:
        async for data in stream: ...                                  # stream.kind, .headers
    answer = await account.upload("/audio/transcriptions", {"model": "whisper-1"}, [File(…)], timeout_s=30)
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient
from pydantic import SecretStr

from services.model_gateway.trying.faults import Failed, FaultName
from services.model_gateway.wires.http_faults import failed

_BROKEN = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, aiohttp.ClientError, OSError, ValueError)
CONNECTIONS = 512
CONNECT_S = 5.0
JSON = "application/json"


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

    def __init__(self, account: "OpenAIAccount", response: httpx2.Response) -> None:
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
            async for data in self._response.aiter_bytes():
                yield data
        except _BROKEN as error:
            raise self._account.broken(error) from None

    async def whole(self) -> bytes:
        """Return the rest of the body in one piece."""
        return b"".join([data async for data in self])


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
        url = urlsplit(base_url)
        self.address = (url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=60)
        self._http = DefaultAioHttpClient(limits=limits)
        self._client = AsyncOpenAI(
            api_key=self.secret or "none", base_url=base_url, max_retries=0, http_client=self._http
        )
        self._base = str(self._client.base_url).rstrip("/")
        self._headers = self._always(headers or {})
        self._urls: dict[str, httpx2.URL] = {}

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
        parts = [(file.field, (file.name, file.data, file.media_type)) for file in files]
        form = httpx2.Request("POST", self._url(path), data=dict(fields), files=parts)
        kind = {"content-type": form.headers["content-type"]}
        return await self._whole("POST", path, form.read(), timeout_s, kind)

    @asynccontextmanager
    async def stream(
        self, path: str, content: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Stream]:
        """Send JSON and read the answer as it comes; leaving the block closes the connection if more would come.

        Raises:
            Failed: an error status, or no answer.
        """
        response = await self._sent("POST", path, content, timeout_s, min(timeout_s, self.stall_s), headers)
        try:
            yield Stream(self, response)
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def failed(self, name: FaultName, said: str = "") -> Failed:
        """Return a fault of this account; `said` must be free of secrets."""
        return Failed(name, provider=self.name, key=self.key_name, said=said)

    def broken(self, error: Exception) -> Failed:
        """Return what `error` means. It must not be chained: its text may repeat the key, and traces keep the chain."""
        return self.failed(_name(error), type(error).__name__)

    async def _whole(
        self, method: str, path: str, content: bytes | None, timeout_s: float, headers: Mapping[str, str] | None
    ) -> Answer:
        response = await self._sent(method, path, content, timeout_s, timeout_s, headers)
        try:
            return Answer(await Stream(self, response).whole(), response.headers)
        finally:
            await response.aclose()

    async def _sent(
        self,
        method: str,
        path: str,
        content: bytes | None,
        whole_s: float,
        silence_s: float,
        headers: Mapping[str, str] | None,
    ) -> httpx2.Response:
        """Return the open response; the caller closes it. An error status is a fault."""
        timeout = httpx2.Timeout(whole_s, connect=min(whole_s, CONNECT_S), read=silence_s)
        request = httpx2.Request(
            method,
            self._url(path),
            headers=httpx2.Headers({**self._headers, **headers}) if headers else self._headers,
            content=content,
            extensions={"timeout": timeout.as_dict()},
        )
        try:
            response = await self._http.send(request, stream=True, follow_redirects=False)
            if response.is_success:
                return response
            said = await _rest(response)
        except _BROKEN as error:
            raise self.broken(error) from None
        raise failed(self.name, response.status_code, response.headers, said, key=self.key_name, secret=self.secret)

    def _url(self, path: str) -> httpx2.URL:
        found = self._urls.get(path)
        if found is None:
            found = httpx2.URL(self._base + path)
            if len(self._urls) < 64:
                self._urls[path] = found
        return found

    def _always(self, more: Mapping[str, str]) -> httpx2.Headers:
        headers = {name: value for name, value in self._client.default_headers.items() if isinstance(value, str)}
        headers.pop("Authorization", None)
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        return httpx2.Headers({**headers, "Content-Type": JSON, **more})


async def _rest(response: httpx2.Response) -> bytes:
    try:
        return await response.aread()
    finally:
        await response.aclose()


def _name(cause: BaseException) -> FaultName:
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return "connection"
    return "stall" if isinstance(cause, httpx2.TimeoutException | TimeoutError) else "cut"
