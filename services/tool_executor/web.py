"""Fetches from the web for tools: listed hosts alone, and nothing that is not public, whatever a name resolves to."""

import asyncio
from collections.abc import Sequence

import aiohttp
from yarl import URL

from natscope.addresses import is_public
from natscope.guarded import GuardedResolver, MayReach, NotReached, check_host
from services.tool_executor.reaching import is_listed
from services.tool_executor.tools.fetch_url import Fetched, NotFetched

HOPS = 5
CHUNK = 64 << 10
_REDIRECTS = (301, 302, 303, 307, 308)


class Web:
    """Implements the port `Web` of `fetch_url`: one HTTP client without cookies, keys or a proxy."""

    def __init__(self, hosts: Sequence[str], *, max_bytes: int, may_reach: MayReach = is_public) -> None:
        """`hosts` may be asked for, redirects included. `may_reach` decides of every address that is connected to."""
        self._hosts = tuple(hosts)
        self._max_bytes = max_bytes
        self._may_reach = may_reach
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str, *, within_s: float) -> Fetched:
        """Return what is at `url`; see the port."""
        try:
            async with asyncio.timeout(within_s):
                return await self._follow(URL(url))
        except TimeoutError:
            raise NotFetched(f"no answer within {within_s:g} s") from None
        except NotReached as error:
            raise NotFetched(f"{error} is not public") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotFetched(_reason(error)) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _follow(self, here: URL) -> Fetched:
        for _ in range(HOPS + 1):
            self._check(here)
            async with self._open().get(here, allow_redirects=False) as response:
                if response.status not in _REDIRECTS or "location" not in response.headers:
                    return await self._body(response)
                here = response.url.join(URL(response.headers["location"]))
        raise NotFetched(f"more than {HOPS} redirects")

    def _check(self, url: URL) -> None:
        if url.scheme not in ("http", "https") or not url.host:
            raise NotFetched("it is no address of the web: http or https")
        if url.user is not None or url.password is not None:
            raise NotFetched("an address with a user or password in it is not fetched")
        if not is_listed(url.host, self._hosts):
            raise NotFetched(f"host {url.host!r} is not on the list of those that may be fetched from")
        check_host(url.host, self._may_reach)

    async def _body(self, response: aiohttp.ClientResponse) -> Fetched:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise NotFetched("it is compressed, which was not asked for")
        data = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK):
            data += chunk
            if len(data) > self._max_bytes or (response.content_length or 0) > self._max_bytes:
                raise NotFetched(f"it is over {self._max_bytes} bytes")
        return Fetched(
            url=str(response.url),
            status=response.status,
            media_type=response.content_type,
            charset=response.charset,
            data=bytes(data),
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=GuardedResolver(self._may_reach), use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"accept-encoding": "identity", "user-agent": "natscope"},
                auto_decompress=False,
            )
        return self._session


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "its host cannot be reached"
    return "it is no address of the web" if isinstance(error, ValueError) else type(error).__name__
