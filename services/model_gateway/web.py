"""The web, opened when something is first fetched: an HTTP client takes 0.2 s and 15 MB to load."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.model_gateway.copies import Fetched
    from services.model_gateway.fetching import Web


class LateWeb:
    """See `fetching.Web`."""

    def __init__(self, *, timeout_s: float, private: bool, kept_bytes: int) -> None:
        """`private` lets it reach hosts that are not public; of copies up to `kept_bytes` are kept."""
        self._timeout_s = timeout_s
        self._private = private
        self._kept_bytes = kept_bytes
        self._web: Web | None = None

    async def fetch(self, url: str, *, max_bytes: int) -> "Fetched":
        """Return what is at `url`; see `fetching.Web.fetch`."""
        if self._web is None:
            from services.model_gateway.copies import Copies
            from services.model_gateway.fetching import Web

            may_reach = _anything if self._private else None
            self._web = Web(timeout_s=self._timeout_s, may_reach=may_reach, copies=Copies(self._kept_bytes))
        return await self._web.fetch(url, max_bytes=max_bytes)

    async def close(self) -> None:
        """Close the connections."""
        if self._web is not None:
            await self._web.close()


def _anything(_: object) -> bool:
    return True
