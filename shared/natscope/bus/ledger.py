"""The ledger: what was asked under an id is done once, and its outcome is kept and given again."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, Literal, NamedTuple, TypeVar, cast

from nats import errors as nats_errors
from nats.js import errors as js_errors
from nats.js.api import RawStreamMsg

from natscope.bus.beside import BESIDE
from natscope.bus.connection import Bus, refused
from natscope.bus.envelope import Excluded, Headers, digest_of, read
from natscope.bus.inbox import STORE_TIMEOUT_S
from natscope.bus.instance import INSTANCES as INSTANCES
from natscope.bus.instance import Instance as Instance
from natscope.bus.instance import latest as latest
from natscope.contracts.contract import Contract
from natscope.contracts.errors import BusUnavailable, NatscopeError, RequestConflict, RunFenced, Unavailable

log = logging.getLogger(__name__)

AnswerT = TypeVar("AnswerT", bound=Contract)
POLL_S = 0.05
RETRY_S = 0.5

LeftState = Literal["failed", "lost"]
"""How a claim ended without an answer: nothing was done (it may be done again), or nobody knows."""


class _Left(NamedTuple):
    """A claim that nobody here works on any more, or that may never have been accepted."""

    state: LeftState
    digest: str
    sequence: int
    """Of the claim, or of what it was to replace (0: nothing)."""


class Ledger(Generic[AnswerT]):
    """Answers by id, in a KV bucket that all replicas share."""

    def __init__(
        self,
        bus: Bus,
        instance: Instance,
        *,
        bucket: str,
        answer: type[AnswerT],
        patience_s: float = 60.0,
        beside: Callable[[], str] | None = None,
    ) -> None:
        """An answer that cannot be kept is tried again for `patience_s`. One ledger per process and bucket.

        What `beside` returns when an answer is kept is kept with it, in one line; see `natscope.bus.beside`.
        """
        self._bus = bus
        self._instance = instance
        self._bucket = bucket
        self._answer = answer
        self._patience_s = patience_s
        self._beside = beside
        self._left: dict[str, tuple[_Left, asyncio.Task[None]]] = {}
        self._here: dict[str, tuple[str, asyncio.Task[tuple[AnswerT, bool]]]] = {}

    async def once(
        self,
        id: str,
        ask: Contract,
        work: Callable[[], Awaitable[AnswerT]],
        *,
        lost: Callable[[], Awaitable[AnswerT]] | None = None,
        ignoring: Excluded | None = None,
    ) -> tuple[AnswerT, bool]:
        """Return the answer to what is asked under `id`, and whether it was kept from before.

        `work` runs at most once among all replicas, unless it raises: then nothing is kept and the next ask may run it
        again. Its answer is recorded before this returns. If a process died between the beginning of `work` and its
        record, or could not record it, `lost` decides (None: run `work` again); what it returns is recorded as the
        answer. Fields in `ignoring` may differ between asks. A caller that goes away does not stop the work.

        Raises:
            RequestConflict: `id` was used for something else.
            BusUnavailable: the ledger cannot be reached: nothing was begun, or the answer could not be kept.
        """
        digest = digest_of(ask, exclude=ignoring)
        here = self._here.get(id)
        if here is None:
            task = asyncio.create_task(self._settle(id, digest, work, lost))
            self._here[id] = (digest, task)
            task.add_done_callback(lambda _: self._here.pop(id, None))
            return await asyncio.shield(task)
        if here[0] != digest:
            raise _conflict(id)
        answer, _ = await asyncio.shield(here[1])
        return answer, True

    def cancel(self, id: str) -> bool:
        """Stop the work under `id` if it runs in this process; whoever waits for it gets `CancelledError`."""
        here = self._here.get(id)
        return here is not None and here[1].cancel()

    async def _settle(
        self,
        id: str,
        digest: str,
        work: Callable[[], Awaitable[AnswerT]],
        lost: Callable[[], Awaitable[AnswerT]] | None,
    ) -> tuple[AnswerT, bool]:
        doubt = left = await self._stop_leaving(id)
        try:
            while True:
                doubt = left or _Left("failed", digest, 0)
                todo, sequence = work, await self._claim(id, digest, expect=0)
                if sequence is not None:
                    break
                doubt = left
                found = await latest(self._bus, f"KV_{self._bucket}", self._subject(id))
                if found is None:
                    continue
                state, holder = _state(found, digest, id)
                if state == "done":
                    return await self._kept(found), True
                ours = holder == self._instance.id
                if state == "begun" and not ours and await self._instance.lives(holder):
                    await asyncio.sleep(POLL_S)
                    continue
                idle = state == "failed" or (ours and left is not None and left.state == "failed")
                todo = work if idle or lost is None else lost
                doubt = _Left("failed" if idle else "lost", digest, cast("int", found.seq))
                sequence = await self._claim(id, digest, expect=doubt.sequence)
                if sequence is not None:
                    break
                left = None
        except BaseException:
            if doubt is not None:
                self._leave(id, doubt)
            raise
        return await self._carry_out(id, digest, sequence, todo), False

    async def _carry_out(self, id: str, digest: str, sequence: int, todo: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        state: LeftState = "failed"
        try:
            answer = await todo()
            state = "lost"
            await self._keep(id, digest, sequence, answer)
        except BaseException:
            await asyncio.wait([self._leave(id, _Left(state, digest, sequence))], timeout=STORE_TIMEOUT_S)
            raise
        return answer

    async def _keep(self, id: str, digest: str, sequence: int, answer: AnswerT) -> None:
        """Record an answer. It may be paid for: while the ledger cannot be reached, it is tried again."""
        deadline = time.monotonic() + self._patience_s
        while True:
            headers = self._header("done", digest)
            if self._beside is not None and (told := self._beside()):
                headers[BESIDE] = told
            try:
                data = await self._bus.envelope.pack(answer, headers)
                await self._write(id, data, headers, sequence)
                return
            except RunFenced:
                if not await self._is_kept(id):
                    raise
                return
            except (Unavailable, nats_errors.Error, js_errors.Error) as error:
                if time.monotonic() > deadline:
                    raise BusUnavailable(f"the answer under id {id!r} could not be kept: {error}") from error
                log.warning("an answer is not kept yet", extra={"id": id, "reason": repr(error)})
                await asyncio.sleep(RETRY_S)

    async def _is_kept(self, id: str) -> bool:
        """Return whether it was our own record, unacknowledged, that came before."""
        found = await latest(self._bus, f"KV_{self._bucket}", self._subject(id))
        return found is not None and _entry(found)["state"] == "done" and _entry(found)["holder"] == self._instance.id

    def _leave(self, id: str, left: "_Left") -> "asyncio.Task[None]":
        """Say, as soon as it can be said, that no work runs here under `id`: others would wait for it."""
        task = asyncio.create_task(self._leaving(id, left))
        self._left[id] = (left, task)
        task.add_done_callback(lambda _: self._left.pop(id) if self._left.get(id) == (left, task) else None)
        return task

    async def _stop_leaving(self, id: str) -> "_Left | None":
        left, task = self._left.pop(id, (None, None))
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return left

    async def _leaving(self, id: str, left: "_Left") -> None:
        """Write behind what may still be on its way: only then is what is found there the last word."""
        while not self._bus.nc.is_closed:
            try:
                await self._write(id, b"", self._header(left.state, left.digest), left.sequence)
                return
            except RunFenced:
                pass
            except NatscopeError as error:
                log.warning("a claim could not be given up", extra={"id": id, "reason": error.message})
            await asyncio.sleep(POLL_S)
            with contextlib.suppress(BusUnavailable):
                found = await latest(self._bus, f"KV_{self._bucket}", self._subject(id))
                if found is not None and cast("int", found.seq) > left.sequence:
                    if (_entry(found)["state"], _entry(found)["holder"]) != ("begun", self._instance.id):
                        return
                    left = left._replace(digest=_entry(found)["digest"], sequence=cast("int", found.seq))

    async def _claim(self, id: str, digest: str, *, expect: int) -> int | None:
        try:
            return await self._write(id, b"", self._header("begun", digest), expect)
        except RunFenced:
            return None

    async def _write(self, id: str, data: bytes, headers: Headers, expect: int) -> int:
        subject = self._subject(id)
        headers["Nats-Expected-Last-Subject-Sequence"] = str(expect)
        try:
            return (await self._bus.inbox.store(subject, data, headers)).seq
        except js_errors.APIError as error:
            raise refused(error, subject) from error
        except (nats_errors.Error, js_errors.Error) as error:
            raise BusUnavailable(f"the ledger {self._bucket!r} cannot be reached: {error!r}") from error

    async def _kept(self, found: RawStreamMsg) -> AnswerT:
        data = await self._bus.envelope.unpack(found.data or b"", found.headers)
        return read(self._answer, data, where=f"ledger {self._bucket!r}")

    def _header(self, state: str, digest: str) -> Headers:
        return {"Natscope-Ledger": f'{{"state":"{state}","holder":"{self._instance.id}","digest":"{digest}"}}'}

    def _subject(self, id: str) -> str:
        return f"$KV.{self._bucket}.{id}"


def _entry(found: RawStreamMsg) -> dict[str, str]:
    return json.loads((found.headers or {}).get("Natscope-Ledger", '{"state":"failed","holder":"","digest":""}'))


def holder_of(found: RawStreamMsg) -> str | None:
    """Return the process in whose hands a claim is; None if it was answered or given up."""
    entry = _entry(found)
    return entry["holder"] if entry["state"] == "begun" else None


def _state(found: RawStreamMsg, digest: str, id: str) -> tuple[str, str]:
    """Return what is known under `id`, and by whom.

    Raises:
        RequestConflict: it is known of something else.
    """
    entry = _entry(found)
    if entry["digest"] != digest:
        raise _conflict(id)
    return entry["state"], entry["holder"]


def _conflict(id: str) -> RequestConflict:
    return RequestConflict(f"id {id!r} was used for something else", remedy="use a fresh id for a different request")
