"""Critics on the wire: an answer is judged before it is one, objections are mended within bounds and written down."""

import asyncio
from typing import Any

from natscope.client import Ticket
from natscope.contracts import event, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision
from natscope.contracts.errors import OutputInvalid
from natscope.contracts.run import Judged
from natscope.contracts.task import Finished
from services.agent.app import app
from services.agent.journal import Journal
from services.agent.settings import Settings
from tests.integration.agent.house import SPEC, House, Model, call, house, reply
from tests.integration.agent.test_own_tools import ADDS
from tests.integration.agent.test_waiting import decide, waiting


def spec(*critics: dict[str, Any], **more: Any) -> AgentSpec:
    return AgentSpec.model_validate(SPEC.model_dump() | {"critics": list(critics)} | more)


def is_judgment(asked: model.Chat) -> bool:
    return asked.output is not None and asked.output.name == "verdict"


def verdict(*objections: str) -> model.Chatted:
    output = {"acceptable": not objections, "objections": list(objections)}
    return reply("{}").model_copy(update={"output": output})


def says(*replies: model.Chatted, judged: tuple[model.Chatted | Exception, ...]) -> Model:
    """Return a model that answers with these, and judges with those, one after the other."""
    answers, verdicts = iter(replies), iter(judged)

    async def mind(asked: model.Chat) -> model.Chatted:
        if not is_judgment(asked):
            return next(answers)
        given = next(verdicts)
        if isinstance(given, Exception):
            raise given
        return given

    return mind


def judgments(here: House) -> list[model.Chat]:
    return list(filter(is_judgment, here.asked))


def questions(here: House) -> list[model.Chat]:
    return [asked for asked in here.asked if not is_judgment(asked)]


async def verdicts(here: House, outcome: Finished) -> list[Judged]:
    return [entry for entry in await Journal(here.bus, outcome.task_id).read() if isinstance(entry, Judged)]


