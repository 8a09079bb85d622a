"""Hooks on the wire: they change, replace and refuse what a run does, and who takes the run over holds to it."""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

import natscope
from natscope.client import Ticket
from natscope.contracts import event, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision
from natscope.contracts.blocks import ToolResultBlock, text_of
from natscope.contracts.errors import RunFenced
from natscope.contracts.hook import ASK
from natscope.contracts.run import Hooked
from natscope.contracts.task import Finished
from natscope.hooks import Answer, Asked
from services.agent.app import app
from services.agent.journal import Journal
from services.agent.settings import Settings
from tests.integration.agent.house import SPEC, House, call, house, reply
from tests.integration.agent.test_compressing import adds, is_summary
from tests.integration.agent.test_functions import FOLDER
from tests.integration.agent.test_own_tools import ADDS, says
from tests.integration.agent.test_waiting import decide, waiting


def spec(*hooks: dict[str, Any], **more: Any) -> AgentSpec:
    return AgentSpec.model_validate(SPEC.model_dump() | {"hooks": list(hooks)} | more)


def warden(name: str, *at: str, **more: Any) -> dict[str, Any]:
    return {"hook": f"wardens:{name}", "at": list(at), **more}


def agents(here: House) -> AbstractAsyncContextManager[None]:
    return app(Settings(functions=FOLDER, beat=timedelta(seconds=0.5)), bus=here.settings)


def asked(task_id: str) -> list[Asked]:
    """Return what the hooks of the folder were asked about a task."""
    return sys.modules["wardens"].asked[task_id]


async def hooked(here: House, outcome: Finished) -> list[event.Hooked]:
    told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
    return [each for each in told if isinstance(each, event.Hooked)]


async def kinds(here: House, outcome: Finished) -> list[str]:
    return [entry.entry for entry in await Journal(here.bus, outcome.task_id).read()]


def result(chat: model.Chat) -> ToolResultBlock:
    (found,) = [block for m in chat.messages for block in m.content if isinstance(block, ToolResultBlock)]
    return found


EVERYWHERE = (
    *("before_reply", "system_prompt", "before_reasoning", "before_model_call", "after_model_call", "after_reasoning"),
    *("permission", "before_acting", "after_acting", "after_reply"),
)


