"""kill -9 of the agent service in the midst of a plan: no step is repeated, and each model call is paid once."""

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from natscope.bus import BusSettings, connect
from natscope.bus.streams import AGENTS
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import plain
from natscope.contracts.run import JOURNALED, Ended, StepEnded
from natscope.contracts.task import Submit
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.e2e.processes import ProcessHouse, process_house
from tests.loopback.provider import Provider, Request
from tests.loopback.replies import Call, Reply

PLANNER = AgentSpec(name="planner", system_prompt="You plan.", strategy="plan_execute")
STEPS = [
    {"id": "a", "do": "Do a."},
    {"id": "b", "do": "Do b."},
    {"id": "c", "do": "Do c.", "depends_on": ["a"]},
    {"id": "d", "do": "Do d.", "depends_on": ["b", "c"]},
]
MOMENTS = {"in the first steps": 2, "in the step behind one": 4}
"""How often the provider was asked by then."""


def answer(asked: Request) -> Reply:
    """Answer as planner or as step, whichever is asked."""
    said = json.dumps(asked["messages"])
    if not asked.get("tools"):
        step = said.split("Do this: Do ")[1][0]
        return Reply(text=f"{step} is done")
    if "Every step is done" in said:
        return Reply(text="All of it.")
    return Reply(calls=(Call("plan", json.dumps({"steps": STEPS})),))


class TestKillingAPlanner:
    @pytest.mark.timeout(600)
    async def test_in_the_midst_of_a_plan_repeats_no_step(self, tmp_path: Path) -> None:
        async with Provider(answer, delay_s=0.3) as provider:
            telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=None))
            environment = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": provider.url, "OPENAI_MODEL": "small-1"}
            async with process_house(tmp_path, telemetry=telemetry, environment=environment) as house:
                await _apply(house.server.url)
                for name, asked in MOMENTS.items():
                    provider.reset()
                    task = Submit(content=plain(name))
                    await house.submit(task, "planner")
                    while provider.total < asked:  # noqa: ASYNC110 - the provider counts, it does not tell
                        await asyncio.sleep(0.005)
                    house.services["agent"].kill()
                    await house.restart("agent")
                    outcomes = await house.outcomes(task.task_id)
                    assert [outcome.text for outcome in outcomes] == ["All of it."], (name, house.logs())
                    assert provider.total == 6, (name, house.logs())
                    assert sorted(await _ended(house, task.task_id)) == ["a", "b", "c", "d"], (name, house.logs())


async def _apply(url: str) -> None:
    admin = BusSettings.model_construct(url=url, user="admin", password=SecretStr("of-admin"), credentials=None)
    async with connect("admin", admin) as bus:
        await bus.js.publish(f"$KV.{AGENTS}.{PLANNER.name}", PLANNER.model_dump_json().encode())


async def _ended(house: ProcessHouse, task_id: str) -> list[str]:
    """Return the steps that the journal says have ended, each as often as it says so."""
    subscription = await house.bus.js.subscribe(JOURNALED.at(task_id), ordered_consumer=True)
    found: list[str] = []
    while True:
        entry = await house.bus.read(JOURNALED, await subscription.next_msg(timeout=30))
        if isinstance(entry, StepEnded):
            found.append(entry.name)
        if isinstance(entry, Ended):
            await subscription.unsubscribe()
            return found