class TestACritic:
    async def test_that_accepts_lets_the_answer_be_and_is_paid_for(self, nats_url: str) -> None:
        async with house(nats_url, spec({"criteria": "It must be a number."})) as here:
            here.mind = says(call(ADDS), reply("4"), judged=(verdict(),))
            outcome = await here.run("Add.")
            (written,) = await verdicts(here, outcome)
            told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
        assert (outcome.state, outcome.text, outcome.model_calls) == ("completed", "4", 2)
        assert (outcome.usage.input_tokens, written.acceptable, written.by) == (30, True, "assistant")
        (asked,) = judgments(here)
        text = asked.messages[-1].text
        assert "It must be a number." in text
        assert "<answer>\n4\n</answer>" in text
        assert "(add returns, success: 4)" in text
        assert [(each.by, each.acceptable) for each in told if isinstance(each, event.Judged)] == [("assistant", True)]

    async def test_that_objects_has_the_answer_written_again_in_its_place(self, nats_url: str) -> None:
        async with house(nats_url, spec({})) as here:
            here.mind = says(
                reply("4"), reply("5"), reply("6"), judged=(verdict("odd", "low"), verdict("no"), verdict())
            )
            outcome = await here.run("Add.", session="s")
            written = await verdicts(here, outcome)
            told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
        assert (outcome.state, outcome.text) == ("completed", "6")
        assert [len(asked.messages) for asked in questions(here)] == [2, 4, 4]
        assert "odd\nlow" in questions(here)[1].messages[-1].text
        assert [each.objections for each in written] == [["odd", "low"], ["no"], []]
        again = [(each.fault, each.error, each.times) for each in told if isinstance(each, event.Reasked)]
        assert again == [("objection", "odd\nlow", 1), ("objection", "no", 2)]
        assert [message.text for message in here.sessions["s"]] == ["Add.", "6"]

    async def test_is_heeded_twice_and_then_the_outcome_says_so(self, nats_url: str) -> None:
        async with house(nats_url, spec({})) as here:
            here.mind = says(*(reply(f"Try {n}.") for n in range(3)), judged=tuple(verdict("no") for _ in range(3)))
            outcome = await here.run("Add.")
        assert (outcome.state, outcome.limit, outcome.text) == ("limited", "objection", "Try 2.")
        assert (len(questions(here)), len(judgments(here))) == (3, 3)

    async def test_may_be_another_model_or_agent_and_the_first_that_objects_ends_the_row(self, nats_url: str) -> None:
        other = AgentSpec(name="strict", system_prompt="You are strict.", model="large")
        async with house(nats_url, spec({"model": "judge"}, {"agent": "strict"}), other) as here:
            here.mind = says(reply("4"), reply("5"), judged=(verdict("no"), verdict(), verdict()))
            outcome = await here.run("Add.")
            written = await verdicts(here, outcome)
        assert outcome.text == "5"
        assert [(each.by, each.acceptable) for each in written] == [
            ("judge", False),
            ("judge", True),
            ("strict", True),
        ]
        assert [asked.model for asked in judgments(here)] == ["judge", "judge", "large"]
        assert judgments(here)[-1].messages[0].text == "You are strict."

    async def test_that_gives_no_verdict_objects_to_nothing_and_that_is_written_down(self, nats_url: str) -> None:
        async with house(nats_url, spec({}, {"agent": "nobody"})) as here:
            here.mind = says(reply("4"), judged=(OutputInvalid("no JSON"),))
            outcome = await here.run("Add.")
            written = await verdicts(here, outcome)
        assert (outcome.state, outcome.text) == ("completed", "4")
        codes = [each.failure and each.failure.code for each in written]
        assert (codes, [each.acceptable for each in written]) == (["output_invalid", "agent_not_found"], [True, True])

    async def test_judges_an_answer_that_is_a_value(self, nats_url: str) -> None:
        output = {"json_schema": {"type": "object", "properties": {"sum": {"type": "number"}}}}
        async with house(nats_url, spec({}, output=output)) as here:
            ends = [
                call(ADDS.model_copy(update={"name": "finish", "input": {"sum": n}, "raw_input": f'{{"sum": {n}}}'}))
                for n in (4, 5)
            ]
            here.mind = says(*ends, judged=(verdict("wrong"), verdict()))
            outcome = await here.run("Add.")
        assert (outcome.state, outcome.output) == ("completed", {"sum": 5})
        assert '<answer>\n{"sum": 4}\n</answer>' in judgments(here)[0].messages[-1].text

    async def test_waits_for_a_person_where_nobody_can_mend_it(self, nats_url: str) -> None:
        async with house(nats_url, spec({}, on_failure="needs_human")) as here:
            here.mind = says(*(reply(f"Try {n}.") for n in range(3)), judged=tuple(verdict("no") for _ in range(3)))
            task = await here.submit("Add.")
            (wait,) = await waiting(here, task)
            await decide(here, task, Decision(call_id=wait.call_id, verdict="abort"))
            outcome = await here.outcome(task.task_id)
        assert wait.trouble is not None
        assert [(each.tier, each.error) for each in wait.trouble.tried] == [(2, "no"), (3, "no"), (3, "no")]
        assert outcome.state == "failed"

    async def test_is_paid_once_when_the_agent_dies_while_it_judges(self, nats_url: str) -> None:
        async with house(nats_url, spec({}), agents=0) as here:
            began, gate = asyncio.Event(), asyncio.Event()

            async def mind(asked: model.Chat) -> model.Chatted:
                if not is_judgment(asked):
                    return reply("4")
                began.set()
                await gate.wait()
                return verdict()

            here.mind = mind
            async with app(Settings(), bus=here.settings):
                task = await here.submit("Add.")
                async with asyncio.timeout(20):
                    await began.wait()
            gate.set()
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
            written = await verdicts(here, outcome)
        assert (outcome.text, len(here.asked), len(written), outcome.usage.input_tokens) == ("4", 2, 1, 20)
