"""The ledger: what was asked under an id is done once, and its outcome is kept and given again."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, cast

from nats import errors as nats_errors
from nats.js import errors as js_errors
from nats.js.api import RawStreamMsg

from natscope.bus.connection import Bus, refused
from natscope.bus.envelope import Headers, digest_of, read
from natscope.contracts.contract import Contract
from natscope.contracts.errors import BusUnavailable, NatscopeError, RequestConflict, RunFenced

log = logging.getLogger(__name__)

AnswerT = TypeVar("AnswerT", bound=Contract)
INSTANCES = "instances"
"""Bucket of processes that are alive; a key is gone ten seconds after its last beat."""
BEAT_S = 3.0
POLL_S = 0.05


class Instance:
    """This process's sign of life, by which others tell whether what it began may still end."""

    def __init__(self, bus: Bus) -> None:
        self.id = bus.telemetry.instance
        self._bus = bus
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Give the first sign before returning, then one every three seconds."""
        await self._beat()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Give no more signs, and take the last one back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._bus.js.publish(self._subject(self.id), b"", headers={"KV-Operation": "DEL"})
        except (nats_errors.Error, js_errors.Error):
            log.debug("the sign of life was not taken back")

    async def lives(self, instance: str) -> bool:
        """Return whether the process `instance` gave a sign within the last ten seconds."""
        if instance == self.id:
            return True
        found = await latest(self._bus, f"KV_{INSTANCES}", self._subject(instance))
        return found is not None and (found.headers or {}).get("KV-Operation") is None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._beat()
            except (nats_errors.Error, js_errors.Error):
                log.warning("no sign of life could be given")

    async def _beat(self) -> None:
        await self._bus.js.publish(self._subject(self.id), self._bus.telemetry.service.encode())

    @staticmethod
    def _subject(instance: str) -> str:
        return f"$KV.{INSTANCES}.{instance}"


class Ledger(Generic[AnswerT]):
    """Answers by id, in a KV bucket that all replicas share."""

    def __init__(self, bus: Bus, instance: Instance, *, bucket: str, answer: type[AnswerT]) -> None:
        self._bus = bus
        self._instance = instance
        self._bucket = bucket
        self._answer = answer
        self._here: dict[str, tuple[str, asyncio.Task[tuple[AnswerT, bool]]]] = {}

    async def once(
        self,
        id: str,
        ask: Contract,
        work: Callable[[], Awaitable[AnswerT]],
        *,
        lost: Callable[[], Awaitable[AnswerT]] | None = None,
        ignoring: set[str] | None = None,
    ) -> tuple[AnswerT, bool]:
        """Return the answer to what is asked under `id`, and whether it was kept from before.

        `work` runs at most once among all replicas, unless it raises: then nothing is kept and the next ask may run it
        again. Its answer is recorded before this returns. If a process died between the beginning of `work` and its
        record, `lost` decides (None: run `work` again); what it returns is recorded as the answer. Fields in
        `ignoring` may differ between asks. A caller that goes away does not stop the work.

        Raises:
            RequestConflict: `id` was used for something else.
            BusUnavailable: the ledger cannot be reached; nothing was begun.
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
        while True:
            sequence = await self._claim(id, digest, expect=0)
            if sequence is not None:
                return await self._carry_out(id, digest, sequence, work), False
            found = await latest(self._bus, f"KV_{self._bucket}", self._subject(id))
            if found is None:
                continue
            state = _state(found)
            if state["digest"] != digest:
                raise _conflict(id)
            if state["state"] == "done":
                return await self._kept(found), True
            if state["state"] == "begun" and await self._instance.lives(state["holder"]):
                await asyncio.sleep(POLL_S)
                continue
            sequence = await self._claim(id, digest, expect=cast("int", found.seq))
            if sequence is not None:
                again = state["state"] == "failed" or lost is None
                return await self._carry_out(id, digest, sequence, work if again else cast("Any", lost)), False

    async def _carry_out(self, id: str, digest: str, sequence: int, work: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        try:
            answer = await work()
        except BaseException:
            await asyncio.shield(self._give_up(id, digest, sequence))
            raise
        headers = self._header("done", digest)
        data = await self._bus.envelope.pack(answer, headers)
        await self._write(id, data, headers, sequence)
        return answer

    async def _give_up(self, id: str, digest: str, sequence: int) -> None:
        """Let the next ask begin anew at once; unsaid, it has to wait until this process is known to be dead."""
        try:
            await self._write(id, b"", self._header("failed", digest), sequence)
        except NatscopeError as error:
            log.warning("a claim could not be given up", extra={"id": id, "reason": error.message})

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


def _state(found: RawStreamMsg) -> dict[str, str]:
    return json.loads((found.headers or {}).get("Natscope-Ledger", '{"state":"failed","holder":"","digest":""}'))


def _conflict(id: str) -> RequestConflict:
    return RequestConflict(f"id {id!r} was used for something else", remedy="use a fresh id for a different request")


async def latest(bus: Bus, stream: str, subject: str) -> RawStreamMsg | None:
    """Return the last message on `subject` that `stream` keeps, or None.

    Raises:
        BusUnavailable: the stream does not answer.
    """
    try:
        return await bus.inbox.look(stream, subject)
    except (nats_errors.Error, js_errors.Error) as error:
        raise BusUnavailable(f"stream {stream!r} does not answer: {error!r}") from error
