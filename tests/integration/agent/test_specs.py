"""Agent specs: applied to a bucket, in force at once."""

import asyncio

from natscope.bus.streams import AGENTS
from natscope.contracts.agent import AgentSpec
from tests.integration.agent.house import SPEC, house


class TestAnAgentSpec:
    async def test_that_is_changed_is_in_force_for_the_next_task(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await here.run("first")
            changed = AgentSpec.model_validate(SPEC.model_dump() | {"system_prompt": "Changed."})
            await here.bus.js.publish(f"$KV.{AGENTS}.assistant", changed.model_dump_json().encode())
            await asyncio.sleep(0.1)
            await here.run("second")
            assert [asked.messages[0].text for asked in here.asked] == [
                "You help.",
                "You help.",
                "Changed.",
                "Changed.",
            ]

    async def test_that_is_removed_is_not_found(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await here.run("first")
            await here.bus.js.publish(f"$KV.{AGENTS}.assistant", b"", headers={"KV-Operation": "DEL"})
            await asyncio.sleep(0.1)
            outcome = await here.run("second")
            assert outcome.failure is not None
            assert outcome.failure.code == "agent_not_found"

    async def test_of_a_run_under_way_stays_what_it_was(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.tool_delay_s = 0.5
            body = await here.submit("first")
            await here.began.wait()
            changed = AgentSpec.model_validate(SPEC.model_dump() | {"system_prompt": "Changed."})
            await here.bus.js.publish(f"$KV.{AGENTS}.assistant", changed.model_dump_json().encode())
            await here.outcome(body.task_id)
            assert {asked.messages[0].text for asked in here.asked} == {"You help."}
