"""What is out, as this replica knows it: read at once, and written where all replicas see it.

A change holds here at once; it is shared behind the caller's back, one write at a time for each id. Whatever cannot be
read or written there holds for this replica alone.
"""

import asyncio
import logging

from services.model_gateway.trying.outs import Found, Out, Outs

log = logging.getLogger(__name__)

_NEVER: Found = (None, 0)
_ECHO_S = 0.05
"""A write is heard of up to so much before it can be read."""


class Board:
    """This replica's view of what is out."""

    def __init__(self, outs: Outs | None, *, patience_s: float) -> None:
        """Without `outs` nothing is shared. `patience_s` bounds each look at what is."""
        self._outs = outs
        self._patience_s = patience_s
        self._known: dict[str, Found] = {}
        self._looking: dict[str, asyncio.Task[bool]] = {}
        self._unshared: dict[str, Out] = {}
        self._sharing: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    async def first_look(self, id: str) -> Out | None:
        """Return what is known under `id`; whoever is first to ask looks what the other replicas know."""
        if id not in self._known:
            looking = self._looking.get(id)
            if looking is None:
                looking = self._looking[id] = asyncio.create_task(self._look(id))
                looking.add_done_callback(lambda _: self._looking.pop(id, None))
            await asyncio.shield(looking)
        return self.at(id)

    def at(self, id: str) -> Out | None:
        """Return what is out under `id`, as far as it is known."""
        out, _ = self._known.get(id, _NEVER)
        return None if out is None or out.state == "closed" else out

    def put(self, id: str, out: Out) -> None:
        """Let `out` hold here at once, and everywhere as soon as it is written."""
        _, revision = self._known.get(id, _NEVER)
        self._take(id, (out, revision))
        if self._outs is not None:
            self._unshared[id] = out
            if id not in self._sharing:
                self._sharing[id] = asyncio.create_task(self._share(id))

    def claim(self, id: str, out: Out) -> asyncio.Task[bool]:
        """Let `out` hold if it is the first to follow on what is known; tell whether it was, among all replicas."""
        before = self._known.get(id, _NEVER)
        self._known[id] = (out, before[1])
        return asyncio.create_task(self._claim(id, out, before))

    async def _claim(self, id: str, out: Out, before: Found) -> bool:
        won = await self._write(id, out, before[1])
        if not won and self._known[id][0] is out:
            self._known[id] = before
        return won

    async def heard(self, id: str, out: Out | None) -> None:
        """Look whether what a replica wrote is what is kept now; its own writes each hears too."""
        if id not in self._known or out == self._known[id][0]:
            return
        for pause_s in (0.0, _ECHO_S):
            await asyncio.sleep(pause_s)
            if id in self._sharing or await self._look(id):
                return

    async def wait(self, timeout_s: float) -> None:
        """Return when something changes, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def close(self) -> None:
        """Return when all is shared that can be."""
        await asyncio.gather(*self._sharing.values(), return_exceptions=True)

    async def _share(self, id: str) -> None:
        try:
            while (out := self._unshared.pop(id, None)) is not None:
                _, revision = self._known[id]
                if await self._write(id, out, revision) or id in self._unshared or out.state == "closed":
                    continue
                theirs, revision = self._known[id]
                if theirs is None or theirs.until < out.until:
                    self._take(id, (out, revision))
                    await self._write(id, out, revision)
        finally:
            del self._sharing[id]

    async def _look(self, id: str) -> bool:
        """Take over what is kept if it is newer than what is known; return False if there may be more to come."""
        if self._outs is None:
            self._known.setdefault(id, _NEVER)
            return True
        try:
            async with asyncio.timeout(self._patience_s):
                found = await self._outs.read(id)
        except (ConnectionError, TimeoutError) as error:
            log.warning("what is out is not shared now", extra={"reason": repr(error)})
            self._known.setdefault(id, _NEVER)
            return True
        if id in self._known and found[1] <= self._known[id][1]:
            return False
        self._take(id, found)
        return True

    async def _write(self, id: str, out: Out, revision: int) -> bool:
        """Return whether `out` holds now; if another replica wrote before, what it wrote is taken over instead."""
        if self._outs is None:
            return True
        try:
            async with asyncio.timeout(self._patience_s):
                written = await self._outs.write(id, out, expect=revision)
        except (ConnectionError, TimeoutError) as error:
            log.warning("what is out is not shared now", extra={"reason": repr(error)})
            return True
        if written is None:
            await self._look(id)
            return False
        now, before = self._known[id]
        if before < written:
            self._known[id] = (now, written)
        return True

    def _take(self, id: str, found: Found) -> None:
        self._known[id] = found
        self._changed.set()
        self._changed = asyncio.Event()
