"""Which hosts of the web may be reached by name: those that the operator lists."""

from collections.abc import Sequence


def is_listed(host: str, listed: Sequence[str]) -> bool:
    """Return whether a host is on the list: by its name, as one below `*.name`, or because of `*`."""
    name = host.rstrip(".").lower()
    for entry in (entry.rstrip(".").lower() for entry in listed):
        if entry in ("*", name) or (entry.startswith("*.") and name.endswith(entry[1:])):
            return True
    return False
