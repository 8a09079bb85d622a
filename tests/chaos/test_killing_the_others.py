"""kill -9 of each room and of the server during a run: one outcome, and nothing that was done is done again."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors
import pytest
import pytest_asyncio

from natscope.client import looking
from natscope.contracts import memory
from natscope.contracts.blocks import ToolResultBlock, plain, text_of
from natscope.contracts.event import HAPPENED
from natscope.contracts.run import JOURNALED
from natscope.contracts.task import Finished, Submit
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.e2e.processes import ProcessHouse, process_house
from tests.loopback.provider import Provider
from tests.loopback.replies import Call, Reply

PLATFORM = f"test-{uuid.uuid4().hex[:8]}"
"""Written on every cell of this house."""
CODE = """
import time
print("be" + "gun", flush=True)
open("ran", "a").write("x")
time.sleep(1.5)
print("executions:", len(open("ran").read()))
"""
"""Says that it has begun, and counts its own executions in the session's workspace."""
BEGUN = b"begun"
TOOL_CALL = Call("execute_python", json.dumps({"code": CODE}))


@dataclass
class Stage:
    """The house and the provider that its model calls go to."""

    house: ProcessHouse
    provider: Provider

    async def begin(self, *replies: Reply, session: str | None = None, text: str = "Hello") -> Submit:
        """Submit a task to which the provider answers with `replies`."""
        self.provider.reset()
        self.provider.queue(*replies)
        task = Submit(content=plain(text), session=session or f"s-{uuid.uuid4().hex[:8]}", stream=True)
        await self.house.submit(task)
        return task

    async def asked(self, times: int) -> None:
        """Return when the provider has been asked so often."""
        await until(lambda: self.provider.total >= times)

    async def in_the_tool(self, task: Submit) -> None:
        """Return when the task's tool runs."""
        subscription = await self.house.bus.js.subscribe(HAPPENED.at(task.task_id), ordered_consumer=True)
        while BEGUN not in (await subscription.next_msg(timeout=30)).data:
            pass
        await subscription.unsubscribe()

    async def executions(self, task: Submit) -> int:
        """Return how often the task's tool has said that it has begun."""
        told = [each.data for each in await looking.page(self.house.bus, "EVENTS", HAPPENED.at(task.task_id))]
        return sum(BEGUN in event and b'"tool_result"' not in event for event in told)

    async def replied(self, task: Submit) -> None:
        """Return when the task's first model call is in its journal."""
        subscription = await self.house.bus.js.subscribe(JOURNALED.at(task.task_id), ordered_consumer=True)
        while b'"model_replied"' not in (await subscription.next_msg(timeout=30)).data:
            pass
        await subscription.unsubscribe()

    async def outcome(self, task: Submit) -> Finished:
        """Return the one outcome of a task."""
        outcomes = await self.house.outcomes(task.task_id)
        assert len(outcomes) == 1, self.house.logs()
        return outcomes[0]

    async def recalled(self, task: Submit) -> memory.Recalled:
        """Return what the task's session holds."""
        return await self.house.bus.ask(memory.RECALL, memory.Recall(session=task.session or ""))

    async def result(self, task: Submit) -> ToolResultBlock:
        """Return the only tool result of the task's session."""
        messages = (await self.recalled(task)).messages
        results = [block for each in messages for block in each.content if isinstance(block, ToolResultBlock)]
        assert len(results) == 1
        return results[0]