class TestAHook:
    async def test_changes_what_goes_in_and_what_comes_out_at_each_point(self, nats_url: str) -> None:
        async with house(nats_url, spec(warden("changes", *EVERYWHERE)), agents=0) as here, agents(here):
            here.mind = says(call(ADDS), reply("It is 40."))
            outcome = await here.run("Add.", session="s")
            points = [each.point for each in asked(outcome.task_id)]
        first, second = here.asked
        assert [message.text for message in first.messages] == ["You help. Politely.", "Add, please.", "Step 1."]
        assert (second.messages[0].text, second.messages[-1].text) == ("You help. Politely.", "Step 2.")
        assert {first.model, second.model} == {"other"}
        assert [each.call.input for each in here.called] == [{"a": 20, "b": 20}]
        assert text_of(result(second).output) == "40!"
        assert outcome.text == "It is 40. So it is. Amen."
        assert here.sessions["s"][-1].text == outcome.text
        steps = ["before_reasoning", "before_model_call", "after_model_call", "after_reasoning"]
        acting = ["permission", "before_acting", "after_acting"]
        assert points == ["before_reply", "system_prompt", *steps, *acting, *steps, "after_reply"]

    async def test_that_changes_nothing_leaves_no_trace_in_the_journal(self, nats_url: str) -> None:
        async with house(nats_url, spec(warden("watches", *EVERYWHERE)), agents=0) as here, agents(here):
            outcome = await here.run("Add.")
            assert len(asked(outcome.task_id)) == 14
            assert "hooked" not in await kinds(here, outcome)
            assert await hooked(here, outcome) == []
        assert (outcome.state, outcome.text) == ("completed", "It is 4.")

    async def test_that_stands_first_is_the_outermost(self, nats_url: str) -> None:
        around = spec(
            warden("doubles", "before_acting"),
            warden("changes", "after_acting"),
            warden("watches", "before_acting", "after_acting"),
        )
        async with house(nats_url, around, agents=0) as here, agents(here):
            outcome = await here.run("Add.")
            before, after, final = asked(outcome.task_id)
        assert (before.call and before.call.input) == {"a": 4, "b": 4}
        assert [each.result and text_of(each.result.output) for each in (after, final)] == ["8", "8"]
        assert outcome.text == "It is 8!."

    async def test_refuses_a_call_and_the_model_is_told_why(self, nats_url: str) -> None:
        async with house(nats_url, spec(warden("forbids", "before_acting")), agents=0) as here, agents(here):
            outcome = await here.run("Add.")
            (told,) = await hooked(here, outcome)
        assert (here.called, result(here.asked[1]).state) == ([], "denied")
        assert outcome.text == "It is It was refused, nothing ran: not on a Sunday."
        assert (told.point, told.hook, told.do, told.reason) == (
            *("before_acting", "wardens:forbids", "refuse"),
            "not on a Sunday",
        )

    async def test_stands_around_the_calls_of_its_tools_alone(self, nats_url: str) -> None:
        other = warden("forbids", "before_acting", "permission", tools=["send_*"])
        async with house(nats_url, spec(other), agents=0) as here, agents(here):
            assert (await here.run("Add.")).text == "It is 4."

    async def test_stands_for_a_tool_or_a_model(self, nats_url: str) -> None:
        tools = spec(warden("answers", "before_acting"))
        models = spec(warden("answers", "before_model_call"), name="silent")
        async with house(nats_url, tools, models, agents=0) as here, agents(here):
            outcome = await here.run("Add.")
            assert (outcome.text, here.called, len(here.asked)) == ("It is Nobody had to..", [], 2)
            outcome = await here.run("Add.", agent="silent")
            assert (outcome.state, outcome.text, len(here.asked)) == ("completed", "Nobody had to.", 2)
            assert (outcome.model_calls, outcome.usage.input_tokens) == (1, 0)

    async def test_answers_a_task_itself_or_refuses_it(self, nats_url: str) -> None:
        refuses = spec(warden("forbids", "before_reply"), name="refuses")
        async with house(nats_url, spec(warden("answers", "before_reply")), refuses, agents=0) as here, agents(here):
            assert (await here.run("Add.")).text == "Nobody had to."
            outcome = await here.run("Add.", agent="refuses")
        assert here.asked == []
        assert outcome.failure is not None
        assert (outcome.state, outcome.failure.code) == ("failed", "hook_refused")
        assert outcome.failure.message == "refused at `before_reply`: not on a Sunday"

    async def test_has_a_person_asked_about_a_call(self, nats_url: str) -> None:
        async with house(nats_url, spec(warden("asks", "permission")), agents=0) as here:
            async with agents(here):
                task = await here.submit("Add.")
                (wait,) = await waiting(here, task)
            assert (wait.kind, wait.reason, here.called) == ("approval", "somebody should look", [])
            async with agents(here):
                await decide(here, task, Decision(call_id=wait.call_id, verdict="approve"))
                outcome = await here.outcome(task.task_id)
        assert (outcome.text, len(asked(task.task_id))) == ("It is 4.", 1)
        assert (asked(task.task_id)[0].verdict, asked(task.task_id)[0].point) == ("allow", "permission")

    async def test_forbids_a_call_in_place_of_the_rules(self, nats_url: str) -> None:
        async with house(nats_url, spec(warden("forbids", "permission")), agents=0) as here, agents(here):
            outcome = await here.run("Add.")
        assert (here.called, outcome.text) == ([], "It is The agent may not call 'add': not on a Sunday..")

    async def test_gives_the_summary_itself_or_says_what_it_must_hold(self, nats_url: str) -> None:
        small = {"compression": {"context_size": 500, "at": 0.5, "keep": 0.0}}
        gives = spec(warden("answers", "before_compression"), **small)
        shapes = spec(warden("changes", "before_compression", "after_compression"), name="shapes", **small)
        async with house(nats_url, gives, shapes, agents=0) as here, agents(here):
            here.mind = adds(4)
            assert (await here.run("Add.")).text == "Done."
            assert not any(map(is_summary, here.asked))
            assert [chat.messages[1].text for chat in here.asked][3].endswith("Nobody had to.")
            here.mind = adds(4)
            await here.run("Add.", agent="shapes")
            asked_for, after = next((one, two) for one, two in pairwise(here.asked) if is_summary(one))
        assert asked_for.messages[0].text.endswith("Leave the names out.")
        assert after.messages[1].text == "All of it."


