"""Telling clients what happens: events in order, kept in their stream once, without holding the run up."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.js import errors as js_errors
from nats.js.api import PubAck

from natscope.bus import Bus
from natscope.bus.inbox import acknowledged
from natscope.contracts.errors import BusUnavailable, NatscopeError
from natscope.contracts.event import HAPPENED, ModelReset, TaskEvent, TextDelta, ToolMissing, ToolProgress
from services.agent.registry import Missing

log = logging.getLogger(__name__)

STREAM = HAPPENED.stream or ""
FLUSH_S = 5.0
"""How long an acknowledgement may take; what has none is looked for in the stream."""
PATIENCE_S = 60.0
RETRY_S = 0.25
SILENT_S = 30.0
"""Who has told nothing for so long makes sure that the run is still its own: others may go on with it by now."""
PRINTED = 4_000
"""Characters of a running call's output that are remembered, should it be stopped."""
PAGE = 256
PAGE_BYTES = 4 << 20


@dataclass(frozen=True)
class _Sent:
    """An event on its way into the stream."""

    headers: dict[str, str]
    data: bytes
    answer: asyncio.Future[Msg]


class Teller:
    """The events of one task. Each has an id made of what it tells, under which its stream has it once.

    The server knows the ids of two minutes; whoever takes a run over later than that looks at what was told.
    """

    def __init__(self, bus: Bus, task: str, *, flush_s: float = FLUSH_S, silent_s: float = SILENT_S) -> None:
        self._bus = bus
        self._task = task
        self._subject = HAPPENED.at(task)
        self._flush_s = flush_s
        self._silent_s = silent_s
        self._pending: list[_Sent] = []
        self._told: set[str] = set()
        self._spoke = time.time()
        self._drafted = 0
        self._draft: dict[int, str] = {}
        self._printed: dict[tuple[int, str], str] = {}
        self.kept = 0
        """Up to here in the stream are its events known to stand."""
        self.holds: Callable[[], Awaitable[bool]] | None = None
        """Asks whether the run is still this process's; None: it has not begun."""

    async def look_back(self, *, after: int) -> None:
        """Find out what was told behind sequence `after`; it is not told again.

        Raises:
            BusUnavailable: the stream cannot be read.
        """
        self.kept = after
        self._told |= (await self._found()).keys()

    def has_told(self, what: TaskEvent) -> bool:
        """Return whether an event is known to have been told."""
        return f"{self._task}:{what.id}" in self._told

    async def tell(self, what: TaskEvent) -> None:
        """Publish an event, unless it was told; it is in the stream when `flush` has returned."""
        id = f"{self._task}:{what.id}"
        if id in self._told:
            return
        headers = {"Nats-Msg-Id": id}
        data = await self._bus.envelope.pack(what, headers)
        if id in self._told or not await self._is_ours():
            return
        self._told.add(id)
        self._pending.append(_Sent(headers, data, await self._bus.inbox.post(self._subject, data, headers)))

    async def missing(self, tool: Missing) -> None:
        """Tell that nobody serves a tool."""
        id = f"missing.{tool.name}{'.awaited' if tool.awaited else ''}"
        told = ToolMissing(id=id, task_id=self._task, tool=tool.name, awaited=tool.awaited, nearest=tool.nearest)
        await self.tell(told)

    async def tell_delta(self, what: TaskEvent) -> None:
        """Publish a piece of something that is told whole at its end."""
        self._draw_up(what)
        await self._bus.nc.publish(self._subject, what.__pydantic_serializer__.to_json(what))

    def draft_of(self, step: int) -> str:
        """Return the text of a reply to `step` that is being written, as far as it was told."""
        return "".join(text for _, text in sorted(self._draft.items())) if self._drafted == step else ""

    def printed_by(self, step: int, call: str) -> str:
        """Return the last of what a call of the reply to `step` has printed, as far as it was told."""
        return self._printed.get((step, call), "")

    def _draw_up(self, what: TaskEvent) -> None:
        if isinstance(what, ModelReset) or (isinstance(what, TextDelta) and what.step != self._drafted):
            self._drafted, self._draft = what.step, {}
        if isinstance(what, TextDelta):
            self._draft[what.block] = self._draft.get(what.block, "") + what.delta
        if isinstance(what, ToolProgress) and what.stream in ("stdout", "stderr"):
            here = {place: text for place, text in self._printed.items() if place[0] == what.step}
            place = (what.step, what.call_id)
            self._printed = here | {place: (here.get(place, "") + what.text)[-PRINTED:]}

    async def flush(self) -> None:
        """Return when every event is kept. What was not acknowledged is published again, if the stream has it not.

        Raises:
            BusUnavailable: the stream does not answer for a minute.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        await asyncio.wait([sent.answer for sent in pending], timeout=self._flush_s)
        acks = [(sent, _acknowledged(sent.answer)) for sent in pending]
        last = max((ack.seq for _, ack in acks if ack is not None), default=0)
        if lost := [sent for sent, ack in acks if ack is None]:
            last = max(last, await self._again(lost))
        self.kept = max(self.kept, last)

    async def _again(self, lost: list[_Sent]) -> int:
        """Publish what the stream has not, and return up to where it has all of it."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                found = await self._found()
                for sent in lost:
                    if (id := sent.headers["Nats-Msg-Id"]) not in found:
                        found[id] = (await self._bus.inbox.store(self._subject, sent.data, sent.headers)).seq
                return max(found[sent.headers["Nats-Msg-Id"]] for sent in lost)
            except (nats_errors.Error, js_errors.Error, NatscopeError) as error:
                if time.monotonic() > end:
                    raise BusUnavailable(f"events of {self._task!r} are not kept: {error!r}") from error
                log.warning("events are published again", extra={"task": self._task, "reason": repr(error)})
                await asyncio.sleep(RETRY_S)

    async def _is_ours(self) -> bool:
        """Return whether this process may go on telling; who was stopped for long may have lost the run meanwhile.

        The server could decide it, by a sequence that each event expects of the holder's own subject
        (`Nats-Expected-Last-Subject-Sequence-Subject`), but a replicated stream takes such messages one at a time only:
        of fifty sent without waiting, three replicas of nats-server 2.15 refused 48 (error 10164).
        """
        now = time.time()
        silent_s, self._spoke = now - self._spoke, now
        return self.holds is None or silent_s < self._silent_s or await self.holds()

    async def _found(self) -> dict[str, int]:
        """Return the ids of the events that the stream has behind `kept`, each with where it stands."""
        found: dict[str, int] = {}
        after, left = self.kept, 1
        while left:
            messages, left = await self._page(after)
            for headers in (message.headers or {} for message in messages):
                after = int(headers["Nats-Sequence"])
                if "Nats-Msg-Id" in headers:
                    found[headers["Nats-Msg-Id"]] = after
        return found

    async def _page(self, after: int) -> tuple[list[Msg], int]:
        """Return the next messages behind `after`, and how many come after them.

        Source: ADR-31, https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md
        """
        request = {"seq": after + 1, "next_by_subj": self._subject, "batch": PAGE, "max_bytes": PAGE_BYTES}
        inbox = self._bus.nc.new_inbox()
        subscription = await self._bus.nc.subscribe(inbox)
        found: list[Msg] = []
        try:
            await self._bus.nc.publish(f"$JS.API.DIRECT.GET.{STREAM}", json.dumps(request).encode(), reply=inbox)
            while True:
                message = await subscription.next_msg(timeout=self._flush_s)
                headers = message.headers or {}
                status = headers.get("Status")
                if status is None:
                    found.append(message)
                elif status in ("204", "404"):
                    return found, int(headers.get("Nats-Num-Pending", 0))
                else:
                    raise BusUnavailable(f"stream {STREAM!r} refused a look: {status}")
        except nats_errors.Error as error:
            raise BusUnavailable(f"the events of {self._task!r} cannot be read: {error!r}") from error
        finally:
            await subscription.unsubscribe()


def _acknowledged(answer: "asyncio.Future[Msg]") -> PubAck | None:
    """Return what the stream has answered; None: nothing, or that it has not kept the event."""
    if not answer.done():
        answer.cancel()
        return None
    try:
        return acknowledged(answer.result())
    except js_errors.Error:
        return None