async def until(true: Callable[[], bool], *, within_s: float = 40) -> None:
    """Return when `true` is."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@asynccontextmanager
async def killed(stage: Stage, name: str) -> AsyncIterator[None]:
    """A service that is dead while the body runs, and back afterwards."""
    stage.house.services[name].kill()
    try:
        yield
    finally:
        await stage.house.restart(name)


@asynccontextmanager
async def server_killed(stage: Stage) -> AsyncIterator[None]:
    """The server dead while the body runs, and back in its folder afterwards."""
    stage.house.server.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(stage.house.server.start)
        await until(lambda: stage.house.bus.nc.is_connected)


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One house for all kills; each leaves it whole."""
    folder: Path = tmp_path_factory.mktemp("house")
    telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=None))
    async with Provider() as provider:
        environment = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": provider.url, "OPENAI_MODEL": "small-1"}
        environment["TOOL_EXECUTOR_PLATFORM"] = PLATFORM
        async with process_house(folder, telemetry=telemetry, environment=environment) as house:
            yield Stage(house, provider)


@pytest.mark.asyncio(loop_scope="class")
@pytest.mark.timeout(600)
class TestKillingTheOthers:
    async def test_a_gateway_that_dies_asks_again_for_what_it_had_not_finished_alone(self, stage: Stage) -> None:
        task = await stage.begin(Reply(calls=(TOOL_CALL,)), Reply(text="lost", delay_s=8), Reply(text="done"))
        await stage.asked(2)
        async with killed(stage, "model-gateway"):
            pass
        assert (await stage.outcome(task)).text == "done"
        bodies = list(stage.provider.by_body.values())
        assert (bodies[0], len(bodies)) == (1, 2), stage.house.logs()
        assert bodies[1] == 2
        assert text_of((await stage.result(task)).output).splitlines() == ["begun", "executions: 1"]

    async def test_a_tool_executor_that_dies_leaves_an_unknown_result_and_no_cell(self, stage: Stage) -> None:
        task = await stage.begin(Reply(calls=(TOOL_CALL,)), Reply(text="done"))
        await stage.in_the_tool(task)
        async with killed(stage, "tool-executor"):
            pass
        assert (await stage.outcome(task)).text == "done"
        result = await stage.result(task)
        assert result.state == "unknown", stage.house.logs()
        said = text_of(result.output)
        assert "may or may not have acted" in said or "was not carried out again" in said
        assert (await stage.executions(task), stage.provider.total) == (1, 2)
        await until(lambda: not cells_of(task.session or ""))

    async def test_a_memory_that_dies_has_each_message_of_a_session_once(self, stage: Stage) -> None:
        first = await stage.begin(Reply(text="one", delay_s=1), text="x" * 1_000_000)
        await stage.asked(1)
        async with killed(stage, "memory"):
            await stage.replied(first)
        assert (await stage.outcome(first)).text == "one"
        second = await stage.begin(Reply(text="two"), session=first.session, text="again")
        await stage.replied(second)
        async with killed(stage, "memory"):
            pass
        assert (await stage.outcome(second)).text == "two"
        assert stage.provider.total == 1
        messages = (await stage.recalled(second)).messages
        assert [text_of(each.content)[:5] for each in messages] == ["xxxxx", "one", "again", "two"]
        assert len({each.id for each in messages}) == 4

    async def test_a_server_that_dies_costs_time_and_nothing_else(self, stage: Stage) -> None:
        task = await stage.begin(Reply(calls=(TOOL_CALL,)), Reply(text="done", delay_s=2))
        await stage.in_the_tool(task)
        async with server_killed(stage):
            await asyncio.sleep(1)
        await stage.asked(2)
        async with server_killed(stage):
            await asyncio.sleep(0.5)
        assert (await stage.outcome(task)).text == "done"
        assert stage.provider.total == 2
        assert text_of((await stage.result(task)).output).splitlines() == ["begun", "executions: 1"]


def cells_of(session: str) -> list[str]:
    """Return a session's containers in this house; where no engine answers, cells end with their executor."""
    try:
        engine = docker.from_env(timeout=20)
    except docker.errors.DockerException:
        return []
    with closing(engine):
        labels = [f"natscope.platform={PLATFORM}", f"natscope.session={session}"]
        return [each.name or "" for each in engine.containers.list(all=True, filters={"label": labels})]
