"""A stand-in for the agent service: takes tasks, tells events, records the outcome, hears interrupts."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from nats import errors as nats_errors
from nats.aio.msg import Msg

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.envelope import digest_of_task, read
from natscope.bus.streams import RUNS
from natscope.client import registry
from natscope.contracts import event, task
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.contract import Contract
from natscope.contracts.door import Event
from natscope.contracts.errors import Failure, ModelUnavailable, Unavailable
from natscope.contracts.message import Message
from natscope.contracts.model import Usage
from natscope.telemetry.propagation import extract

USAGE = Usage(input_tokens=12, output_tokens=7)
CODE = "print(sum(1 for n in range(2, 100) if all(n % d for d in range(2, n))))"
ANSWER = "There are 25 primes below 100."


@dataclass
class Stage:
    """What a play may do with its task."""

    bus: Bus
    agent: str
    body: task.Submit
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)

    async def tell(self, kind: type[Contract], **fields: object) -> None:
        happened: Any = kind.model_validate({"task_id": self.body.task_id, **fields})
        await self.record(event.HAPPENED, happened, happened.id)

    async def record(self, fact: Event[Any], body: Any, message_id: str) -> None:
        while True:
            try:
                await self.bus.record(fact, body, self.body.task_id, message_id=message_id)
                return
            except Unavailable:
                await asyncio.sleep(0.1)

    def finished(self, state: task.Outcome, **fields: object) -> task.Finished:
        session = self.body.session or self.body.task_id
        digest = digest_of_task(self.body)
        known = {"task_id": self.body.task_id, "agent": self.agent, "session": session, "usage": USAGE}
        return task.Finished.model_validate({"state": state, **known, "digest": digest, **fields})


Play = Callable[[Stage], Awaitable[task.Finished]]


async def answers(stage: Stage) -> task.Finished:
    """One call of a tool, then an answer, token by token."""
    call = ToolUseBlock(id="c1", name="execute_python", input={"code": CODE})
    await stage.tell(event.ReplyStart, agent=stage.agent, session=stage.body.lane)
    await stage.tell(event.ModelCallStart, step=1, model="offline")
    await stage.tell(event.ToolCallStart, step=1, block=0, tool="execute_python")
    await stage.tell(event.ToolCallEnd, step=1, block=0, call=call)
    await stage.tell(event.ModelCallEnd, step=1, model="offline", finish_reason="tool_call", usage=USAGE)
    await stage.tell(event.ToolProgress, step=1, call_id="c1", stream="stdout", text="25\n")
    result = ToolResultBlock(id="c1", name="execute_python", output=[TextBlock(text="25\n")])
    await stage.tell(event.ToolResult, step=1, result=result, backend="docker")
    await stage.tell(event.ModelCallStart, step=2, model="offline")
    await stage.tell(event.TextStart, step=2, block=0)
    for word in ANSWER.split(" "):
        await stage.tell(event.TextDelta, step=2, block=0, delta=word if word == "There" else f" {word}")
    await stage.tell(event.TextEnd, step=2, block=0, text=ANSWER)
    await stage.tell(event.ModelCallEnd, step=2, model="offline", finish_reason="stop", usage=USAGE)
    await stage.tell(event.ReplyEnd, state="completed", usage=USAGE)
    said = Message.model_validate({"name": stage.agent, "role": "assistant", "content": ANSWER})
    return stage.finished("completed", text=ANSWER, message=said, model_calls=2, tool_calls=1)


async def echoes(stage: Stage) -> task.Finished:
    """Says again what it was told; tells no tokens."""
    said = Message.model_validate({"name": "x", "role": "user", "content": stage.body.content}).text
    await stage.tell(event.TextEnd, step=1, block=0, text=said)
    await stage.tell(event.ReplyEnd, state="completed", usage=USAGE)
    return stage.finished("completed", text=said)


async def waits_to_be_interrupted(stage: Stage) -> task.Finished:
    """Begins, and ends only when somebody stops it."""
    await stage.tell(event.ReplyStart, agent=stage.agent, session=stage.body.lane)
    await stage.interrupted.wait()
    await stage.tell(event.Interrupted, reason="asked to")
    await stage.tell(event.ReplyEnd, state="interrupted", usage=USAGE)
    return stage.finished("interrupted", text="so far")


async def fails(stage: Stage) -> task.Finished:
    """The provider gives no answer."""
    await stage.tell(event.ReplyEnd, state="failed", usage=USAGE)
    error = ModelUnavailable("'gpt' answered 503 after 4 tries", remedy="try again later")
    return stage.finished("failed", failure=Failure.of(error))


async def reaches_a_limit(stage: Stage) -> task.Finished:
    """Runs into its step limit."""
    await stage.tell(event.LimitReached, limit="max_steps")
    await stage.tell(event.ReplyEnd, state="limited", usage=USAGE)
    return stage.finished("limited", text="as far as I came", limit="max_steps")


async def never_answers(stage: Stage) -> task.Finished:
    """Begins, and falls silent."""
    await stage.tell(event.ReplyStart, agent=stage.agent, session=stage.body.lane)
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


SPEC = AgentSpec(name="assistant", system_prompt="You answer.", tools=["execute_python"])


@asynccontextmanager
async def fake_agent(
    url: str, play: Play = answers, *, spec: AgentSpec = SPEC, settings: BusSettings | None = None
) -> AsyncGenerator[Bus]:
    """Let `spec` be applied and its tasks be played, for as long as the body runs."""
    async with connect("agent", settings or BusSettings(url=url)) as bus:
        await registry.apply(bus, spec)
        worker = asyncio.create_task(_work(bus, play))
        try:
            yield bus
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker


async def _work(bus: Bus, play: Play) -> None:
    puller = await bus.js.pull_subscribe_bind(RUNS, task.SUBMIT_IN.stream)
    seen: set[str] = set()
    async with asyncio.TaskGroup() as tasks:
        while True:
            try:
                for message in await puller.fetch(1, timeout=5):
                    if (mark := (message.headers or {})["Nats-Msg-Id"]) in seen:
                        continue
                    seen.add(mark)
                    tasks.create_task(_carry_out(bus, message, play))
            except nats_errors.TimeoutError:
                continue


async def _carry_out(bus: Bus, message: Msg, play: Play) -> None:
    data = await bus.envelope.unpack(message.data, message.headers)
    stage = Stage(bus, task.SUBMIT_IN.keys_in(message.subject)[0], read(task.Submit, data, where="task"))

    async def stop(_: Msg) -> None:
        stage.interrupted.set()

    heard = await bus.nc.subscribe(task.INTERRUPT.at(stage.body.task_id), cb=stop)
    with bus.telemetry.span("process task.submit.{agent}.{session}", parent=extract(message.headers)):
        outcome = await play(stage)
        await stage.record(task.FINISHED, outcome, outcome.task_id)
    await message.ack()
    await heard.unsubscribe()
