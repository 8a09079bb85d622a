"""Agents that are functions: durable, whoever dies, and told in plain words where they are wrong."""

import asyncio
import gc
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue

from natscope.client import Ticket, looking
from natscope.contracts import model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision
from natscope.contracts.contract import new_id
from natscope.contracts.run import JOURNALED
from natscope.contracts.task import INTERRUPT, STEER, Interrupt, Steer
from services.agent.app import app
from services.agent.journal import Journal
from services.agent.settings import Settings
from tests.integration.agent.house import House, house, reply
from tests.integration.agent.test_waiting import decide, waiting

STUBBORN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Python itself complains of a coroutine that cannot be closed, once it is collected: the test sees to that."""
FOLDER = Path(__file__).with_name("functions")


def spec(name: str, **more: object) -> AgentSpec:
    told = {"name": "assistant", "system_prompt": "You help.", "strategy": "custom", "tools": ["add"]}
    return AgentSpec.model_validate(told | {"function": f"night_desk:{name}"} | more)


def agents(here: House) -> AbstractAsyncContextManager[None]:
    return app(Settings(functions=FOLDER, beat=timedelta(seconds=0.5)), bus=here.settings)


async def echoes(asked: model.Chat) -> model.Chatted:
    """A model that says what it was asked, as far as that is always the same."""
    return reply(asked.messages[-1].text.split(" 2")[0])


class TestAFunction:
    async def test_asks_models_and_tools_and_its_answer_is_the_tasks(self, nats_url: str) -> None:
        async with house(nats_url, spec("sums"), agents=0) as here, agents(here):
            here.mind = echoes
            outcome = await here.run("Go.", session="s")
            told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
        assert (outcome.state, outcome.text) == ("completed", "A word. 5: A word. 5")
        assert (outcome.model_calls, outcome.tool_calls, outcome.usage.input_tokens) == (2, 1, 20)
        assert [message.text for message in here.sessions["s"]] == ["Go.", outcome.text]
        assert {asked.messages[0].text for asked in here.asked} == {"You help."}
        kinds = [each.type for each in told]
        assert (kinds.count("model_call_end"), kinds.count("tool_result"), kinds[-1]) == (2, 1, "reply_end")

    async def test_is_told_what_its_session_remembers(self, nats_url: str) -> None:
        async with house(nats_url, spec("recalls"), agents=0) as here, agents(here):
            await here.run("First.", session="s")
            outcome = await here.run("Second.", session="s")
        assert outcome.text == "First. |  | Second."

    async def test_goes_on_in_another_process_and_nothing_is_paid_or_done_twice(self, nats_url: str) -> None:
        async with house(nats_url, spec("sums"), agents=0) as here:
            asked_last, gate = asyncio.Event(), asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                if asked.messages[-1].text != "A word.":
                    asked_last.set()
                    await gate.wait()
                return await echoes(asked)

            here.mind = mind
            async with agents(here):
                task = await here.submit("Go.")
                async with asyncio.timeout(20):
                    await asked_last.wait()
            gate.set()
            async with agents(here):
                outcome = await here.outcome(task.task_id)
        assert outcome.text == "A word. 5: A word. 5"
        assert (len(here.asked), len(here.called), outcome.usage.input_tokens) == (2, 1, 20)

    async def test_holds_its_tools_to_the_agents_permissions(self, nats_url: str) -> None:
        rules = {"rules": [{"tool": "add", "behaviour": "ask"}]}
        async with house(nats_url, spec("sums", permissions=rules), agents=0) as here, agents(here):
            here.mind = echoes
            task = await here.submit("Go.")
            (wait,) = await waiting(here, task)
            assert (wait.kind, wait.call.input, here.called) == ("approval", {"a": 2, "b": 3}, [])
            await decide(here, task, Decision(call_id=wait.call_id, verdict="approve", arguments={"a": 4, "b": 4}))
            assert (await here.outcome(task.task_id)).text == "A word. 8: A word. 8"

    async def test_is_interrupted_while_a_model_writes(self, nats_url: str) -> None:
        async with house(nats_url, spec("sums"), agents=0) as here, agents(here):
            began = asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                began.set()
                await here.work(30)
                return reply("too late")

            here.mind = mind
            task = await here.submit("Go.")
            await began.wait()
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            outcome = await here.outcome(task.task_id)
            await here.bus.nc.flush()
        assert outcome.state == "interrupted"
        assert f"model.cancelled.{task.task_id}-c0-0-0" in here.cancelled

    @STUBBORN
    @pytest.mark.parametrize("end", ["interrupted", "deadline"])
    async def test_is_ended_whatever_it_makes_of_it(self, nats_url: str, end: str) -> None:
        limits = {"deadline": 2} if end == "deadline" else {}
        async with house(nats_url, spec("clings", limits=limits), agents=0) as here, agents(here):
            began = asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                began.set()
                await here.work(30)
                return reply("too late")

            here.mind = mind
            task = await here.submit("Go.")
            await began.wait()
            if end == "interrupted":
                await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            outcome = await here.outcome(task.task_id)
        gc.collect()
        assert end in (outcome.state, outcome.limit)
        assert len(here.asked) == 1

    @STUBBORN
    async def test_holds_up_nobody_by_what_it_catches(self, nats_url: str) -> None:
        other = spec("steps").model_copy(update={"name": "other"})
        async with house(nats_url, spec("naps_on"), other, agents=0) as here, agents(here):
            here.mind = echoes
            outcome = await here.run("Go.")
            assert (outcome.state, outcome.failure and outcome.failure.code) == ("failed", "spec_invalid")
            assert (await here.run("Go.", agent="other")).state == "completed"
        gc.collect()

    async def test_is_interrupted_while_it_asks_for_what_comes_at_once(self, nats_url: str) -> None:
        async with house(nats_url, spec("spins"), agents=0) as here, agents(here):
            task = await here.submit("Go.")
            stream, subject = JOURNALED.stream or "", JOURNALED.at(task.task_id)
            async with asyncio.timeout(60):
                while await looking.last(here.bus, stream, subject) is None:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            outcome = await here.outcome(task.task_id)
        assert outcome.state == "interrupted"

    async def test_is_stopped_at_a_limit_of_its_agent(self, nats_url: str) -> None:
        async with house(nats_url, spec("spends", limits={"max_steps": 3}), agents=0) as here, agents(here):
            here.mind = echoes
            outcome = await here.run("Go.")
        assert (outcome.state, outcome.limit, len(here.asked)) == ("limited", "max_steps", 3)

    async def test_asks_for_a_judgment_and_answers_again_and_pays_once_whoever_dies(self, nats_url: str) -> None:
        async with house(nats_url, spec("edited"), agents=0) as here:
            again, gate = asyncio.Event(), asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                text = asked.messages[-1].text
                if asked.output is not None:
                    found: list[JsonValue] = ["It is short."] if "'Draft.'" in text else []
                    return reply("").model_copy(update={"output": {"objections": found}})
                if "Mind" not in text:
                    return reply("Draft.")
                again.set()
                await gate.wait()
                return reply("A longer draft.")

            here.mind = mind
            async with agents(here):
                task = await here.submit("Write.")
                async with asyncio.timeout(30):
                    await again.wait()
            gate.set()
            async with agents(here):
                outcome = await here.outcome(task.task_id)
        assert (outcome.state, outcome.text) == ("completed", "A longer draft.")
        assert [asked.messages[-1].text for asked in here.asked] == [
            "Write.",
            "What is wrong with 'Draft.'?",
            "Write. Mind: ['It is short.']",
            "What is wrong with 'A longer draft.'?",
        ]

    @pytest.mark.parametrize(
        ("function", "said", "code"),
        [
            ("half_said", "model", "spec_invalid"),
            ("half_said", "tool", "spec_invalid"),
            ("half_said", "answer", "spec_invalid"),
            ("half_said", "caught", None),
            ("endless_number", "", "spec_invalid"),
            ("feels_fenced", "", "function_failed"),
        ],
    )
    async def test_is_told_at_once_what_no_message_can_carry_and_no_run_can_be_ended_with(
        self, nats_url: str, function: str, said: str, code: str | None
    ) -> None:
        async with house(nats_url, spec(function), agents=0) as here, agents(here):
            outcome = await here.run(said or "Go.")
            kinds = [entry.entry for entry in await Journal(here.bus, outcome.task_id).read()]
        assert (outcome.failure and outcome.failure.code, kinds.count("resumed"), here.asked) == (code, 0, [])
        assert outcome.text == (said if code is None else "")

    async def test_asks_for_no_more_at_once_than_in_all(self, nats_url: str) -> None:
        async with house(nats_url, spec("swarms"), agents=0) as here, agents(here):
            outcome = await here.run("Go.")
        assert (outcome.state, outcome.failure and outcome.failure.code) == ("failed", "budget_exhausted")

    async def test_asks_other_agents_at_once_and_no_strangers(self, nats_url: str) -> None:
        one = AgentSpec(name="one", system_prompt="One.")
        async with house(nats_url, spec("leads", agents=["one"]), one, agents=0) as here, agents(here):
            here.mind = echoes
            outcome = await here.run("Go.")
        assert outcome.text == "Go. | Go on. | Refused"
        assert (len(here.asked), outcome.usage.input_tokens) == (2, 20)


class TestAFunctionThatWaits:
    async def test_for_a_person_outlives_every_process(self, nats_url: str) -> None:
        async with house(nats_url, spec("careful"), agents=0) as here:
            here.mind = echoes
            async with agents(here):
                task = await here.submit("Go.")
                (wait,) = await waiting(here, task)
            assert (wait.kind, wait.reason) == ("approval", "Send 'Draft.'?")
            async with agents(here):
                changed = Decision(call_id=wait.call_id, verdict="approve", arguments={"to": "one"})
                await decide(here, task, changed)
                outcome = await here.outcome(task.task_id)
        assert outcome.output == {"sent": "Send.", "to": "one"}
        assert [asked.messages[-1].text for asked in here.asked] == ["Draft.", "Send."]

    async def test_is_told_why_not(self, nats_url: str) -> None:
        async with house(nats_url, spec("careful"), agents=0) as here, agents(here):
            here.mind = echoes
            task = await here.submit("Go.")
            (wait,) = await waiting(here, task)
            await Ticket(here.bus, task.task_id).decide(
                Decision(call_id=wait.call_id, verdict="deny", reason="too early")
            )
            outcome = await here.outcome(task.task_id)
        assert outcome.output == {"sent": False, "why": "too early"}

    async def test_for_a_person_waits_no_longer_than_it_says(self, nats_url: str) -> None:
        async with house(nats_url, spec("unheard"), agents=0) as here, agents(here):
            outcome = await here.run("Go.")
        assert "approved=False reason='nobody has decided in time'" in outcome.text

    async def test_for_a_time_sleeps_without_a_process(self, nats_url: str) -> None:
        async with house(nats_url, spec("sleepy"), agents=0) as here, agents(here):
            here.mind = echoes
            outcome = await here.run("Go.")
            entries = await Journal(here.bus, outcome.task_id).read()
        assert (outcome.text, len(here.asked)) == ("Before., then After.", 2)
        assert [each.entry for each in entries].count("parked") == 1

    async def test_hears_what_it_was_told_meanwhile(self, nats_url: str) -> None:
        async with house(nats_url, spec("waits"), agents=0) as here, agents(here):
            task = await here.submit("Go.", session="s")
            (wait,) = await waiting(here, task)
            for said in ("Hurry", "Now"):
                steer = Steer.model_validate({"content": said, "redirect": said == "Now"})
                await here.bus.submit(STEER, steer, task.task_id, message_id=new_id())
            await decide(here, task, Decision(call_id=wait.call_id, verdict="approve"))
            outcome = await here.outcome(task.task_id)
        assert outcome.text == "Hurry and Now"
        assert [message.text for message in here.sessions["s"]] == ["Go.", "Hurry", "Now", "Hurry and Now"]

    async def test_can_be_interrupted(self, nats_url: str) -> None:
        async with house(nats_url, spec("careful"), agents=0) as here, agents(here):
            here.mind = echoes
            task = await here.submit("Go.")
            await waiting(here, task)
            await here.bus.submit(INTERRUPT, Interrupt(), task.task_id, message_id=new_id())
            assert (await here.outcome(task.task_id)).state == "interrupted"


class TestAFunctionThatIsWrong:
    async def test_is_named_when_it_asks_for_something_else_than_before(self, nats_url: str) -> None:
        async with house(nats_url, spec("drifts"), agents=0) as here, agents(here):
            here.mind = echoes
            task = await here.submit("Go.")
            (wait,) = await waiting(here, task)
            await decide(here, task, Decision(call_id=wait.call_id, verdict="approve"))
            outcome = await here.outcome(task.task_id)
        assert outcome.failure is not None
        assert (outcome.state, outcome.failure.code, len(here.asked)) == ("failed", "run_diverged", 1)
        assert outcome.failure.details["position"] == "0"
        assert "at 0 the journal has model" in outcome.failure.message

    async def test_is_named_by_the_field_that_names_it(self, nats_url: str) -> None:
        async with house(nats_url, spec("nobody"), agents=0) as here, agents(here):
            outcome = await here.run("Go.")
        assert outcome.failure is not None
        assert outcome.failure.code == "spec_invalid"
        assert outcome.failure.message == (
            "agent 'assistant': function: 'night_desk:nobody': night_desk has no 'nobody'"
        )

    async def test_fails_with_what_it_did(self, nats_url: str) -> None:
        wrong = ("breaks", "strange", "naps")
        async with (
            house(nats_url, *(spec(name).model_copy(update={"name": name}) for name in wrong), agents=0) as here,
            agents(here),
        ):
            outcomes = [await here.run("Go.", agent=name) for name in wrong]
        told = [(each.failure.code, each.failure.message) for each in outcomes if each.failure is not None]
        assert told == [
            ("function_failed", "the agent's function has raised KeyError: 'drawer'"),
            ("spec_invalid", "the function has returned object, which is no answer"),
            ("spec_invalid", "the function has awaited Future, which is none of its ctx"),
        ]
