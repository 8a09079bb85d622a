"""kill -9 of the agent service while a team works: nothing is assigned, told or paid twice, and nobody hears twice."""

import asyncio
import json
from pathlib import Path

import pytest

from natscope.client import looking
from natscope.contracts.agent import AgentSpec, Team
from natscope.contracts.blocks import plain
from natscope.contracts.hub import SAID
from natscope.contracts.task import Submit
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.e2e.processes import ProcessHouse, process_house
from tests.loopback.provider import Provider, Request
from tests.loopback.replies import Call, Reply

SPECS = (
    AgentSpec(name="lead", system_prompt="You lead.", team=Team(agents=["mate"])),
    AgentSpec(name="mate", system_prompt="You help."),
)
MOMENTS = {"while-all-work": 3, "while-one-works-again": 6}
"""How often the provider was asked by then."""
ASKED = 8
"""The leader three times, both members twice at first (they tell something, and answer), and one of them again."""


def answer(asked: Request) -> Reply:
    """Answer as leader or as member, whichever is asked."""
    said = json.dumps(asked["messages"])
    names = {tool["function"]["name"] for tool in asked["tools"]}
    done = sum(message["role"] == "tool" for message in asked["messages"])
    if "assign" in names:
        if done == 0:
            calls = [{"agent": "mate", "member": name, "message": "Begin."} for name in ("ann", "bob")]
            return Reply(calls=tuple(Call("assign", json.dumps(each), id=each["member"]) for each in calls))
        if "again" not in said:
            return Reply(
                calls=(Call("assign", json.dumps({"agent": "mate", "member": "ann", "message": "Go again."})),)
            )
        return Reply(text="All of it.")
    name = "ann" if "You are 'ann'" in said else "bob"
    if "Go again." in said:
        return Reply(text=f"{name} again, with {said.count('bob has begun')} word")
    return (
        Reply(text=f"{name} is done")
        if done
        else Reply(calls=(Call("tell_team", f'{{"message": "{name} has begun"}}'),))
    )


class TestKillingALeader:
    @pytest.mark.timeout(600)
    async def test_and_its_members_repeats_nothing(self, tmp_path: Path) -> None:
        async with Provider(answer, delay_s=0.3) as provider:
            telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=None))
            environment = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": provider.url, "OPENAI_MODEL": "small-1"}
            async with process_house(tmp_path, telemetry=telemetry, environment=environment) as house:
                await house.apply(*SPECS)
                for name, asked in MOMENTS.items():
                    provider.reset()
                    task = Submit(content=plain("Build it."), session=name)
                    await house.submit(task, "lead")
                    while provider.total < asked:  # noqa: ASYNC110 - the provider counts, it does not tell
                        await asyncio.sleep(0.005)
                    house.services["agent"].kill()
                    await house.restart("agent")
                    outcomes = await house.outcomes(task.task_id)
                    assert [outcome.text for outcome in outcomes] == ["All of it."], (name, outcomes, house.logs())
                    assert provider.total == ASKED, (name, outcomes, house.logs())
                    said = await _said(house, f"team-{name}")
                    told = ["ann has begun", "ann is done", "bob has begun", "bob is done"]
                    assert sorted(said) == sorted([*told, "ann again, with 1 word"]), (name, outcomes, house.logs())


async def _said(house: ProcessHouse, hub: str) -> list[str]:
    """Return all that was said in a hub, as often as it was."""
    kept = await looking.page(house.bus, "HUB", SAID.at(hub))
    return [(await house.bus.read(SAID, each)).message.text for each in kept]
