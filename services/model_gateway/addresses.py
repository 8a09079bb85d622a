"""Tells which addresses of media others may reach."""

import ipaddress
import re

from natscope.addresses import is_public

_OURS = re.compile(r"(^|\.)(localhost|local|internal|intranet|lan|home\.arpa|invalid|test|example|onion)\.?$", re.I)
"""Names that lead nowhere on the Internet. Source: RFC 6761, RFC 6762, RFC 7686, RFC 8375; ICANN on `.internal`."""
_HOST = re.compile(r"https?://(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^:/?#@\[\]]+)", re.I)


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
