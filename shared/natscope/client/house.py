"""The house, from a guest's side: everything a client can ask for, over one connection."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from opentelemetry.trace import Span, SpanKind
from pydantic import JsonValue, ValidationError

from natscope.bus.connection import Bus, connect
from natscope.bus.envelope import explain
from natscope.bus.settings import BusSettings
from natscope.bus.streams import SPAN_SUBJECT
from natscope.client import burials, hubs, looking, registry, submitting, traces, waiting
from natscope.client.attaching import Attachable, attach
from natscope.client.schedules import Schedules
from natscope.client.ticket import Ticket
from natscope.client.workspaces import Workspace
from natscope.contracts import memory, model, task, tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ContentBlock, TextBlock
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid
from natscope.contracts.hub import Hub as HubInfo
from natscope.contracts.message import Message
from natscope.telemetry import TelemetrySettings, names, telemetry_for

TOOLS_WAIT_S = 0.5
"""How long tool hosts have to say what they serve."""

Content = str | Sequence[ContentBlock]


@dataclass(frozen=True)
class House:
    """A guest's connection to the house."""

    bus: Bus
    tenant: str | None = None
    """Whose budgets the tasks of this connection are held to."""
    _seen: submitting.Seen = field(default_factory=submitting.Seen, repr=False, compare=False)

    async def submit(  # noqa: PLR0913 - all of what a task may say, each by its name
        self,
        agent: str,
        content: Content,
        *,
        session: str | None = None,
        task_id: str | None = None,
        files: Sequence[Attachable] = (),
        stream: bool = False,
        name: str = "user",
        not_before: datetime | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> Ticket:
        """Ask `agent` to do something. When this returns, the task is kept and will be finished.

        `session` is the conversation it belongs to. Sent again under the same `task_id`, it is still one task. `files`
        lie in the working folder of the agent's tools. `stream` makes tokens come as events. With `not_before`, a time
        with its zone, it begins no earlier.

        Raises:
            AgentNotFound, BodyInvalid, BodyTooLarge, TaskConflict: nothing was submitted.
            Overloaded: the queue is full; nothing was submitted.
            BusUnavailable: it may or may not have been submitted; submit again under the same `task_id`.
        """
        told = {
            "session": session,
            "name": name,
            "not_before": not_before,
            "stream": stream,
            "metadata": metadata or {},
        }
        body = await self._body(task_id or new_id(), content, files, told)
        await submitting.submit(self.bus, agent, body, own_id=task_id is not None, seen=self._seen)
        return Ticket(self.bus, body.task_id)

    async def _body(
        self, id: str, content: Content, files: Sequence[Attachable], told: Mapping[str, object]
    ) -> task.Submit:
        attached = await attach(self.bus.blobs, files, task_id=id)
        blocks = [TextBlock(text=content)] if isinstance(content, str) else list(content)
        try:
            return task.Submit.model_validate(
                {**told, "task_id": id, "content": [*blocks, *attached], "tenant": self.tenant}
            )
        except ValidationError as error:
            raise BodyInvalid(f"the task is not right: {explain(error).replace('Value error, ', '')}") from error

    async def ask(
        self,
        agent: str,
        content: Content,
        *,
        session: str | None = None,
        files: Sequence[Attachable] = (),
        deadline_s: float | None = None,
    ) -> task.Finished:
        """Submit a task and wait for its outcome, in one span; see `submit` and `Ticket.result`."""
        with self.span(agent, session=session):
            ticket = self.ticket(new_id())
            body = await self._body(ticket.task_id, content, files, {"session": session})
            async with ticket.heard() as arrived:
                await submitting.submit(self.bus, agent, body, own_id=False, seen=self._seen)
                return await ticket.awaited(arrived, deadline_s)

    def span(self, agent: str, *, session: str | None = None) -> AbstractContextManager[Span]:
        """Return the span of a whole task as its caller sees it, to be entered around `submit` and what follows."""
        attributes = {names.OPERATION: "invoke_agent", names.PROVIDER: "natscope", names.AGENT: agent}
        if session:
            attributes[names.CONVERSATION] = session
        return self.bus.telemetry.span(f"invoke_agent {agent}", kind=SpanKind.CLIENT, attributes=attributes)

    def ticket(self, task_id: str) -> Ticket:
        """Return the ticket of a task that was submitted before, by anybody."""
        return Ticket(self.bus, task_id)

    async def agents(self) -> list[AgentSpec]:
        """Return every agent that is applied, by name."""
        return await registry.agents(self.bus)

    async def apply(self, spec: AgentSpec) -> registry.Change:
        """Make `spec` the agent of its name, for tasks that start from now on."""
        return await registry.apply(self.bus, spec)

    async def tools(self, *, wait_s: float = TOOLS_WAIT_S) -> list[tool.Listed]:
        """Return what every tool host serves; hosts that take longer than `wait_s` are left out."""
        return await self.bus.ask_all(tool.LIST, tool.List(), wait_s=wait_s)

    async def models(self) -> list[model.ModelInfo]:
        """Return the models that agents may name, in the order of `deploy/models.yaml`."""
        return (await self.models_file()).models

    async def models_file(self) -> model.Listed:
        """Return the models, and what is wrong with `deploy/models.yaml` if it is not in force."""
        return await self.bus.ask(model.LIST, model.List())

    async def usage(self, scope: model.Scope = "tenant", name: str | None = None) -> list[model.Account]:
        """Return what was used and what is left, of one of a scope or of all that are known."""
        return (await self.bus.ask(model.USAGE, model.AskUsage(scope=scope, name=name))).accounts

    async def runs(self, *, limit: int = 20) -> list[task.Finished]:
        """Return the outcomes of the tasks finished last, the newest first."""
        stream = task.FINISHED.stream or ""
        newest = await looking.last(self.bus, stream, task.FINISHED.wildcard)
        if newest is None:
            return []
        after = max(0, looking.sequence_of(newest) - limit)
        found = await looking.page(self.bus, stream, task.FINISHED.wildcard, after=after)
        return [await self.bus.read(task.FINISHED, message) for message in reversed(found)]

    async def recall(self, session: str, *, last: int = 20) -> list[Message]:
        """Return the latest messages of a session, the oldest first, with what was said in its hubs."""
        return (await self.bus.ask(memory.RECALL, memory.Recall(session=session, last=last))).messages

    async def unfinished(self, *, limit: int = 20) -> list[waiting.Unfinished]:
        """Return the tasks that wait or run, the oldest first."""
        return await waiting.unfinished(self.bus, limit=limit)

    async def buried(self, *, limit: int = 20) -> list[task.Buried]:
        """Return the tasks that nobody could carry out, those buried last first; they are kept for 30 days."""
        return await burials.buried(self.bus, limit=limit)

    async def burial(self, task_id: str) -> task.Buried:
        """Return why a task was buried, and its body; TaskNotFound if it is not."""
        return await burials.burial(self.bus, task_id)

    async def retry(self, task_id: str) -> Ticket:
        """Submit a buried task again as a new one, and drop it (see `burials.retry`)."""
        return Ticket(self.bus, await burials.retry(self.bus, task_id))

    async def drop(self, task_id: str) -> None:
        """Remove a task from the dead-letter stream; its outcome stays (see `burials.drop`)."""
        await burials.drop(self.bus, task_id)

    async def trace(self, task_id: str, *, patience_s: float = 2.0) -> traces.Trace:
        """Return the trace of a task; its last spans are waited for (see `traces.trace_of`)."""
        return await traces.trace_of(self.bus, task_id, patience_s=patience_s)

    @property
    def schedules(self) -> Schedules:
        """The schedules: made, listed, paused, resumed and removed."""
        return Schedules(self.bus, self.tenant)

    def workspace(self, session: str) -> Workspace:
        """Return the files of a session."""
        return Workspace(self.bus, session)

    def hub(self, name: str) -> hubs.Hub:
        """Return the hub of that name; it exists as soon as somebody says something in it or joins it."""
        return hubs.Hub(self.bus, name)

    async def hubs(self, *, session: str | None = None) -> list[HubInfo]:
        """Return all hubs and their members, or those that `session` is in."""
        return await hubs.hubs(self.bus, session=session)


@asynccontextmanager
async def open(
    settings: BusSettings | None = None, *, name: str = "client", tenant: str | None = None
) -> AsyncGenerator[House]:
    """Enter the house as a guest, for as long as the body runs.

    Without `settings`, NATS_URL, NATS_USER, NATS_PASSWORD and NATS_CREDS say how. `name` is how traces call this
    program; `tenant`, or NATSCOPE_TENANT, says whose budgets its tasks are held to. Its spans go to the collector of
    OTEL_EXPORTER_OTLP_ENDPOINT; without one they are kept in stream SPANS.

    Raises:
        BusUnavailable: no server answered within two seconds.
        CredentialRefused: the server does not accept us.
    """
    telemetry = telemetry_for(name, TelemetrySettings().model_copy(update={"keep": True}))
    async with connect(name, settings, telemetry) as bus:
        if telemetry.keeper is not None:
            telemetry.keeper.start(lambda trace_id, spans: bus.nc.publish(f"{SPAN_SUBJECT}.{trace_id}", spans))
        try:
            yield House(bus, tenant or os.environ.get("NATSCOPE_TENANT") or None)
        finally:
            if telemetry.keeper is not None and not bus.nc.is_closed:
                await telemetry.keeper.stop()
