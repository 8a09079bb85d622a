"""Which agents and tools there are: the bucket and the hosts say so, nobody keeps a list by hand."""

import asyncio
import difflib
import fnmatch
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass

from nats import errors as nats_errors
from nats.aio.msg import Msg

from natscope.bus import Bus
from natscope.bus.envelope import read
from natscope.bus.ledger import latest
from natscope.bus.streams import AGENTS
from natscope.contracts import model, tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.errors import AgentNotFound, NatscopeError
from natscope.contracts.tool import ToolSpec
from services.agent.own import ASK_USER
from services.agent.tool_record import ToolRecord

log = logging.getLogger(__name__)

FRESH_S = 10.0
WINDOWS_S = 60.0
LISTED_S = 0.5
GATHER_S = 0.25
RESTART_S = 30.0
"""How long a run that begins waits for the host of a tool that was served before, or is the house's."""
YOUNG_S = 60.0
"""So long after its own start a service in a house as young waits for hosts of any tool: they may start with it."""
RECENT_S = 1.0
"""Hosts that were asked less long ago are not asked again for a tool that nobody is waited for with."""
SILENT_S = 60.0
"""So long are the tools of a host that has fallen silent still offered, and tools that did not come not waited for."""
PREFIX = f"$KV.{AGENTS}."


class Agents:
    """Agent specs by name. A change in the bucket is heard at once; a missed one counts for ten seconds at most."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._specs: dict[str, tuple[float, AgentSpec]] = {}

    async def start(self) -> None:
        """Listen for changes."""
        await self._bus.nc.subscribe(f"{PREFIX}*", cb=self._changed)

    async def get(self, name: str) -> AgentSpec:
        """Return the agent's spec.

        Raises:
            AgentNotFound: no such agent is applied.
        """
        kept = self._specs.get(name)
        if kept is not None and time.monotonic() - kept[0] < FRESH_S:
            return kept[1]
        found = await latest(self._bus, f"KV_{AGENTS}", PREFIX + name)
        if found is None or (found.headers or {}).get("KV-Operation"):
            self._specs.pop(name, None)
            raise AgentNotFound(f"there is no agent {name!r}", remedy="see `natscope agents`, or `natscope apply` it")
        spec = read(AgentSpec, found.data or b"", where=f"agent {name!r}")
        self._specs[name] = (time.monotonic(), spec)
        return spec

    async def _changed(self, message: Msg) -> None:
        self._specs.pop(message.subject.removeprefix(PREFIX), None)


class Models:
    """How much the models take in, as the gateway tells it; asked for in the background, and again every minute."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._windows: dict[str, int | None] = {}
        self._asked = -WINDOWS_S
        self._asking: asyncio.Task[None] | None = None

    async def windows(self) -> dict[str, int | None]:
        """Return the tokens of each alias's window; empty for as long as no gateway has answered."""
        if time.monotonic() - self._asked > WINDOWS_S:
            self._asking = self._asking or asyncio.create_task(self._gather(), context=Context())
            if not self._windows:
                await asyncio.shield(self._asking)
        return self._windows

    async def _gather(self) -> None:
        try:
            listed = await self._bus.ask(model.LIST, model.List(), deadline_s=LISTED_S)
            self._windows = {each.alias: each.context_size for each in listed.models}
            self._asked = time.monotonic()
        except NatscopeError as error:
            log.debug("the models could not be asked for", extra={"reason": error.message})
            self._asked = time.monotonic() - WINDOWS_S + FRESH_S
        except (nats_errors.ConnectionClosedError, nats_errors.ConnectionDrainingError):
            log.debug("the models are not asked for while this service ends")
        finally:
            self._asking = None


@dataclass(frozen=True)
class Missing:
    """A tool that a run wants and nobody serves."""

    name: str
    awaited: bool
    """Whether the run waits for its host; otherwise it begins without the tool."""
    nearest: str | None
    """What is served under a name like it."""


async def _nobody_else(missing: Missing) -> None:
    """Tell nobody but the log."""


