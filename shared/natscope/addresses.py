"""Which addresses are on the Internet, for everybody to reach."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_EMBEDDING = tuple(
    ipaddress.IPv6Network(network) for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
"""Addresses of IPv6 whose last 32 bits are one of IPv4. Source: RFC 4291, RFC 6052, RFC 2765."""
_CLOSED = tuple(
    ipaddress.ip_network(network) for network in ("168.63.129.16/32", "64:ff9b:1::/48", "2001::/32", "fec0::/10")
)
"""A cloud's own services at a public address, and ways into networks that are not public."""


def is_public(address: Address) -> bool:
    """Return whether an address is one of the Internet; one of IPv4 within one of IPv6 counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.sixtofour
        if any(address in network for network in _EMBEDDING):
            inner = ipaddress.IPv4Address(address.packed[-4:])
        address = inner or address
    if any(address in network for network in _CLOSED if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast
