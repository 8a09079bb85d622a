"""Fetches media from the web for providers that do not, and reaches nothing that is not public."""

import asyncio
import re

import aiohttp
from yarl import URL

from natscope.addresses import is_public
from natscope.contracts.errors import BodyTooLarge, MediaUnavailable
from natscope.guarded import GuardedResolver, MayReach, NotReached, check_host
from services.model_gateway.copies import Copies, Copy, Fetched

HOPS = 3
CHUNK = 64 << 10
UNCHANGED = 304
_REDIRECTS = (301, 302, 303, 307, 308)


class Web:
    """One HTTP client without cookies, keys, or a proxy."""

    def __init__(self, *, timeout_s: float, may_reach: MayReach | None = None, copies: Copies | None = None) -> None:
        """`timeout_s` is for one file with all its redirects. `may_reach` decides of every address on the way to it.

        Without it, only public addresses are reached. Without `copies` everything is fetched each time.
        """
        self._timeout_s = timeout_s
        self._copies = copies or Copies(0)
        self._may_reach = may_reach or is_public
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str, *, max_bytes: int) -> Fetched:
        """Return what is at `url`: a copy, if its server says that it has not changed or need not be asked yet.

        Raises:
            MediaUnavailable: nothing is, or it must not be looked at; the message says why.
            BodyTooLarge: it is over `max_bytes`; no more than that was read.
        """
        copy = self._copies.of(url)
        if copy is not None and len(copy.found.data) > max_bytes:
            copy = None
        if copy is not None and self._copies.is_fresh(copy):
            return copy.found
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url, max_bytes, copy)
        except TimeoutError:
            raise _unavailable(url, f"no answer within {self._timeout_s:g} s") from None
        except NotReached as error:
            remedy = "use a public address, or set MODEL_GATEWAY_PRIVATE_MEDIA"
            raise _unavailable(url, f"{error} is not public", remedy) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _unavailable(url, _reason(error)) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _follow(self, url: str, max_bytes: int, copy: Copy | None) -> Fetched:
        here = URL(url)
        for hop in range(HOPS + 1):
            self._check(here)
            unless = copy.validators if copy is not None and copy.at == str(here) else {}
            async with self._open().get(here, allow_redirects=False, headers=unless) as response:
                if response.status == UNCHANGED and copy is not None and unless:
                    self._copies.confirm(url, response.headers)
                    return copy.found
                if response.status not in _REDIRECTS:
                    found = await _body(url, response, max_bytes)
                    self._copies.keep(url, found, at=str(here), direct=hop == 0, headers=response.headers)
                    return found
                here = response.url.join(URL(response.headers.get("location", "")))
        raise _unavailable(url, f"more than {HOPS} redirects")

    def _check(self, url: URL) -> None:
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("neither http nor https")
        check_host(url.host, self._may_reach)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=GuardedResolver(self._may_reach)),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"accept-encoding": "identity", "user-agent": "natscope"},
            )
        return self._session


async def _body(url: str, response: aiohttp.ClientResponse, max_bytes: int) -> Fetched:
    if response.status != 200:
        raise _unavailable(url, f"HTTP {response.status}")
    data = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        data += chunk
        if len(data) > max_bytes or (response.content_length or 0) > max_bytes:
            raise BodyTooLarge(
                f"{_shown(url)!r} is over {max_bytes} bytes",
                remedy="send smaller media, or raise MODEL_GATEWAY_MAX_MEDIA_BYTES",
            )
    if not data:
        raise _unavailable(url, "it is empty")
    kind = response.content_type if "content-type" in response.headers else None
    return Fetched(bytes(data), None if kind == "application/octet-stream" else kind)


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "its host cannot be reached"
    return "its address is none of the web" if isinstance(error, ValueError) else type(error).__name__


def _unavailable(
    url: str, reason: str, remedy: str = "check the address, or send the media itself"
) -> MediaUnavailable:
    return MediaUnavailable(f"{_shown(url)!r} cannot be fetched: {reason}", remedy=remedy)


def _shown(url: str) -> str:
    """Return an address without what may be secret in it: user, password, query."""
    plain = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"//[^/]*@", "//", plain)[:200]
