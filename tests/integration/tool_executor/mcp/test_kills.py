"""Random deaths under load: every call comes to an end that is one of those promised, and none acts twice."""

import asyncio
import os
import random
import signal
from contextlib import suppress
from typing import Any

import pytest

from natscope.contracts.errors import NatscopeError
from services.tool_executor.tools.port import Result
from tests.loopback.mcp_house import McpHouse, Up, took

KILLS = 20


async def kill(house: McpHouse, dice: random.Random) -> None:
    """Kill some process of the house, now and then."""
    for _ in range(KILLS):
        await asyncio.sleep(dice.uniform(0.02, 0.15))
        processes = house.processes()
        if processes:
            with suppress(ProcessLookupError):
                os.kill(dice.choice(processes), dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP]))


async def call_on(up: Up, killing: "asyncio.Task[None]", name: str) -> list[tuple[str, Any]]:
    """Call until nobody is killed any more; each call says its own name."""
    outcomes: list[tuple[str, Any]] = []
    while not killing.done():
        text = f"{name}-{len(outcomes)}"
        outcome, seconds = await took(up.call("note", text=text, deadline_s=1.0))
        assert seconds < 40
        outcomes.append((text, outcome))
    return outcomes


class TestRandomKills:
    @pytest.mark.parametrize("session", ["lasting", "per_call"])
    async def test_of_servers_and_wardens_leave_no_call_without_an_end(self, house: McpHouse, session: str) -> None:
        dice = random.Random(20)
        async with house.bare(session=session, start_s=3).up() as up:
            await up.call("note", text="first")
            killing = asyncio.create_task(kill(house, dice))
            rounds = await asyncio.gather(*(call_on(up, killing, f"c{each}") for each in range(4)))
            for process in house.processes():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)
            last, _ = await took(up.call("note", text="last", deadline_s=60))
        outcomes = [outcome for calls in rounds for outcome in calls]
        assert isinstance(last, Result)
        assert all(isinstance(outcome, Result | NatscopeError) for _, outcome in outcomes)
        acted = house.lines
        for text, outcome in outcomes:
            times = sum(f"'{text}'" in line for line in acted)
            assert times <= 1, text
            if isinstance(outcome, Result) and outcome.state == "success":
                assert times == 1, text
            if isinstance(outcome, NatscopeError):
                assert times == 0, text
