"""The sessions' lists of tasks, in a bucket that all executors share; changed by compare-and-set."""

import time
from collections.abc import Callable
from typing import TypeVar

from nats import errors as nats_errors
from nats.js import errors as js_errors
from pydantic import ValidationError

from natscope.bus import Bus
from natscope.bus.connection import refused
from natscope.bus.envelope import Headers
from natscope.bus.ledger import latest
from natscope.bus.streams import TODO
from natscope.contracts.errors import BusUnavailable, Internal, RunFenced
from services.tool_executor.tools.task_board import Board, TaskRefused

R = TypeVar("R")

ATTEMPTS = 20
LIST_BYTES = 512 << 10


class Lists:
    """Implements `Boards`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def read(self, session: str) -> Board:
        """Return a session's list; see `Boards.read`."""
        return (await self._look(session))[0]

    async def change(self, session: str, change: Callable[[Board], tuple[Board, R]]) -> R:
        """Change a session's list; see `Boards.change`."""
        for _ in range(ATTEMPTS):
            board, sequence = await self._look(session)
            changed, result = change(board)
            if await self._put(session, changed, expect=sequence):
                return result
        raise BusUnavailable(f"the tasks of session {session!r} are changed by too many at once", remedy="ask again")

    async def _look(self, session: str) -> tuple[Board, int]:
        found = await latest(self._bus, f"KV_{TODO}", _subject(session))
        if found is None:
            return Board(changes=int(time.time())), 0
        try:
            return Board.model_validate_json(found.data or b"{}"), found.seq or 0
        except ValidationError as error:
            raise Internal(f"the tasks of session {session!r} cannot be read: {error}") from error

    async def _put(self, session: str, board: Board, *, expect: int) -> bool:
        data = board.model_dump_json().encode()
        if len(data) > LIST_BYTES:
            raise TaskRefused(
                f"the list would have {len(data)} bytes; {LIST_BYTES} are allowed: shorten or delete some"
            )
        headers: Headers = {"Nats-Expected-Last-Subject-Sequence": str(expect)}
        try:
            await self._bus.inbox.store(_subject(session), data, headers)
        except js_errors.APIError as error:
            failure = refused(error, _subject(session))
            if isinstance(failure, RunFenced):
                return False
            raise failure from error
        except (nats_errors.Error, js_errors.Error) as error:
            raise BusUnavailable(f"the lists of tasks cannot be reached: {error!r}") from error
        return True


def _subject(session: str) -> str:
    return f"$KV.{TODO}.{session}"
