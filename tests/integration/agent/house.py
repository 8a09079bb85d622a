"""A house around the agent service: rooms with hand-written fakes that count what they really do."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from nats.aio.msg import Msg

from natscope.bus import Bus, BusSettings, Doors, Ledger, Room, connect, open_room
from natscope.bus.streams import AGENTS, CALLS, REPLIES
from natscope.contracts import memory, model, tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ResultState, ToolResultBlock, ToolUseBlock, plain
from natscope.contracts.contract import new_id
from natscope.contracts.errors import Overloaded
from natscope.contracts.message import Message
from natscope.contracts.task import FINISHED, SUBMIT_IN, Finished, Submit
from services.agent.app import app
from services.agent.settings import Settings
from services.memory.app import app as memory_app
from services.model_gateway.repair.fit import fit_of

Model = Callable[[model.Chat], Awaitable[model.Chatted]]

ADD = tool.ToolSpec(
    name="add",
    description="Add two numbers.",
    parameters={"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}},
)


def reply(text: str) -> model.Chatted:
    """Return a reply that says `text`."""
    said = Message(name="model", role="assistant", content=plain(text))
    usage = model.Usage(input_tokens=10, output_tokens=5)
    return model.Chatted(message=said, finish_reason="stop", usage=usage, provider="fake", model="fake-1")


def call(*calls: ToolUseBlock, text: str = "") -> model.Chatted:
    """Return a reply that calls tools."""
    said = Message(name="model", role="assistant", content=[*(plain(text) if text else []), *calls])
    usage = model.Usage(input_tokens=10, output_tokens=5)
    return model.Chatted(message=said, finish_reason="tool_call", usage=usage, provider="fake", model="fake-1")


async def adds_then_answers(asked: model.Chat) -> model.Chatted:
    """A model that calls `add` once and then says what came of it."""
    results = [block for m in asked.messages for block in m.content if isinstance(block, ToolResultBlock)]
    if not results or asked.messages[-1].role == "user":
        return call(ToolUseBlock(id="c1", name="add", input={"a": 2, "b": 2}, raw_input='{"a": 2, "b": 2}'))
    return reply(f"It is {results[-1].output[0].text}.")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@dataclass
class House:
    """The fakes, what they did, and a guest's connection."""

    bus: Bus
    settings: BusSettings
    mind: Model = adds_then_answers
    began: asyncio.Event = field(default_factory=asyncio.Event)
    """A tool has begun."""
    asked: list[model.Chat] = field(default_factory=list[model.Chat])
    called: list[tool.Call] = field(default_factory=list[tool.Call])
    judged: list[model.Fit] = field(default_factory=list[model.Fit])
    judges: bool = True
    """Whether the gateway tells if a value fits a schema."""
    tool_delay_s: float = 0.0
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """The house is about to close: nobody needs what its rooms still work on."""
    says: str | None = None
    """What the tool gives instead of the sum."""
    ends: ResultState = "success"
    concurrent: bool = True
    external: bool = False
    """What the tool says of itself."""
    under_way: int = 0
    most_under_way: int = 0
    """How many tools ran at the same time, at the most."""
    sessions: dict[str, list[Message]] = field(default_factory=dict[str, list[Message]])
    cancelled: list[str] = field(default_factory=list[str])

    async def work(self, seconds: float) -> None:
        """Take so long, or as long as the house is open."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.closing.wait(), seconds)

    async def submit(self, content: str, *, agent: str = "assistant", **more: object) -> Submit:
        """Submit a task as a client does."""
        body = Submit.model_validate({"content": content} | more)
        await self.bus.submit(SUBMIT_IN, body, agent, body.lane, message_id=body.task_id)
        return body

    async def outcome(self, task_id: str, *, within_s: float = 60) -> Finished:
        """Wait for a task's outcome."""
        async with asyncio.timeout(within_s):
            subscription = await self.bus.js.subscribe(FINISHED.at(task_id), ordered_consumer=True)
            message = await subscription.next_msg(timeout=within_s)
            await subscription.unsubscribe()
            return await self.bus.read(FINISHED, message)

    async def reaches(self, event: asyncio.Event, task_id: str) -> None:
        """Wait for `event`, a minute at most; a task that ends without it shows its outcome instead."""
        there, over = asyncio.create_task(event.wait()), asyncio.create_task(self.outcome(task_id))
        try:
            await asyncio.wait([there, over], return_when=asyncio.FIRST_COMPLETED)
            assert there.done(), f"the task has ended before: {over.result()!r}"
        finally:
            for waiting in (there, over):
                waiting.cancel()
            await asyncio.gather(there, over, return_exceptions=True)

    async def run(self, content: str, **more: object) -> Finished:
        """Submit a task and wait for its outcome."""
        return await self.outcome((await self.submit(content, **more)).task_id)  # pyright: ignore[reportArgumentType]


