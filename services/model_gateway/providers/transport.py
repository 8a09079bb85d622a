"""Carries requests to providers and answers back, over aiohttp, as lean as HTTP gets in Python.

The providers' packages put a second HTTP client on top (httpx2), which costs more CPU than everything else in a call
together. Here one call is one HTTP request: nothing retries, nothing follows a redirect, bodies are bytes.
"""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from services.model_gateway.trying.faults import FaultName

BROKEN = (aiohttp.ClientError, OSError, ValueError)
"""What a request may raise; `fault_of` says what it means. TimeoutError is an OSError."""
CONNECTIONS = 512
"""Open at the same time, per account."""
CONNECT_S = 5.0
IDLE_S = 60.0
"""How long a connection is kept that nobody uses."""
TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For the clients of the providers' packages, which send nothing: reading the machine's certificates takes 50 ms."""


class Transport:
    """Connections to one account, kept for the life of the process. Made on the first use, inside the running loop."""

    def __init__(self, base: URL) -> None:
        """`base` says by which proxy of the environment the account is reached (`HTTPS_PROXY`, `NO_PROXY`, …)."""
        # Looked up once: aiohttp's own `trust_env` reads the environment and ~/.netrc anew for every request.
        self._proxy = None if proxy_bypass(base.host or "") else getproxies().get(base.scheme)
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        content: Any = None,
        silence_s: float,
    ) -> aiohttp.ClientResponse:
        """Send a request and return the open response, whatever its status; the caller closes it.

        Closing breaks the connection off unless the answer was read to its end. `content` is bytes, or a form. After
        `silence_s` without a byte a TimeoutError is raised, here or where the body is read; how long the whole may
        take is for the caller to say.

        Raises:
            one of `BROKEN`: no answer, or the connection was lost.
        """
        limits = aiohttp.ClientTimeout(sock_connect=min(silence_s, CONNECT_S), sock_read=silence_s)
        session = self._session or self._opened()
        return await session.request(
            method, url, headers=headers, data=content, timeout=limits, allow_redirects=False, proxy=self._proxy
        )

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=IDLE_S, ttl_dns_cache=60)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            skip_auto_headers=("User-Agent",),
            read_bufsize=1 << 16,
        )
        return self._session


def fault_of(error: BaseException) -> FaultName:
    """Return what one of `BROKEN` means."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
        return "connection"
    return "stall" if isinstance(error, TimeoutError) else "cut"
