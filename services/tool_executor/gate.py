"""The way out of cells: connections to hosts that the operator lists, whatever a name resolves to checked first."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence

from natscope.addresses import Address, is_public
from services.tool_executor.reaching import is_listed

MayReach = Callable[[Address], bool]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CONNECT_S = 10.0
TLS_PORT = 443
_TARGET = re.compile(r"(\[(?P<number>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._-]{1,253})):(?P<port>[0-9]{1,5})")


class NotLetOut(Exception):
    """The connection is not made; `status` is that of HTTP."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Gate:
    """Opens connections. Knows nothing of what goes over them: TLS is between the program and the host."""

    def __init__(self, hosts: Sequence[str], *, may_reach: MayReach = is_public) -> None:
        """`hosts`: `host` is its port 443, `host:port` another, `*.example.org` all below it."""
        self._hosts = tuple(_parted(host) for host in hosts)
        self._may_reach = may_reach

    async def open(self, target: str) -> Streams:
        """Return a connection to `target`, which is `host:port`.

        Raises:
            NotLetOut: it is not on the list, not public, or cannot be reached.
        """
        host, port = _split(target)
        if not is_listed(host, [name for name, listed in self._hosts if listed == port]):
            raise NotLetOut(403, f"{host}:{port} is not on the list of hosts that may be reached")
        try:
            async with asyncio.timeout(CONNECT_S):
                return await self._connect(host, port)
        except TimeoutError:
            raise NotLetOut(504, f"{host}:{port} did not answer within {CONNECT_S:g} s") from None
        except OSError as error:
            raise NotLetOut(502, f"{host}:{port} cannot be reached") from error

    async def _connect(self, host: str, port: int) -> Streams:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(at[0]).partition("%")[0] for *_, at in found]
        if not addresses or not all(self._may_reach(ipaddress.ip_address(each)) for each in addresses):
            raise NotLetOut(403, f"{host} is not public")
        last: OSError = OSError("no address")
        for address in addresses:
            try:
                return await asyncio.open_connection(address, port)
            except OSError as error:
                last = error
        raise last


def _parted(host: str) -> tuple[str, int]:
    name, colon, port = host.rpartition(":")
    return (name.strip("[]"), int(port)) if colon and port.isdigit() else (host, TLS_PORT)


def _split(target: str) -> tuple[str, int]:
    found = _TARGET.fullmatch(target)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise NotLetOut(400, "a target is `host:port`")
    return found["name"] or found["number"], int(found["port"])
