"""kill -9 of the agent between each pair of steps: one outcome, each model call and each tool execution done once."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from natscope.contracts import memory
from natscope.contracts.blocks import ToolResultBlock, plain, text_of
from natscope.contracts.event import HAPPENED
from natscope.contracts.run import JOURNALED
from natscope.contracts.task import Submit
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.e2e.processes import ProcessHouse, process_house
from tests.loopback.provider import Provider
from tests.loopback.replies import Call, Reply

CODE = 'import time; open("ran", "a").write("x"); time.sleep(0.5); print("executions:", len(open("ran").read()))'
"""Counts its own executions in the session's workspace, which outlives the agent."""
ENTRIES = ("started", "model_replied", "tool_returned", "model_replied", "ended")
Moment = Callable[[ProcessHouse, str, Provider], Awaitable[None]]


def _after_entry(count: int) -> Moment:
    async def wait(house: ProcessHouse, task_id: str, provider: Provider) -> None:
        subscription = await house.bus.js.subscribe(JOURNALED.at(task_id), ordered_consumer=True)
        for _ in range(count):
            await subscription.next_msg(timeout=30)

    return wait


async def _during_the_first_model_call(house: ProcessHouse, task_id: str, provider: Provider) -> None:
    while provider.total < 1:  # noqa: ASYNC110 - the provider counts, it does not tell
        await asyncio.sleep(0.005)


async def _during_the_tool(house: ProcessHouse, task_id: str, provider: Provider) -> None:
    subscription = await house.bus.js.subscribe(HAPPENED.at(task_id), ordered_consumer=True)
    while b'"tool_call_end"' not in (await subscription.next_msg(timeout=30)).data:
        pass
    await asyncio.sleep(0.25)


MOMENTS: dict[str, Moment] = {
    **{f"after_entry_{n + 1}_{entry}": _after_entry(n + 1) for n, entry in enumerate(ENTRIES)},
    "during_the_first_model_call": _during_the_first_model_call,
    "during_the_tool": _during_the_tool,
}


class TestKillingTheAgent:
    @pytest.mark.timeout(900)
    async def test_at_any_moment_leaves_one_outcome_and_nothing_done_twice(self, tmp_path: Path) -> None:
        async with Provider(delay_s=0.3) as provider:
            telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=None))
            environment = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": provider.url, "OPENAI_MODEL": "small-1"}
            async with process_house(tmp_path, telemetry=telemetry, environment=environment) as house:
                for name, moment in MOMENTS.items():
                    provider.reset()
                    code = CODE.replace('"', '\\"')
                    calls = (Call("execute_python", f'{{"code": "{code}"}}'),)
                    provider.queue(Reply(calls=calls), Reply(text=f"done {name}"))
                    task = Submit(content=plain(name), session=f"s-{name}"[:64])
                    await house.submit(task)
                    await moment(house, task.task_id, provider)
                    house.services["agent"].kill()
                    await house.restart("agent")
                    outcomes = await house.outcomes(task.task_id)
                    assert [outcome.text for outcome in outcomes] == [f"done {name}"], house.logs()
                    assert provider.total == 2, (name, house.logs())
                    assert await _executions(house, task.session or "") == "executions: 1", (name, house.logs())

    @pytest.mark.timeout(600)
    async def test_a_terminated_agent_hands_its_runs_over_at_once(self, tmp_path: Path) -> None:
        async with Provider(delay_s=1.5) as provider:
            telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=None))
            environment = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": provider.url, "OPENAI_MODEL": "small-1"}
            async with process_house(tmp_path, telemetry=telemetry, environment=environment, ack_wait_s=60) as house:
                provider.queue(Reply(text="handed over"))
                task = Submit(content=plain("Hello"))
                await house.submit(task)
                await _during_the_first_model_call(house, task.task_id, provider)
                assert house.services["agent"].end() == 0
                await house.restart("agent")
                outcomes = await house.outcomes(task.task_id, within_s=20)
                assert [outcome.text for outcome in outcomes] == ["handed over"]
                assert provider.total == 1


async def _executions(house: ProcessHouse, session: str) -> str:
    """Return what the tool printed, from the session's memory."""

    recalled = await house.bus.ask(memory.RECALL, memory.Recall(session=session))
    results = [b for m in recalled.messages for b in m.content if isinstance(b, ToolResultBlock)]
    assert len(results) == 1
    return text_of(results[0].output).strip()
