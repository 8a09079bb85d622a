"""kill -9 of the agent between a hook's word and what comes of it: hooks are asked once, and nothing is done twice."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from pydantic import SecretStr

import natscope
from natscope.bus import BusSettings
from natscope.contracts import memory
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolResultBlock, plain, text_of
from natscope.contracts.run import JOURNALED
from natscope.contracts.task import Submit
from natscope.hooks import Answer, Asked
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.e2e.processes import ProcessHouse, process_house
from tests.loopback.provider import Provider
from tests.loopback.replies import Call, Reply

CODE = 'import time; open("ran", "a").write("x"); time.sleep(0.5); print({}, len(open("ran").read()))'
MOMENTS = ("hooked before the model", "model under way", "hooked before the tool", "tool under way")
SPEC = AgentSpec.model_validate(
    {
        "name": "hooked",
        "system_prompt": "You help.",
        "tools": ["execute_python"],
        "hooks": [{"hook": "warden", "at": ["before_reasoning", "before_acting"], "deadline": 30}],
    }
)
DESK = SPEC.model_copy(update={"name": "desk", "strategy": "custom", "function": "hooked_desk:answer"})
FUNCTION = """
import natscope

@natscope.agent
async def answer(ctx, message):
    said = await ctx.model(message.text)
    return f"{said.text}: {(await ctx.tool('execute_python', {'code': '1'})).text.strip()}"
"""


async def reached(moment: str, house: ProcessHouse, task_id: str, provider: Provider) -> None:
    """Return when the run has come so far."""
    subscription = await house.bus.js.subscribe(JOURNALED.at(task_id), ordered_consumer=True)
    hooked = 0
    while hooked < (1 if moment in MOMENTS[:2] else 2):
        hooked += b'"entry":"hooked"' in (await subscription.next_msg(timeout=60)).data
    if moment == "model under way":
        while provider.total < 1:  # noqa: ASYNC110 - the provider counts, it does not tell
            await asyncio.sleep(0.005)
    elif moment == "tool under way":
        await asyncio.sleep(0.25)


async def killed(moment: str, house: ProcessHouse, agent: str, session: str, provider: Provider) -> list[str]:
    """Kill the agent service when a task has come so far, and return what it comes to after all."""
    task = Submit(content=plain(moment), session=session)
    await house.submit(task, agent)
    await reached(moment, house, task.task_id, provider)
    house.services["agent"].kill()
    await house.restart("agent")
    return [outcome.text for outcome in await house.outcomes(task.task_id)]


async def printed(house: ProcessHouse, session: str) -> str:
    """Return what the tool printed, from the session's memory."""
    recalled = await house.bus.ask(memory.RECALL, memory.Recall(session=session))
    (result,) = [b for m in recalled.messages for b in m.content if isinstance(b, ToolResultBlock)]
    return text_of(result.output).strip()


class TestKillingAHookedRun:
    @pytest.mark.timeout(600)
    async def test_between_a_word_and_its_effect_holds_to_the_word(self, tmp_path: Path) -> None:
        asked: Counter[tuple[str, str, int]] = Counter()

        @natscope.hook
        async def warden(about: Asked) -> Answer:
            asked[about.task, about.point, about.step] += 1
            times = asked[about.task, about.point, about.step]
            if about.point == "before_reasoning":
                return Answer(do="change", hint=f"Told {times} times.")
            return Answer(do="change", arguments={"code": CODE.format(times)})

        (tmp_path / "functions").mkdir()
        (tmp_path / "functions" / "hooked_desk.py").write_text(FUNCTION)
        telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=None))
        async with Provider(delay_s=0.3) as provider:
            environment = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": provider.url, "OPENAI_MODEL": "small-1"}
            environment["AGENT_FUNCTIONS"] = str(tmp_path / "functions")
            async with process_house(tmp_path, telemetry=telemetry, environment=environment) as house:
                await house.apply(SPEC, DESK)
                host = BusSettings.model_construct(
                    url=house.server.url, user="tool-host", password=SecretStr("of-tool-host"), credentials=None
                )
                async with natscope.serve_hooks(warden, settings=host):
                    for number, moment in enumerate(MOMENTS):
                        replies = Reply(calls=(Call("execute_python", '{"code": "1"}'),)), Reply(text=moment)
                        provider.queue(*replies)
                        assert await killed(moment, house, "hooked", f"s-{number}", provider) == [moment], house.logs()
                        assert provider.total == 2, (moment, house.logs())
                        assert await printed(house, f"s-{number}") == "1 1", (moment, house.logs())
                        provider.reset()
                        provider.queue(Reply(text=moment))
                        answers = await killed(moment, house, "desk", f"d-{number}", provider)
                        assert (answers, provider.total) == ([f"{moment}: 1 1"], 1), house.logs()
                        provider.reset()
        assert (len(asked), set(asked.values())) == ((3 + 2) * len(MOMENTS), {1})
