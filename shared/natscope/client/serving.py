"""Serving tools from any process: found by every agent, called exactly once, cancelled when nobody waits."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Literal

from nats.aio.msg import Msg
from opentelemetry.trace import Span
from pydantic import ValidationError

from natscope.bus.answering import Doors
from natscope.bus.connection import Bus
from natscope.bus.envelope import explain
from natscope.bus.ledger import Ledger
from natscope.bus.room import Room
from natscope.bus.settings import BusSettings
from natscope.bus.settling import settle
from natscope.bus.streams import CALLS
from natscope.client.hosting import must_be_let, open_host
from natscope.client.tools import Function, Progress, Tool, ToolContext, tool
from natscope.contracts import tool as tool_contract
from natscope.contracts.blocks import ContentBlock, ResultState, TextBlock, ToolResultBlock
from natscope.contracts.errors import SpecInvalid, ToolNotFound
from natscope.contracts.tool import (
    CALL,
    CANCELLED,
    CHANGED,
    LIST,
    Call,
    Called,
    Changed,
    List,
    Listed,
    ToolSpec,
    is_of_the_house,
)
from natscope.telemetry import Telemetry, TelemetrySettings, names, telemetry_for
from natscope.telemetry.setup import fail_with

log = logging.getLogger(__name__)

DEADLINE_S = 60.0
"""Of a call that names none."""
WORKERS = 64
_LOOK_S = 0.25
_FREE = nullcontext()

Namesakes = Literal["refuse", "rename", "override"]

Work = Callable[[], Awaitable[Called]]


@asynccontextmanager
async def serve(
    *functions: Function | Tool,
    host: str = "tools",
    namesakes: Namesakes = "refuse",
    settings: BusSettings | None = None,
) -> AsyncGenerator[list[Tool]]:
    """Serve functions as tools for as long as the body runs; give what is served. Agents know of them at once.

    Processes of the same `host` share the calls. A call has one outcome however often it is asked for: it is recorded
    before it is answered. If the process died while a call ran, its outcome is `unknown`; idempotent tools run again.

    `namesakes` says what happens if another host serves a tool of the same name: `refuse`, `rename` ours to
    `<host>_<name>`, or `override`, so that agents call ours instead. What is built in is never overridden.

    Raises:
        SpecInvalid: a function cannot be a tool (see `tool`), two have the same name, or another host has it.
        BusUnavailable: NATS has no streams, or whoever we are there may not serve tools.
    """
    given = [each if isinstance(each, Tool) else tool(each) for each in functions]
    if host == CALL.room:
        raise SpecInvalid(f"{host!r} is a service of the house", remedy="give `host` another name")
    if len({each.spec.name for each in given}) < len(given):
        raise SpecInvalid("two tools have the same name")
    kept = TelemetrySettings().model_copy(update={"keep": True})
    telemetry = telemetry_for(host, kept)
    opening = open_host(host, description="Serves tools.", settings=settings, telemetry=telemetry)
    async with opening as room:
        served = await _named(given, room, namesakes)
        ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=Called)
        hosted = Hosted({each.spec.name: each for each in served}, ledger, telemetry, room.bus)
        listed = Listed(host=host, instance=room.instance.id, tools=hosted.specs)
        await room.serve(_doors(Doors(room.bus), hosted, listed))
        await room.bus.nc.subscribe(CANCELLED.wildcard, cb=hosted.cancelled)
        await settle(room.bus.nc)
        must_be_let(room)
        await _announce(room)
        try:
            yield served
        finally:
            await room.finish()
            await _announce(room)


async def _announce(room: Room) -> None:
    await room.bus.tell(CHANGED, Changed(host=room.name, instance=room.instance.id), room.instance.id)


async def _named(tools: list[Tool], room: Room, namesakes: Namesakes) -> list[Tool]:
    """Return the tools under the names that they are served by, given what other hosts serve."""
    hosts = await room.bus.ask_all(LIST, List(), wait_s=_LOOK_S)
    taken = {spec.name: each.host for each in hosts if each.host != room.name for spec in each.tools}
    taken |= {each.spec.name: CALL.room for each in tools if is_of_the_house(each.spec.name)}
    return [each if each.spec.name not in taken else _apart(each, room, taken, namesakes) for each in tools]


def _apart(each: Tool, room: Room, taken: Mapping[str, str], namesakes: Namesakes) -> Tool:
    name = each.spec.name
    other = f"{room.name}_{name}"
    built_in = taken[name] == CALL.room
    if namesakes == "refuse" or (namesakes == "rename" and other in taken):
        ways = "`rename`" if built_in else "`rename` or `override`"
        raise SpecInvalid(
            f"a tool {name!r} is served by {taken[name]!r} already",
            remedy=f"give it another name, or set `namesakes` to {ways}",
        )
    if namesakes == "override" and built_in:
        raise SpecInvalid(f"the tool {name!r} is built in and cannot be overridden", remedy="give it another name")
    change = {"name": other} if namesakes == "rename" else {"served_as": other}
    try:
        spec = ToolSpec.model_validate(each.spec.model_dump() | change)
    except ValidationError as error:
        raise SpecInvalid(f"{other!r} cannot be a tool's name: {explain(error)}") from error
    log.info("namesake", extra={"tool": name, "of": taken[name], **change})
    return replace(each, spec=spec)


def _doors(doors: Doors, hosted: "Hosted", listed: Listed) -> Doors:
    for spec in hosted.specs:
        doors.answers(CALL, key=spec.served_as or spec.name, queue=listed.host, workers=WORKERS)(hosted.call)

    @doors.answers(LIST, queue="")
    async def tools(body: List) -> Listed:
        return listed

    return doors


class Hosted:
    """The tools of one process."""

    def __init__(self, tools: Mapping[str, Tool], ledger: Ledger[Called], telemetry: Telemetry, bus: Bus) -> None:
        self.tools = tools
        self.ledger = ledger
        self.telemetry = telemetry
        self._bus = bus
        self._unwanted: set[str] = set()
        """Calls that were cancelled while they ran here."""
        self._slots = {name: asyncio.Semaphore(each.at_once) for name, each in tools.items() if each.at_once}

    @property
    def specs(self) -> list[ToolSpec]:
        """What a model is told of them."""
        return [each.spec for each in self.tools.values()]

    async def call(self, ask: Call) -> Called:
        """Return the outcome of a call; a function that fails is an outcome too.

        Raises:
            ArgumentsInvalid: nothing ran.
            RequestConflict: the call's id was used for another call.
        """
        asked = self.tools.get(ask.call.name)
        if asked is None:
            raise ToolNotFound(f"there is no tool {ask.call.name!r} here", remedy=f"there are {', '.join(self.tools)}")
        arguments = asked.read(ask.call)

        async def work() -> Called:
            try:
                async with self._slots.get(asked.spec.name, _FREE):
                    return await _run(asked, arguments, ToolContext(ask, self._progress(ask)))
            except asyncio.CancelledError:
                if asked.spec.idempotent or ask.call_id not in self._unwanted:
                    raise
                return _interrupted(ask)

        async def lost() -> Called:
            return _called(ask, "unknown", "The tool's process died while it ran; whether it acted is not known.")

        with self.telemetry.span(f"execute_tool {asked.spec.name}", attributes=_attributes(ask)) as span:
            called, known = await self._once(ask, work, None if asked.spec.idempotent else lost)
            _mark(span, called, known)
            return called.model_copy(update={"replayed": known})

    async def _once(self, ask: Call, work: Work, lost: Work | None) -> tuple[Called, bool]:
        try:
            return await self.ledger.once(ask.call_id, ask, work, lost=lost, ignoring={"deltas_to"})
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():
                raise
            return _interrupted(ask), False
        finally:
            self._unwanted.discard(ask.call_id)

    def _progress(self, ask: Call) -> Progress:
        told = 0

        async def progress(text: str) -> None:
            nonlocal told
            if ask.deltas_to is not None:
                piece = tool_contract.Progress(call_id=ask.call_id, sequence=told, stream="progress", text=text)
                told += 1
                await self._bus.say(ask.deltas_to, piece)

        return progress

    async def cancelled(self, message: Msg) -> None:
        """Stop the call if it runs here."""
        (call_id,) = CANCELLED.keys_in(message.subject)
        if self.ledger.cancel(call_id):
            self._unwanted.add(call_id)


async def _run(asked: Tool, arguments: dict[str, object], context: ToolContext) -> Called:
    ask = context.call
    deadline_s = ask.limits.deadline_s or asked.spec.deadline_s or DEADLINE_S
    limit = asyncio.timeout(deadline_s)
    try:
        async with limit:
            return _called(ask, "success", await asked.run(arguments, context))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a function raises is its outcome
        if limit.expired():
            return _called(ask, "error", f"It did not end within {deadline_s:g} s.")
        log.info("tool failed", extra={"tool": asked.spec.name, "error": type(error).__name__})
        return _called(ask, "error", f"{type(error).__name__}: {error}")


def _called(ask: Call, state: ResultState, output: str | list[ContentBlock]) -> Called:
    blocks: list[ContentBlock] = [TextBlock(text=output)] if isinstance(output, str) else output
    return Called(result=ToolResultBlock(id=ask.call.id, name=ask.call.name, output=blocks, state=state))


def _interrupted(ask: Call) -> Called:
    return _called(ask, "interrupted", "The call was interrupted.")


def _attributes(ask: Call) -> dict[str, str]:
    attributes = {
        names.OPERATION: "execute_tool",
        names.TOOL: ask.call.name,
        names.TOOL_TYPE: "function",
        names.TOOL_CALL_ID: ask.call.id,
        names.CONVERSATION: ask.session,
    }
    optional = {names.AGENT: ask.agent, names.TASK_ID: ask.task}
    return attributes | {name: value for name, value in optional.items() if value is not None}


def _mark(span: Span, called: Called, known: bool) -> None:
    span.set_attribute(names.REPLAYED, known)
    if called.result.state != "success":
        fail_with(span, called.result.state)