class TestAQuestionThatIsRewritten:
    async def test_is_put_as_the_last_hook_leaves_it_this_once(self, nats_url: str) -> None:
        around = spec(warden("rewrites", "before_model_call"), warden("shouts", "before_model_call"))
        async with house(nats_url, around, agents=0) as here, agents(here):
            here.mind = says(call(ADDS), reply("Done."))
            outcome = await here.run("Add.", session="s")
            written = [each for each in await Journal(here.bus, outcome.task_id).read() if isinstance(each, Hooked)]
        first, second = ([message.text for message in each.messages] for each in here.asked)
        assert first == ["YOU HELP.!", f"NOTE 1. {'X' * 40}!", "ADD.!"]
        assert (len(second), second[1][:7], outcome.text) == (3, "NOTE 3.", "Done.")
        assert here.sessions["s"][0].text == "Add."
        assert [each.answer.messages for each in written] == [None, None]

    @pytest.mark.parametrize("size", [10, 20_000])
    async def test_is_the_same_for_who_takes_the_run_over_and_paid_once(self, nats_url: str, size: int) -> None:
        name = "rewrites" if size < 100 else "shouts"
        async with house(nats_url, spec(warden(name, "before_model_call")), agents=0) as here:
            began, gate = asyncio.Event(), asyncio.Event()

            async def mind(chat: model.Chat) -> model.Chatted:
                began.set()
                await gate.wait()
                return reply("Done.")

            here.mind = mind
            async with agents(here):
                task = await here.submit("x" * size)
                async with asyncio.timeout(20):
                    await began.wait()
            gate.set()
            async with agents(here):
                outcome = await here.outcome(task.task_id)
            written = [each for each in await Journal(here.bus, outcome.task_id).read() if isinstance(each, Hooked)]
        assert (outcome.text, len(here.asked), len(asked(task.task_id))) == ("Done.", 1, 1)
        (kept,) = written
        assert kept.messages is not None
        assert (kept.messages.stored is None, len(kept.model_dump_json()) < 2_000) == (size < 100, True)


class TestAnObjection:
    async def test_has_the_model_answer_again_without_the_answer_before(self, nats_url: str) -> None:
        async with house(nats_url, spec(warden("objects", "after_reply")), agents=0) as here, agents(here):
            here.mind = says(reply("No."), reply("Yes."), reply("Certainly."))
            outcome = await here.run("Well?", session="s")
            told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
        assert (outcome.state, outcome.text) == ("completed", "Certainly.")
        assert [len(chat.messages) for chat in here.asked] == [2, 4, 4]
        assert "too short" in here.asked[1].messages[-1].text
        again = [(each.fault, each.times) for each in told if isinstance(each, event.Reasked)]
        assert again == [("objection", 1), ("objection", 2)]
        assert [message.text for message in here.sessions["s"]] == ["Well?", "Certainly."]

    async def test_is_heeded_twice_and_then_the_outcome_says_so(self, nats_url: str) -> None:
        async with house(nats_url, spec(warden("objects", "after_reply")), agents=0) as here, agents(here):
            here.mind = says(reply("No."), reply("Yes."), reply("Hm."))
            outcome = await here.run("Well?")
        assert (outcome.state, outcome.limit, outcome.text, len(here.asked)) == ("limited", "objection", "Hm.", 3)


def denied(outcome: Finished) -> bool:
    return "could not be asked" in outcome.text


class TestAHookThatFails:
    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("wardens:hangs", "deadline_exceeded"),
            ("wardens:clings", "deadline_exceeded"),
            ("wardens:breaks", "function_failed"),
            ("wardens:feels_fenced", "run_fenced"),
            ("wardens:half_said", "spec_invalid"),
            ("wardens:leaves", "function_failed"),
            ("wardens:misfits", "body_invalid"),
            ("wardens:nobody", "spec_invalid"),
            ("wardens:plain_function", "spec_invalid"),
            ("strangers:forbids", "spec_invalid"),
            ("nobody-serves-it", "service_not_running"),
        ],
    )
    async def test_refuses_or_is_passed_over_as_the_agents_file_says(self, nats_url: str, name: str, code: str) -> None:
        deadline = {"deadline_exceeded": 0.3, "service_not_running": 4}.get(code, 30)
        where = {"hook": name, "at": ["before_acting"], "deadline": deadline}
        passed = spec(where | {"on_failure": "continue"}, name="passed")
        async with house(nats_url, spec(where), passed, agents=0) as here, agents(here):
            outcome = await here.run("Add.")
            (told,) = await hooked(here, outcome)
            assert (here.called, told.do, told.failure and told.failure.code) == ([], "refuse", code)
            assert denied(outcome)
            outcome = await here.run("Add.", agent="passed")
            (told,) = await hooked(here, outcome)
            assert (len(here.called), told.do, told.failure and told.failure.code) == (1, "go_on", code)
            assert outcome.text == "It is 4."

    @pytest.mark.parametrize("name", ["hangs", "clings"])
    async def test_does_not_hold_up_an_interrupt(self, nats_url: str, name: str) -> None:
        where = warden(name, "before_model_call", deadline=120)
        async with house(nats_url, spec(where), agents=0) as here, agents(here):
            task = await here.submit("Add.")
            ticket = Ticket(here.bus, task.task_id)
            async for item in ticket.events():
                if item.event.type == "reply_start":
                    break
            await ticket.interrupt()
            outcome = await here.outcome(task.task_id)
        assert (outcome.state, here.asked) == ("interrupted", [])


