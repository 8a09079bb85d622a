"""Where sheets are kept: a KV bucket that all gateways share, changed by compare-and-set."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import hashlib
import json
from contextlib import suppress
from typing import NamedTuple, Protocol

from nats import errors as nats_errors
from nats.js import errors as js_errors

from natscope.bus.connection import WRONG_LAST_SEQUENCE, Bus
from natscope.bus.streams import USAGE
from natscope.contracts.errors import BusUnavailable
from natscope.contracts.model import Scope

LISTED = 1000
"""At most this many accounts are listed at once."""
LIST_S = 3.0


class Kept(NamedTuple):
    """A sheet as it is kept, and its revision; 0: it was never written."""

    data: bytes
    revision: int


class Conflict(Exception):
    """Somebody else wrote the sheet meanwhile."""


class Store(Protocol):
    """Keeps sheets."""

    async def read(self, key: str) -> Kept:
        """Return a sheet.

        Raises:
            BusUnavailable: the store does not answer.
        """
        ...

    async def write(self, key: str, data: bytes, *, expect: int) -> int:
        """Write a sheet if its revision is still `expect`, and return the new one.

        Raises:
            Conflict: it is not.
            BusUnavailable: no acknowledgement; it may have been written.
        """
        ...

    async def all(self, scope: Scope) -> list[bytes]:
        """Return the sheets of a scope, at most a thousand.

        Raises:
            BusUnavailable: the store does not answer.
        """
        ...


def key_of(scope: Scope, name: str) -> str:
    """Return the key of an account: its name where that is short and plain, else what stands for it."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "=" for letter in name)
    if plain == name and 0 < len(name) <= 128:
        return f"{scope}.{name}"
    return f"{scope}.{plain[:64]}={hashlib.sha256(name.encode()).hexdigest()[:16]}"


class KvStore:
    """Sheets in the bucket `usage`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def read(self, key: str) -> Kept:
        """Return a sheet; see `Store`."""
        try:
            found = await self._bus.inbox.look(f"KV_{USAGE}", _subject(key))
        except (nats_errors.Error, js_errors.Error) as error:
            raise _away(error) from error
        if found is None:
            return Kept(b"", 0)
        return Kept(found.data or b"", int(found.seq or 0))

    async def write(self, key: str, data: bytes, *, expect: int) -> int:
        """Write a sheet; see `Store`."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expect)}
        try:
            return (await self._bus.inbox.store(_subject(key), data, headers)).seq
        except js_errors.APIError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                raise Conflict from None
            raise _away(error) from error
        except (nats_errors.Error, js_errors.Error) as error:
            raise _away(error) from error

    async def all(self, scope: Scope) -> list[bytes]:
        """Return the sheets of a scope; see `Store`.

        Source: ADR-31, batched direct get with `multi_last`.
        """
        nc = self._bus.nc
        inbox = nc.new_inbox()
        listing = await nc.subscribe(inbox)
        ask = json.dumps({"multi_last": [f"{_subject(scope)}.>"], "batch": LISTED}).encode()
        sheets: list[bytes] = []
        try:
            await nc.publish(f"$JS.API.DIRECT.GET.KV_{USAGE}", ask, reply=inbox)
            async with asyncio.timeout(LIST_S):
                async for reply in listing.messages:
                    if (reply.headers or {}).get("Status") is not None:
                        break
                    if reply.data:
                        sheets.append(reply.data)
        except (TimeoutError, nats_errors.Error) as error:
            raise _away(error) from error
        finally:
            with suppress(nats_errors.Error):
                await listing.unsubscribe()
        return sheets


def _subject(key: str) -> str:
    return f"$KV.{USAGE}.{key}"


def _away(error: Exception) -> BusUnavailable:
    return BusUnavailable(f"the books cannot be reached: {error!r}", remedy="is the server up?")