SPEC = AgentSpec(name="assistant", description="Helps.", system_prompt="You help.", tools=["add"])


@asynccontextmanager
async def house(
    url: str,
    *specs: AgentSpec,
    agents: int = 1,
    real_memory: bool = False,
    beat_s: float = 0.5,
    skills: Path = Path("there-are-none"),
) -> AsyncGenerator[House]:
    """Open the fakes and so many agent services; with `real_memory` the memory service itself."""
    settings = BusSettings(url=url)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect("guest", settings))
        for spec in specs or (SPEC,):
            await bus.js.publish(f"$KV.{AGENTS}.{spec.name}", spec.model_dump_json().encode())
        here = House(bus, settings)
        wanted = Settings(beat=timedelta(seconds=beat_s), skills=skills)
        await stack.enter_async_context(_fakes(here, real_memory=real_memory))
        for _ in range(agents):
            await stack.enter_async_context(app(wanted, bus=settings))
        yield here


@asynccontextmanager
async def _fakes(here: House, *, real_memory: bool) -> AsyncGenerator[None]:
    async def forget(message: Msg) -> None:
        here.cancelled.append(message.subject)

    await here.bus.nc.subscribe("tool.cancelled.*", cb=forget)
    await here.bus.nc.subscribe("model.cancelled.*", cb=forget)
    async with AsyncExitStack() as stack:
        rooms = {"model-gateway": _models, "tool-executor": _tools, "memory": _memories}
        if real_memory:
            del rooms["memory"]
            await stack.enter_async_context(memory_app(bus=here.settings))
        for name, doors in rooms.items():
            room = await stack.enter_async_context(open_room(name, settings=here.settings))
            await room.serve(doors(here, room))
        try:
            yield
        finally:
            here.closing.set()


def _models(here: House, room: Room) -> Doors:
    doors = Doors(room.bus)
    replies = Ledger(room.bus, room.instance, bucket=REPLIES, answer=model.Chatted)

    @doors.answers(model.CHAT)
    async def chat(body: model.Chat) -> model.Chatted:
        async def work() -> model.Chatted:
            here.asked.append(body)
            answer = await here.mind(body)
            if body.deltas_to is not None:
                for index, word in enumerate(answer.message.text.split()):
                    await room.bus.say(body.deltas_to, model.Delta(sequence=index, kind="text", text=word))
            return answer

        answer, _ = await replies.once(body.request_id, body, work, ignoring={"deltas_to"})
        return answer

    @doors.answers(model.FIT)
    async def fit(body: model.Fit) -> model.Fitted:
        here.judged.append(body)
        if not here.judges:
            raise Overloaded("the gateway is busy")
        return model.Fitted(why_not=fit_of(body.json_schema).why_not(body.value))

    return doors


def _tools(here: House, room: Room) -> Doors:
    doors = Doors(room.bus)
    outcomes = Ledger(room.bus, room.instance, bucket=CALLS, answer=tool.Called)

    @doors.answers(tool.CALL, key="add")
    async def add(body: tool.Call) -> tool.Called:
        async def work() -> tool.Called:
            here.called.append(body)
            here.began.set()
            here.under_way += 1
            here.most_under_way = max(here.most_under_way, here.under_way)
            await here.work(here.tool_delay_s)
            here.under_way -= 1
            total = float(str(body.call.input["a"])) + float(str(body.call.input["b"]))
            text = plain(here.says or f"{total:g}")
            result = ToolResultBlock(id=body.call.id, name="add", output=text, state=here.ends)
            return tool.Called(result=result)

        answer, _ = await outcomes.once(body.call_id, body, work, ignoring={"deltas_to"})
        return answer

    @doors.answers(tool.LIST, queue="")
    async def listed(body: tool.List) -> tool.Listed:
        told = ADD.model_copy(update={"concurrent": here.concurrent, "external": here.external})
        return tool.Listed(host="fake", instance=new_id(), tools=[told])

    return doors


def _memories(here: House, room: Room) -> Doors:
    doors = Doors(room.bus)

    @doors.answers(memory.RECALL)
    async def recall(body: memory.Recall) -> memory.Recalled:
        return memory.Recalled(messages=here.sessions.get(body.session, []), position=memory.Position())

    @doors.answers(memory.APPEND)
    async def append(body: memory.Append) -> memory.Appended:
        log = here.sessions.setdefault(body.session, [])
        known = {message.id for message in log}
        fresh = [message for message in body.messages if message.id not in known]
        log.extend(fresh)
        return memory.Appended(added=len(fresh), position=memory.Position(session=len(log)))

    return doors
