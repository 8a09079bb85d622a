"""What is offered to MCP clients, and how a call of it is carried out; knows nothing of the protocol."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from natscope.bus.orphans import unless_orphaned
from natscope.bus.streams import CALLS
from natscope.cli.mcp.steps import step_of
from natscope.client.house import House
from natscope.contracts import tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ContentBlock, TextBlock, ToolUseBlock, plain
from natscope.contracts.contract import TOKEN, new_id
from natscope.contracts.errors import ArgumentsInvalid, ToolNotFound
from natscope.contracts.task import INTERRUPT, Finished, Interrupt

log = logging.getLogger(__name__)

Json = dict[str, JsonValue]
Tell = Callable[[str], Awaitable[None]]
"""Hears how a call goes on."""

FAREWELL_S = 5.0
CANCELLED = "the MCP client cancelled the call"

ASK: Json = {
    "type": "object",
    "properties": {
        "task": {"type": "string", "description": "What the agent is to do, with all that it has to know."},
        "session": {
            "type": "string",
            "description": "Name of a conversation to go on with. Without it the agent remembers nothing.",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        },
    },
    "required": ["task"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Outcome:
    """What a call came to."""

    content: list[ContentBlock]
    failed: bool = False
    structured: JsonValue = None
    metadata: Json = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True)
class Offer:
    """One tool, as MCP clients see it."""

    name: str
    description: str
    parameters: Json
    act: Callable[[Mapping[str, JsonValue], Tell], Coroutine[Any, Any, Outcome]]
    read_only: bool = False
    idempotent: bool = False


class Offering:
    """The agents of the house as tools `ask_<agent>`, and if wanted its tools under their own names."""

    def __init__(self, house: House, *, agents: Sequence[str] = (), tools: bool = False) -> None:
        """With `agents`, only those are offered."""
        self.house = house
        self._agents = frozenset(agents)
        self.with_tools = tools
        self._session = f"mcp-{new_id()[:16]}"
        self._known: Mapping[str, Offer] = {}
        self._farewells: set[asyncio.Task[None]] = set()

    async def offers(self) -> dict[str, Offer]:
        """Return what there is now, by name."""
        specs = [spec for spec in await self.house.agents() if not self._agents or spec.name in self._agents]
        found = {offer.name: offer for offer in map(self._agent, specs)}
        if self.with_tools:
            hosts = await self.house.tools()
            shown = [spec for host in hosts for spec in host.tools if not spec.external]
            found = {spec.name: self._tool(spec) for spec in shown} | found
        self._known = found
        return found

    async def call(self, name: str, arguments: Mapping[str, JsonValue], tell: Tell) -> Outcome:
        """Carry a call out. Cancelled, the task or the tool is stopped too.

        Raises:
            ToolNotFound: nothing of that name is offered.
            NatscopeError: it could not be carried out.
        """
        offers = self._known if name in self._known else await self.offers()
        if name not in offers:
            raise ToolNotFound(f"nothing is offered under {name!r}", remedy=f"there are {', '.join(sorted(offers))}")
        return await offers[name].act(arguments, tell)

    async def close(self) -> None:
        """Wait until all that is to be stopped has been told so, and give the tools' workspace back."""
        if self.with_tools:
            self._farewell(self.house.bus.tell(tool.ENDED, tool.Ended(session=self._session), self._session))
        if self._farewells:
            await asyncio.wait(self._farewells, timeout=FAREWELL_S)

    def _agent(self, spec: AgentSpec) -> Offer:
        about = spec.description or f"The agent {spec.name!r}."

        async def act(arguments: Mapping[str, JsonValue], tell: Tell) -> Outcome:
            return await self._ask(spec.name, arguments, tell)

        return Offer(f"ask_{spec.name}", f"Give a task to an agent and wait for its answer. {about}", ASK, act)

    async def _ask(self, agent: str, arguments: Mapping[str, JsonValue], tell: Tell) -> Outcome:
        task, session = _asked(arguments)
        task_id = new_id()
        ticket = self.house.ticket(task_id)
        try:
            with self.house.span(agent, session=session):
                await self.house.submit(agent, task, session=session, task_id=task_id)
                async with aclosing(ticket.events()) as events:
                    async for heard in events:
                        text = step_of(heard.event)
                        if text is not None:
                            await tell(text)
                return _outcome(await ticket.result())
        except asyncio.CancelledError:
            self._farewell(self._stop(task_id))
            raise

    async def _stop(self, task_id: str) -> None:
        """Interrupt a task of its own, which may be on its way into the house still."""
        await self.house.bus.submit(INTERRUPT, Interrupt(reason=CANCELLED), task_id, message_id=new_id())

    def _tool(self, spec: tool.ToolSpec) -> Offer:
        async def act(arguments: Mapping[str, JsonValue], tell: Tell) -> Outcome:
            return await self._run(spec, arguments, tell)

        return Offer(spec.name, spec.description, spec.parameters, act, spec.read_only, spec.idempotent)

    async def _run(self, spec: tool.ToolSpec, arguments: Mapping[str, JsonValue], tell: Tell) -> Outcome:
        bus, call_id = self.house.bus, new_id()
        use = ToolUseBlock(id=call_id, name=spec.name, input=dict(arguments))
        inbox = bus.nc.new_inbox()

        async def hear(message: Any) -> None:
            await tell(tool.Progress.model_validate_json(message.data).text)

        asked = tool.Call(call_id=call_id, call=use, session=self._session, deltas_to=inbox)
        subscription = await bus.nc.subscribe(inbox, cb=hear)
        try:
            name = spec.served_as or spec.name
            asking = bus.ask(tool.door_of(name), asked, name)
            result = (await unless_orphaned(bus, CALLS, call_id, asking)).result
        except BaseException as error:
            self._farewell(subscription.drain())
            if isinstance(error, asyncio.CancelledError):
                self._farewell(bus.tell(tool.CANCELLED, tool.Cancelled(call_id=call_id), call_id))
            raise
        await subscription.drain()
        return Outcome(result.output, result.state != "success", metadata={"state": result.state})

    def _farewell(self, word: Coroutine[Any, Any, None]) -> None:
        """Say something on behalf of a call that is being cancelled: it may not wait itself."""
        task = asyncio.create_task(word)
        self._farewells.add(task)
        task.add_done_callback(self._said)

    def _said(self, task: asyncio.Task[None]) -> None:
        self._farewells.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("a call could not be stopped", extra={"reason": repr(task.exception())})


def _asked(arguments: Mapping[str, JsonValue]) -> tuple[str, str | None]:
    task, session = arguments.get("task"), arguments.get("session")
    if not isinstance(task, str) or not task.strip():
        raise ArgumentsInvalid("`task` is missing", remedy="say in `task` what the agent is to do")
    if session is None or (isinstance(session, str) and len(session) <= 64 and TOKEN.match(session)):
        return task, session
    raise ArgumentsInvalid("`session` is no name", remedy="use up to 64 letters, digits, '-' or '_'")


def _outcome(finished: Finished) -> Outcome:
    told: Json = {"task": finished.task_id, "session": finished.session, "state": finished.state}
    content: list[ContentBlock] = list(finished.message.content) if finished.message else plain(finished.text)
    if finished.failure is not None:
        content = [TextBlock(text=str(finished.failure.error()))]
    elif finished.state == "limited":
        content.append(TextBlock(text=f"[a limit was reached: {finished.limit}]"))
    elif finished.output is not None:
        content = [*plain(finished.text), *(block for block in content if not isinstance(block, TextBlock))]
    failed = finished.state in ("failed", "interrupted")
    return Outcome(content or plain(finished.state), failed, finished.output, told)