class TestAHookThatIsServed:
    async def test_that_says_that_it_was_fenced_off_has_failed_once_its_deadline_is_over(self, nats_url: str) -> None:
        @natscope.hook
        async def warden(about: Asked) -> Answer:
            raise RunFenced("not mine")

        where = {"hook": "warden", "at": ["before_acting"], "deadline": 1}
        async with house(nats_url, spec(where)) as here, natscope.serve_hooks(warden, settings=here.settings):
            outcome = await here.run("Add.")
            (told,) = await hooked(here, outcome)
        assert (here.called, told.failure and told.failure.code) == ([], "deadline_exceeded")
        assert denied(outcome)

    async def test_is_asked_wherever_it_runs(self, nats_url: str) -> None:
        heard: list[Asked] = []

        @natscope.hook
        async def warden(about: Asked) -> Answer:
            heard.append(about)
            return Answer(do="change", arguments={"a": 5, "b": 5})

        where = {"hook": "warden", "at": ["before_acting"]}
        async with (
            house(nats_url, spec(where)) as here,
            natscope.serve_hooks(warden, settings=here.settings) as served,
        ):
            outcome = await here.run("Add.", session="s")
        assert (served, outcome.text) == (["warden"], "It is 10.")
        (about,) = heard
        assert (about.point, about.task, about.session, about.step) == ("before_acting", outcome.task_id, "s", 1)
        assert (about.agent, about.usage.input_tokens, about.call and about.call.name) == ("assistant", 10, "add")

    async def test_may_be_any_program_that_speaks_nats(self, nats_url: str) -> None:
        where = {"hook": "warden", "at": ["before_acting"]}
        async with house(nats_url, spec(where)) as here:

            async def respond(message: Any) -> None:
                await message.respond(b'{"do": "refuse", "reason": "no"}')

            await here.bus.nc.subscribe(ASK.at("warden"), cb=respond)
            outcome = await here.run("Add.")
        assert (here.called, outcome.text) == ([], "It is It was refused, nothing ran: no.")

    async def test_is_waited_for_while_it_is_restarted(self, nats_url: str) -> None:
        @natscope.hook
        async def warden(about: Asked) -> Answer:
            return Answer(do="refuse", reason="back again")

        where = {"hook": "warden", "at": ["before_acting"], "deadline": 20}
        async with house(nats_url, spec(where)) as here:
            task = await here.submit("Add.")
            async for item in Ticket(here.bus, task.task_id).events():
                if item.event.type == "model_call_end":
                    break
            async with natscope.serve_hooks(warden, settings=here.settings):
                outcome = await here.outcome(task.task_id)
        assert "back again" in outcome.text


class TestARunThatIsTakenOver:
    @pytest.mark.parametrize("name", ["wavers", "regrets"])
    async def test_holds_to_what_was_decided_of_a_call_that_had_begun(self, nats_url: str, name: str) -> None:
        async with house(nats_url, spec(warden(name, "before_acting")), agents=0) as here:
            here.tool_delay_s = 0.5
            async with agents(here):
                task = await here.submit("Add.")
                async with asyncio.timeout(20):
                    await here.began.wait()
            async with agents(here):
                outcome = await here.outcome(task.task_id)
        assert (len(here.called), len(asked(task.task_id))) == (1, 1)
        assert outcome.text == ("It is 2." if name == "wavers" else "It is 4.")

    @pytest.mark.parametrize("name", ["wavers", "regrets"])
    async def test_asks_the_model_what_it_was_asked_before_and_pays_once(self, nats_url: str, name: str) -> None:
        async with house(nats_url, spec(warden(name, "before_reasoning")), agents=0) as here:
            began, gate = asyncio.Event(), asyncio.Event()

            async def mind(chat: model.Chat) -> model.Chatted:
                began.set()
                await gate.wait()
                return reply("Done.")

            here.mind = mind
            async with agents(here):
                task = await here.submit("Go.")
                async with asyncio.timeout(20):
                    await began.wait()
            gate.set()
            async with agents(here):
                outcome = await here.outcome(task.task_id)
        assert (outcome.text, len(here.asked), len(asked(task.task_id))) == ("Done.", 1, 1)

    async def test_keeps_the_changed_task_and_prompt_to_its_end(self, nats_url: str) -> None:
        around = spec(warden("changes", "before_reply", "system_prompt"))
        async with house(nats_url, around, agents=0) as here:
            here.tool_delay_s = 0.5
            async with agents(here):
                task = await here.submit("Add.", session="s")
                async with asyncio.timeout(20):
                    await here.began.wait()
            async with agents(here):
                await here.outcome(task.task_id)
        assert [chat.messages[0].text for chat in here.asked] == ["You help. Politely."] * 2
        assert (here.sessions["s"][0].text, len(asked(task.task_id))) == ("Add, please.", 2)
