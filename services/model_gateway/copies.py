"""Keeps copies of what was fetched from the web, for as long as their servers call them unchanged.

A conversation names the same picture at each of its steps. Copies are found by address alone: no request carries
anything of who asks, so everybody would get the same.
Source: RFC 9111 (HTTP Caching), sections 3, 4.2 and 4.3.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

FRESH_S = 3600.0
"""The longest that a server is not asked again, whatever it allows."""
_MAX_AGE = re.compile(r"\bmax-age\s*=\s*\"?(\d{1,10})")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was found at an address."""

    data: bytes
    media_type: str | None
    """As the server says; None if it does not."""


@dataclass(frozen=True, slots=True)
class Copy:
    """What was fetched, and how its server tells whether it is still the same."""

    found: Fetched
    at: str
    """Where it lay in the end, after all redirects."""
    direct: bool
    """Whether it lay where it was looked for; a redirect is asked each time where it leads."""
    validators: Mapping[str, str]
    """The headers that ask for it only if it has changed."""
    fresh_until: float
    """Until then it need not be asked; by the clock of `Copies`."""


class Copies:
    """The copies that were of use last, up to so many bytes."""

    def __init__(self, max_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._size = 0
        self._copies: OrderedDict[str, Copy] = OrderedDict()

    def of(self, url: str) -> Copy | None:
        """Return the copy of what is at `url`."""
        copy = self._copies.get(url)
        if copy is not None:
            self._copies.move_to_end(url)
        return copy

    def is_fresh(self, copy: Copy) -> bool:
        """Return whether its server need not be asked."""
        return self._clock() < copy.fresh_until

    def keep(self, url: str, found: Fetched, *, at: str, direct: bool, headers: Mapping[str, str]) -> None:
        """Keep what was found, if its server lets it be kept and says how to ask for changes."""
        self.forget(url)
        rules = headers.get("cache-control", "").lower()
        named = {"if-none-match": headers.get("etag", ""), "if-modified-since": headers.get("last-modified", "")}
        validators = {name: said for name, said in named.items() if said}
        copy = Copy(found, at, direct, validators, self._until(headers, direct=direct))
        useful = validators or self.is_fresh(copy)
        if "no-store" in rules or headers.get("vary") == "*" or not useful or len(found.data) > self._max_bytes:
            return
        self._copies[url] = copy
        self._size += len(found.data)
        while self._size > self._max_bytes:
            self.forget(next(iter(self._copies)))

    def confirm(self, url: str, headers: Mapping[str, str]) -> None:
        """Take note that the copy is still the same."""
        if (copy := self._copies.get(url)) is not None:
            self._copies[url] = replace(copy, fresh_until=self._until(headers, direct=copy.direct))

    def forget(self, url: str) -> None:
        """Drop a copy, if there is one."""
        copy = self._copies.pop(url, None)
        if copy is not None:
            self._size -= len(copy.found.data)

    def _until(self, headers: Mapping[str, str], *, direct: bool) -> float:
        rules = headers.get("cache-control", "").lower()
        age, most = headers.get("age", ""), _MAX_AGE.search(rules)
        if most is None or "no-cache" in rules or not direct:
            return self._clock()
        return self._clock() + min(FRESH_S, float(most[1]) - (int(age) if age.isascii() and age.isdigit() else 0))
