"""Guards what the web leads to: names are resolved here, and the address that is checked is the one connected to."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from natscope.addresses import Address

MayReach = Callable[[Address], bool]
"""Decides of an address; see `natscope.addresses.is_public`."""


class NotReached(Exception):
    """A host that must not be reached; its text is the host."""


class GuardedResolver(AbstractResolver):
    """Resolves names for an `aiohttp.TCPConnector`, and refuses them all if one of their addresses must not be reached.

    A redirect to a name is resolved like any other. Addresses in a URL are not resolved: `check_host` is for these.

    Raises:
        NotReached: out of `resolve`, and so out of the request.
    """

    def __init__(self, may_reach: MayReach) -> None:
        self._may_reach = may_reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return where `host` is; see `AbstractResolver`."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        for *_, address in found:
            check_host(str(address[0]), self._may_reach)
        return [
            ResolveResult(hostname=host, host=str(to[0]), port=port, family=kind, proto=proto, flags=0)
            for kind, _, proto, _, to in found
        ]

    async def close(self) -> None:
        """There is nothing to give back."""


def check_host(host: str, may_reach: MayReach) -> None:
    """Return if `host` is an address that may be reached, or a name that is yet to be resolved.

    Raises:
        NotReached: it is an address that must not be.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return
    if not may_reach(address):
        raise NotReached(host)
