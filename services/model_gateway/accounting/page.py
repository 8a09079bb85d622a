"""One account as this process sees it: all that wait for it are served by one compare-and-set write at a time."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from natscope.contracts.errors import BusUnavailable
from natscope.contracts.model import Scope
from services.model_gateway.accounting.drafts import Asking, Draft, Entry, returned
from services.model_gateway.accounting.fitting import Grant, Need, Wall, fit, grow, take
from services.model_gateway.accounting.office import Office
from services.model_gateway.accounting.refusals import refusal
from services.model_gateway.accounting.rules import Holding
from services.model_gateway.accounting.sheet import NOTHING, Held, Sheet, Used
from services.model_gateway.accounting.spares import AHEAD_S, FEW, LATE_S, Spares
from services.model_gateway.accounting.store import Conflict, Kept, key_of

log = logging.getLogger(__name__)

JITTER_S = 0.004
"""After the first conflict; twice as much after each further one, up to 64 ms."""
POLL_S = 0.05
"""How soon to look whether another process made room; twice as much each further time, up to 0.4 s."""
SOON_S = 0.005
"""A settled call is written together with the next one that comes this soon."""
AWAY_S = 0.5
"""Between tries to write what was used while the store is away."""


class Page:
    """One account."""

    def __init__(
        self, office: Office, scope: Scope, name: str, holding: Callable[[], Holding], *, ahead_s: float = AHEAD_S
    ) -> None:
        self.scope: Scope = scope
        self.name = name
        self.holding = holding
        self._office = office
        self.key = key_of(scope, name)
        self._asking: list[Asking] = []
        self._entries: list[Entry] = []
        self._held = NOTHING
        self._writes = 0
        self._kept: Kept | None = None
        self._unsure: Draft | None = None
        self._worker: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._spares = Spares(ahead_s)
        self._resting: asyncio.TimerHandle | None = None
        self._counted = Used()
        self._written = Used()
        self._is_new = True

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held, waited for or still to be written."""
        return self._worker is None and not self._entries and not self._asking and self._held == NOTHING

    def reserve(self, need: Callable[[], Need], *, budget_s: float, busy_s: float) -> "asyncio.Future[Grant]":
        """Return what will be granted, or the refusal; cancel it to want it no more.

        `need` is asked each time: while somebody waits, others may teach what calls really take.
        It waits for at most `budget_s` if only reservations that may come back are in the way, and for `busy_s` if only
        running calls are.
        """
        loop = asyncio.get_running_loop()
        answer, now = loop.create_future(), loop.time()
        spare = self._spares.ask(need(), now)
        if spare is not None:
            answer.set_result(spare)
            return answer
        self._asking.append(Asking(need, answer, now + budget_s, now + busy_s))
        self.begin()
        return answer

    def note(self, entry: Entry, *, soon: bool) -> None:
        """Write something down: at once if somebody waits for room, else `soon`, or when `begin` is called."""
        self._entries.append(entry)
        if entry.used is not None:
            self._counted.add(entry.used)
        if self._asking:
            self.begin()
        elif soon and self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(LATE_S if self._spares else SOON_S, self.begin)

    def begin(self) -> None:
        """Write what there is to write."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._news.set()
        if self._worker is None and (self._asking or self._entries):
            self._worker = asyncio.create_task(self._work())
            self._worker.add_done_callback(self._ended)

    def unwritten(self) -> list[int] | None:
        """Return all that was noted as used here so far, as a row, if some of it is not written yet."""
        return self._counted.row() if any(entry.used is not None for entry in self._entries) else None

    async def written(self) -> None:
        """Return when what was noted is written, or the store turns out to be away."""
        while True:
            self._give_back(self._spares.end())
            self.begin()
            if not self._entries or self._worker is None or self._office.is_away:
                return
            await asyncio.wait({self._worker}, timeout=0.01)

    async def stop(self) -> None:
        """Give up what is not done."""
        for timer in (self._alarm, self._resting):
            if timer is not None:
                timer.cancel()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def _ended(self, worker: "asyncio.Task[None]") -> None:
        self._worker = None
        if worker.cancelled():
            return
        if (error := worker.exception()) is None:
            self.begin()
            return
        log.error("a page of the books failed", extra={"scope": self.scope}, exc_info=error)
        asking, self._asking = self._asking, []
        for each in asking:
            if not each.answer.done():
                each.answer.set_exception(error)

    async def _work(self) -> None:
        conflicts = polls = 0
        while self._asking or self._entries:
            self._news.clear()
            try:
                polls = 0 if await self._pass() else polls + 1
            except Conflict:
                conflicts, self._kept = conflicts + 1, None
                await asyncio.sleep(random.uniform(0, JITTER_S * 2 ** min(conflicts, 4)))  # noqa: S311 - no secret
                continue
            except BusUnavailable as error:
                self._kept = None
                self._refuse_all(error)
                await self._pause(AWAY_S)
                continue
            conflicts = 0
            if self._asking and not self._entries:
                await self._wait(polls)

    async def _pass(self) -> bool:
        """Serve everybody who waits as far as there is room, and return whether anything was written.

        Nobody is refused by a sheet that may be stale, or for the sake of a process that is dead.

        Raises:
            Conflict: another process wrote meanwhile; nothing was done.
            BusUnavailable: the store is away.
        """
        holding = self.holding()
        draft, walls, kept, sheet = None, [], None, None
        for look in (self._kept is None, True):
            kept = await self._look() if look or self._kept is None else self._kept
            sheet = Sheet.read(kept.data, name=self.name)
            if look and self._asking:
                await self._office.strike_dead(sheet, self.key)
            draft, walls = self._served(sheet, holding)
            if look or not walls:
                break
        if draft is None or sheet is None or kept is None:
            return False
        if draft.entries or draft.granted:
            await self._write(draft, sheet, kept.revision)
        self._refuse(walls)
        return bool(draft.entries or draft.granted)

    async def _look(self) -> Kept:
        kept = self._kept = await self._office.store.read(self.key)
        self._office.is_back()
        mine = Sheet.read(kept.data, name=self.name).held.get(self._office.me) or Held(0, 0.0, NOTHING)
        if self._is_new:
            self._is_new, self._written = False, mine.counted
            self._counted.add(mine.counted)
        self._writes = max(self._writes, mine.write)
        unsure, self._unsure = self._unsure, None
        if unsure is not None and mine.write == unsure.number:
            self._done(unsure)
        return kept

    def _write_down(self, sheet: Sheet, holding: Holding) -> Held:
        """Write down everything that has happened, and return what this process holds then."""
        now = self._office.now()
        grow(sheet, holding, now)
        mine = sheet.held.get(self._office.me)
        sheet.count(self._counted.beyond(mine.counted if mine else self._written))
        held = self._held - returned(self._entries, sheet, holding)
        sheet.held[self._office.me] = Held(self._writes + 1, now, held, replace(self._counted))
        return sheet.held[self._office.me]

    def _served(self, sheet: Sheet, holding: Holding) -> tuple[Draft, list[tuple[Asking, Wall]]]:
        """Write on the sheet what has happened, and serve who waits; in one go, so that nothing happens in between."""
        if self._asking:
            self._give_back(self._spares.drop())
        mine = self._write_down(sheet, holding)
        draft = Draft(mine.write, list(self._entries), counted=mine.counted)
        walls: list[tuple[Asking, Wall]] = []
        known: dict[Need, Wall] = {}
        for asking in self._asking:
            if asking.answer.done():
                continue
            need = asking.need()
            found = known.get(need) or fit(sheet, holding, need)
            if isinstance(found, Wall):
                known[need] = found
                walls.append((asking, found))
                continue
            mine.amount += found.amount
            take(sheet, holding, found)
            draft.granted.append((asking, found))
        if not walls and len(draft.granted) <= FEW:
            draft.spares = self._spares.ahead(sheet, mine, holding, asyncio.get_running_loop().time())
        draft.held = mine.amount
        return draft, walls

    async def _write(self, draft: Draft, sheet: Sheet, revision: int) -> None:
        sheet.forget(self._office.now())
        data = sheet.write()
        try:
            self._kept = Kept(data, await self._office.store.write(self.key, data, expect=revision))
        except BusUnavailable:
            self._unsure = draft
            raise
        self._done(draft)

    def _done(self, draft: Draft) -> None:
        """Tell everybody what was written for them; what nobody waits for any more is given back."""
        self._writes, self._held, self._written = draft.number, draft.held, draft.counted
        del self._entries[: len(draft.entries)]
        for asking, grant in draft.granted:
            if asking.answer.done():
                self._entries.append(Entry(returned=grant))
            else:
                asking.answer.set_result(grant)
        self._asking = [asking for asking in self._asking if not asking.answer.done()]
        self._spares.keep(draft.spares)
        if self._spares and self._resting is None:
            self._resting = asyncio.get_running_loop().call_later(self._spares.kept_s, self._rest)

    def _rest(self) -> None:
        """Give back what is held ahead, unless calls still come."""
        self._resting, loop = None, asyncio.get_running_loop()
        if not self._spares.is_over(loop.time()):
            self._resting = loop.call_later(self._spares.kept_s, self._rest)
        elif self._spares:
            self._give_back(self._spares.end())
            self.begin()

    def _give_back(self, spares: list[Grant]) -> None:
        self._entries += [Entry(returned=grant) for grant in spares]

    def _refuse(self, walls: list[tuple[Asking, Wall]]) -> None:
        now = asyncio.get_running_loop().time()
        for asking, wall in walls:
            if asking.until(wall) <= now and not asking.answer.done():
                asking.answer.set_exception(refusal(self.scope, self.name, wall))
        self._asking = [asking for asking in self._asking if not asking.answer.done()]

    def _refuse_all(self, error: BusUnavailable) -> None:
        """Let nobody wait for a store that is away: budgets refuse, limits alone let everything pass."""
        self._office.is_gone(error)
        asking, self._asking = self._asking, []
        for each in asking:
            if each.answer.done():
                continue
            if self.holding().budgets:
                each.answer.set_exception(error)
            else:
                each.answer.set_result(Grant(NOTHING, each.need().output_tokens))

    async def _wait(self, polls: int) -> None:
        loop = asyncio.get_running_loop()
        soonest = min(min(each.budget_until, each.busy_until) for each in self._asking)
        pause = POLL_S * 2 ** min(polls, 3) * random.uniform(0.7, 1.0)  # noqa: S311 - no secret
        if soonest > loop.time():
            pause = min(pause, soonest - loop.time() + 0.001)
        if not await self._pause(pause):
            self._kept = None

    async def _pause(self, seconds: float) -> bool:
        """Wait for news, and return whether there are some."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
                return True
        return False
