"""The web, opened when something is first fetched: an HTTP client takes 0.2 s and 15 MB to load."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from services.tool_executor.settings import Settings
from services.tool_executor.tools.fetch_url import Fetched, fetch_url
from services.tool_executor.tools.toolbox import AnyTool

if TYPE_CHECKING:
    from services.tool_executor.web import Web


@asynccontextmanager
async def fetching(settings: Settings) -> AsyncGenerator[list[AnyTool]]:
    """Give the tools that reach the web, for as long as the body runs: none, unless the operator lists hosts."""
    web = LateWeb(settings.fetch_hosts, max_bytes=settings.fetch_bytes, private=settings.fetch_private)
    try:
        yield [fetch_url(web)] if settings.fetch_hosts else []
    finally:
        await web.close()


class LateWeb:
    """See `web.Web`."""

    def __init__(self, hosts: Sequence[str], *, max_bytes: int, private: bool) -> None:
        """`private` lets it reach listed hosts that are not public."""
        self._hosts = hosts
        self._max_bytes = max_bytes
        self._private = private
        self._web: Web | None = None

    async def fetch(self, url: str, *, within_s: float) -> Fetched:
        """Return what is at `url`; see `fetch_url.Web`."""
        if self._web is None:
            from natscope.addresses import is_public
            from services.tool_executor.web import Web

            may_reach = _anything if self._private else is_public
            self._web = Web(self._hosts, max_bytes=self._max_bytes, may_reach=may_reach)
        return await self._web.fetch(url, within_s=within_s)

    async def close(self) -> None:
        """Close the connections."""
        if self._web is not None:
            await self._web.close()


def _anything(_: object) -> bool:
    return True