class Tools:
    """Tool specs by name, as the hosts that answer now tell them.

    A host that falls silent without saying that it goes was killed, and is soon back: a run that begins in between is
    offered its tools, and calls of them wait for it. A tool that was never heard of is more likely a wrong name.
    """

    def __init__(self, bus: Bus, *, young_s: float = YOUNG_S, new_s: float = YOUNG_S) -> None:
        self._bus = bus
        self._record = ToolRecord(bus, new_s=new_s)
        self._noting: asyncio.Task[None] | None = None
        self._specs: dict[str, ToolSpec] = {}
        self._heard: dict[str, tuple[float, tool.Listed]] = {}
        """By instance: when a host has answered last, and what."""
        self._changing: set[str] = set()
        """Instances that said that they have changed since they were asked last."""
        self._given_up: dict[str, float] = {}
        """Until when a tool that did not come is not waited for."""
        self._served: set[str] = set()
        """Names that were served, and whose host has not been waited for in vain since."""
        self._in_vain: set[str] = set()
        """Names that were waited for in vain, and not served since."""
        self._new_house = True
        self._young_until = time.monotonic() + young_s
        self._executor_answers = False
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen for hosts that begin or cease to serve tools."""
        await self._bus.nc.subscribe(tool.CHANGED.wildcard, cb=self._changed)

    async def get(
        self, wanted: list[str], notice: Callable[[Missing], Awaitable[None]] = _nobody_else
    ) -> list[ToolSpec]:
        """Return the specs of the wanted tools, in that order; a tool that nobody serves is left out.

        A name with `*` is every tool that it fits, by name. Hosts are asked again when one of them says that it has
        changed, every ten seconds in the background, outside of the trace of whoever came by, and at once if a wanted
        tool is not known. A tool that was served before is waited for; `notice` is told of each that is missing, before
        the wait and after it. Where two hosts serve the same name, the tool-executor's own spec stands, then one that
        overrides.
        """
        missing = [name for name in wanted if name not in self._specs and ("*" not in name or not self._asked)]
        age = time.monotonic() - self._asked
        asked_for = missing and (age > RECENT_S or self._awaited(wanted))
        if asked_for or age > FRESH_S:
            self._asking = self._asking or asyncio.create_task(self._gather(), context=Context())
        if asked_for and self._asking is not None:
            await asyncio.shield(self._asking)
        if missing:
            await self._look_up(self._missing(wanted))
            await self._wait_for_hosts(wanted, notice)
        found = dict.fromkeys(name for each in wanted for name in self._named(each))
        return [self._specs[name] for name in found]

    async def _look_up(self, names: list[str]) -> None:
        """Find out which of these names were ever served, by hosts that this service may not have seen."""
        guests = [name for name in names if not tool.is_of_the_house(name)]
        for name in guests:
            if name not in self._served | self._in_vain and await self._record.has(name):
                self._served.add(name)
        if guests and time.monotonic() < self._young_until:
            self._new_house = await self._record.is_of_a_new_house()

    def _named(self, wanted: str) -> list[str]:
        """Return the known names that `wanted` stands for."""
        if "*" in wanted:
            return fnmatch.filter(sorted(self._specs), wanted)
        return [wanted] if wanted in self._specs else []

    async def _changed(self, message: Msg) -> None:
        self._changing.add(*tool.CHANGED.keys_in(message.subject))
        self._asked = -FRESH_S
        self._asking = self._asking or asyncio.create_task(self._gather(), context=Context())

    async def _wait_for_hosts(self, wanted: list[str], notice: Callable[[Missing], Awaitable[None]]) -> None:
        """Give hosts that are being restarted the time to come back; what does not come is given up for a while."""
        end = time.monotonic() + RESTART_S
        awaited = self._awaited(wanted)
        await self._say_missing(self._missing(wanted), awaited, notice)
        first = awaited
        while awaited:
            if time.monotonic() > end:
                self._given_up |= dict.fromkeys(awaited, time.monotonic() + SILENT_S)
                self._served.difference_update(awaited)
                self._in_vain.update(awaited)
                break
            await asyncio.sleep(GATHER_S)
            self._asking = self._asking or asyncio.create_task(self._gather(), context=Context())
            await asyncio.shield(self._asking)
            awaited = self._awaited(wanted)
        await self._say_missing([name for name in first if name not in self._specs], [], notice)

    async def _say_missing(
        self, names: list[str], awaited: list[str], notice: Callable[[Missing], Awaitable[None]]
    ) -> None:
        for name in names:
            near = difflib.get_close_matches(name, [*self._specs, ASK_USER], n=1, cutoff=0.7)
            told = Missing(name, name in awaited, near[0] if near else None)
            log.warning(
                "nobody serves a tool that an agent wants",
                extra={"tool": name, "awaited": told.awaited, "nearest": told.nearest},
            )
            await notice(told)

    def _missing(self, wanted: list[str]) -> list[str]:
        return [name for name in dict.fromkeys(wanted) if "*" not in name and name not in self._specs]

    def _awaited(self, wanted: list[str]) -> list[str]:
        """Return the wanted tools whose host may still come; one of the house that answers has no more than it says."""
        now = time.monotonic()
        alive = (name for name in self._missing(wanted) if self._given_up.get(name, 0.0) < now)
        return [name for name in alive if self._may_come(name)]

    def _may_come(self, name: str) -> bool:
        if tool.is_of_the_house(name):
            return not self._executor_answers
        return name in self._served or (self._new_house and time.monotonic() < self._young_until)

    async def _gather(self) -> None:
        for instance in self._changing:
            self._heard.pop(instance, None)
        self._changing.clear()
        try:
            hosts = await self._bus.ask_all(tool.LIST, tool.List(), wait_s=GATHER_S)
            self._executor_answers = any(host.host == tool.CALL.room for host in hosts)
            self._specs = _believed([*self._silent(hosts), *hosts])
            self._served.update(self._specs)
            self._in_vain.difference_update(self._specs)
            if self._noting is None or self._noting.done():
                self._noting = asyncio.create_task(self._record.note(list(self._specs)), context=Context())
        except NatscopeError as error:
            log.warning("the tools could not be asked for", extra={"reason": error.message})
        except (nats_errors.ConnectionClosedError, nats_errors.ConnectionDrainingError):
            log.debug("the tools are not asked for while this service ends")
        finally:
            self._asked = time.monotonic()
            self._asking = None
        if self._changing:
            self._asking = asyncio.create_task(self._gather(), context=Context())

    def _silent(self, answering: list[tool.Listed]) -> list[tool.Listed]:
        """Note who answers, and return what was last heard of hosts that nobody answers for any more."""
        now = time.monotonic()
        self._heard |= {each.instance: (now, each) for each in answering}
        names = {each.host for each in answering}
        kept = {i: (at, each) for i, (at, each) in self._heard.items() if now - at < SILENT_S}
        self._heard = {i: (at, each) for i, (at, each) in kept.items() if at == now or each.host not in names}
        return [each for at, each in self._heard.values() if at < now]


def _believed(hosts: list[tool.Listed]) -> dict[str, ToolSpec]:
    """Return the tools by name. What is of the house is taken from no guest, and is as careful as any answer says."""
    offers = [(_rank(host, spec), host.host, spec) for host in hosts for spec in host.tools]
    found: dict[str, ToolSpec] = {}
    for _, host, spec in sorted(offers, key=lambda offer: offer[:2]):
        if host != tool.CALL.room:
            if not tool.is_of_the_house(spec.name):
                found[spec.name] = spec
            continue
        same = [each for _, other, each in offers if other == host and each.name == spec.name]
        careful = {flag: all(getattr(each, flag) for each in same) for flag in ("read_only", "idempotent")}
        found[spec.name] = spec.model_copy(update={**careful, "served_as": None})
    return found


def _rank(host: tool.Listed, spec: ToolSpec) -> int:
    """Return how much the spec counts among its namesakes; the last one stands."""
    return 2 if host.host == tool.CALL.room else int(spec.served_as is not None)
