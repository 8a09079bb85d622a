"""Serving tools from any process: found by every agent, called exactly once, cancelled when nobody waits."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from nats import errors as nats_errors
from nats.aio.msg import Msg
from opentelemetry.trace import Span

from natscope.bus.answering import Doors
from natscope.bus.ledger import Ledger
from natscope.bus.room import open_room
from natscope.bus.settings import BusSettings
from natscope.bus.streams import CALLS
from natscope.client.tools import Function, Tool, tool
from natscope.contracts.blocks import ContentBlock, ResultState, TextBlock, ToolResultBlock
from natscope.contracts.errors import BusUnavailable, SpecInvalid
from natscope.contracts.tool import CALL, CANCELLED, LIST, Call, Called, List, Listed, ToolSpec
from natscope.telemetry import Telemetry, TelemetrySettings, names, telemetry_for
from natscope.telemetry.setup import fail_with

log = logging.getLogger(__name__)

DEADLINE_S = 60.0
"""Of a call that names none."""
WORKERS = 64
RIGHTS = "serving tools takes a NATS user that may write the buckets `instances` and `calls`: set NATS_USER"

Work = Callable[[], Awaitable[Called]]


@asynccontextmanager
async def serve(
    *functions: Function | Tool, host: str = "tools", settings: BusSettings | None = None
) -> AsyncGenerator[list[Tool]]:
    """Serve async functions as tools for as long as the body runs; give what is served.

    Processes of the same `host` share the calls. A call has one outcome however often it is asked for: it is recorded
    before it is answered. If the process died while a call ran, its outcome is `unknown`; idempotent tools run again.

    Raises:
        SpecInvalid: a function cannot be a tool (see `tool`), or two have the same name.
        BusUnavailable: NATS has no streams, or whoever we are there may not serve tools.
    """
    served = [each if isinstance(each, Tool) else tool(each) for each in functions]
    by_name = {each.spec.name: each for each in served}
    if len(by_name) < len(served):
        raise SpecInvalid("two tools have the same name")
    kept = TelemetrySettings().model_copy(update={"keep": True})
    telemetry = telemetry_for(host, kept)
    async with AsyncExitStack() as stack:
        opening = open_room(host, description="Serves tools.", settings=settings, telemetry=telemetry)
        try:
            room = await stack.enter_async_context(opening)
        except nats_errors.TimeoutError as error:
            raise BusUnavailable(f"host {host!r} could not give a sign of life", remedy=RIGHTS) from error
        ledger = Ledger(room.bus, room.instance, bucket=CALLS, answer=Called)
        hosted = Hosted(by_name, ledger, telemetry)
        listed = Listed(host=host, instance=room.instance.id, tools=hosted.specs)
        await room.serve(_doors(Doors(room.bus), hosted, listed))
        await room.bus.nc.subscribe(CANCELLED.wildcard, cb=hosted.cancelled)
        yield served


def _doors(doors: Doors, hosted: "Hosted", listed: Listed) -> Doors:
    for name in hosted.tools:
        doors.answers(CALL, key=name, queue=listed.host, workers=WORKERS)(hosted.call)

    @doors.answers(LIST, queue="")
    async def tools(body: List) -> Listed:
        return listed

    return doors


@dataclass(frozen=True)
class Hosted:
    """The tools of one process."""

    tools: Mapping[str, Tool]
    ledger: Ledger[Called]
    telemetry: Telemetry

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
        asked = self.tools[ask.call.name]
        arguments = asked.read(ask.call)

        async def work() -> Called:
            return await _run(asked, arguments, ask)

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
            return _called(ask, "interrupted", "The call was interrupted."), False

    async def cancelled(self, message: Msg) -> None:
        """Stop the call if it runs here."""
        self.ledger.cancel(*CANCELLED.keys_in(message.subject))


async def _run(asked: Tool, arguments: dict[str, object], ask: Call) -> Called:
    deadline_s = ask.limits.deadline_s or DEADLINE_S
    limit = asyncio.timeout(deadline_s)
    try:
        async with limit:
            return _called(ask, "success", await asked.run(arguments))
    except Exception as error:  # noqa: BLE001 - whatever a function raises is its outcome
        if limit.expired():
            return _called(ask, "error", f"It did not end within {deadline_s:g} s.")
        log.info("tool failed", extra={"tool": asked.spec.name, "error": type(error).__name__})
        return _called(ask, "error", f"{type(error).__name__}: {error}")


def _called(ask: Call, state: ResultState, output: str | list[ContentBlock]) -> Called:
    blocks: list[ContentBlock] = [TextBlock(text=output)] if isinstance(output, str) else output
    return Called(result=ToolResultBlock(id=ask.call.id, name=ask.call.name, output=blocks, state=state))


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
