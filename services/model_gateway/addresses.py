"""Tells which addresses are on the Internet, for everybody to reach."""

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_OURS = re.compile(r"(^|\.)(localhost|local|internal|intranet|lan|home\.arpa|invalid|test|example|onion)\.?$", re.I)
"""Names that lead nowhere on the Internet. Source: RFC 6761, RFC 6762, RFC 7686, RFC 8375; ICANN on `.internal`."""
_HOST = re.compile(r"https?://(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^:/?#@\[\]]+)", re.I)


def is_public(address: Address) -> bool:
    """Return whether an address is one of the Internet; one of IPv4 within one of IPv6 counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        address = inner or address
    return address.is_global and not address.is_multicast


def may_be_public(url: str) -> bool:
    """Return whether others may reach what lies at `url`, as far as can be told without asking anybody.

    Where it is no address of the web, it is of some provider's own store.
    """
    if not url.lower().startswith(("http:", "https:")):
        return "://" in url
    found = _HOST.match(url)
    if found is None:
        return False
    host = found[1].strip("[]")
    try:
        return is_public(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return "." in host and not host.rstrip(".").rpartition(".")[2].isdigit() and not _OURS.search(host)
