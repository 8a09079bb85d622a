"""The web, opened when something is first fetched: an HTTP client takes 0.2 s and 15 MB to load."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.model_gateway.fetching import Fetched, Web


class LateWeb:
    """See `fetching.Web`."""

    def __init__(self, *, timeout_s: float, private: bool) -> None:
        """`private` lets it reach hosts that are not public."""
        self._timeout_s = timeout_s
        self._private = private
        self._web: Web | None = None

    async def fetch(self, url: str, *, max_bytes: int) -> "Fetched":
        """Return what is at `url`; see `fetching.Web.fetch`."""
        if self._web is None:
            from services.model_gateway.fetching import Web

            self._web = Web(timeout_s=self._timeout_s, may_reach=_anything if self._private else None)
        return await self._web.fetch(url, max_bytes=max_bytes)

    async def close(self) -> None:
        """Close the connections."""
        if self._web is not None:
            await self._web.close()


def _anything(_: object) -> bool:
    return True
