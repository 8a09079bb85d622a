"""Keeps what is out, and until when, in the bucket that all replicas share."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal, Protocol, cast

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.js import errors as js_errors
from pydantic import BaseModel, ConfigDict, ValidationError

from natscope.bus import Bus
from natscope.bus.connection import WRONG_LAST_SEQUENCE
from natscope.bus.streams import BREAKERS
from services.model_gateway.trying.faults import FaultName

log = logging.getLogger(__name__)

_SUBJECT = f"$KV.{BREAKERS}."


State = Literal["resting", "open", "probing", "closed"]
"""`resting`: asked again after `until` · `open`: after `until` one call tries it · `probing`: that call is under way,
and is given up for lost after `until` · `closed`: not out."""


class Out(BaseModel):
    """Why a key, or one model under it, is not to be asked, and until when."""

    model_config = ConfigDict(frozen=True)

    state: State
    reason: FaultName
    until: float
    """Seconds since 1970."""
    times: int = 1
    """How often in a row it did not work."""
    provider: str
    """By its name in the models file."""
    key: str | None
    """What the variable is called that holds the key."""


Found = tuple[Out | None, int]
"""What is known under an id, and its revision (0: there never was anything)."""


class Outs(Protocol):
    """What is out, shared by all replicas."""

    async def read(self, id: str) -> Found:
        """Return what is known now.

        Raises:
            ConnectionError: it cannot be reached.
        """
        ...

    async def write(self, id: str, out: Out, *, expect: int) -> int | None:
        """Put `out` in the place of revision `expect`; return its own, or None if somebody else was faster.

        Raises:
            ConnectionError: it cannot be reached.
        """
        ...


class KeptOuts:
    """The bucket `breakers`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def read(self, id: str) -> Found:
        """Return what is known now; see `Outs`."""
        try:
            found = await self._bus.inbox.look(f"KV_{BREAKERS}", _SUBJECT + id)
        except (nats_errors.Error, js_errors.Error) as error:
            raise ConnectionError(repr(error)) from error
        if found is None:
            return None, 0
        return _read(found.data or b""), cast("int", found.seq)

    async def write(self, id: str, out: Out, *, expect: int) -> int | None:
        """Put `out` in the place of revision `expect`; see `Outs`."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expect)}
        try:
            return (await self._bus.inbox.store(_SUBJECT + id, out.model_dump_json().encode(), headers)).seq
        except js_errors.APIError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                return None
            raise ConnectionError(repr(error)) from error
        except (nats_errors.Error, js_errors.Error) as error:
            raise ConnectionError(repr(error)) from error

    @asynccontextmanager
    async def watched(self, changed: Callable[[str, Out | None], Awaitable[None]]) -> AsyncGenerator[None]:
        """Call `changed` with whatever is written while the body runs, by anybody, whether it was kept or not."""

        async def heard(message: Msg) -> None:
            await changed(message.subject.removeprefix(_SUBJECT), _read(message.data))

        subscription = await self._bus.nc.subscribe(f"{_SUBJECT}>", cb=heard)
        try:
            yield
        finally:
            with suppress(nats_errors.Error):
                await subscription.unsubscribe()


def _read(data: bytes) -> Out | None:
    """Return what was written; what a later version wrote, or a person deleted, counts as nothing."""
    try:
        return Out.model_validate_json(data)
    except ValidationError:
        return None
