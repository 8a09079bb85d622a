"""An agent's permissions, from its spec to what the model reads and a person decides."""

from collections.abc import Sequence

from pydantic import JsonValue

from natscope.contracts import model
from natscope.contracts.agent import AgentSpec, Permissions
from natscope.contracts.approval import DECIDE, Decide, Decision, Rule
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.event import HAPPENED, ApprovalNeeded
from natscope.contracts.task import Submit
from tests.integration.agent.house import SPEC, House, call, house, reply


def permitted(mode: str, *rules: Rule) -> AgentSpec:
    """Return the agent with these permissions."""
    permissions = Permissions.model_validate({"mode": mode, "rules": [rule.model_dump() for rule in rules]})
    return SPEC.model_copy(update={"permissions": permissions})


def adding(here: House, *arguments: dict[str, JsonValue]) -> None:
    """Let the model call `add` with each of these in turn, and then say what it was told last."""
    wanted = list(arguments)

    async def mind(asked: model.Chat) -> model.Chatted:
        if wanted:
            return call(ToolUseBlock(id=f"c{len(wanted)}", name="add", input=wanted.pop(0)))
        return reply(text_of(results(asked)[-1].output))

    here.mind = mind


def results(asked: model.Chat) -> Sequence[ToolResultBlock]:
    """Return the results that a model is shown."""
    return [block for m in asked.messages for block in m.content if isinstance(block, ToolResultBlock)]


async def needed(here: House, task: Submit) -> ApprovalNeeded:
    """Wait until a task says that somebody has to decide."""
    subscription = await here.bus.js.subscribe(HAPPENED.at(task.task_id), ordered_consumer=True)
    try:
        while True:
            told = await here.bus.read(HAPPENED, await subscription.next_msg(timeout=20))
            if isinstance(told, ApprovalNeeded):
                return told
    finally:
        await subscription.unsubscribe()


ADD = Rule(tool="add", behaviour="allow")


class TestPermissions:
    async def test_a_denied_call_is_not_carried_out_and_the_model_reads_why(self, nats_url: str) -> None:
        forbidden = Rule(tool="add", pattern="a=2", behaviour="deny")
        async with house(nats_url, permitted("bypass", forbidden)) as here:
            adding(here, {"a": 1, "b": 1}, {"a": 2, "b": 2})
            outcome = await here.run("Add.")
            assert [each.call.input["a"] for each in here.called] == [1]
            assert "The agent may not call 'add': a rule forbids it: deny add 'a=2'." in outcome.text
            denied = results(here.asked[-1])[-1]
            assert (denied.state, denied.metadata["safety"]) == ("denied", False)

    async def test_where_nobody_is_asked_the_model_reads_so_and_rules_are_suggested(self, nats_url: str) -> None:
        async with house(nats_url, permitted("dont_ask")) as here:
            adding(here, {"a": 1, "b": 1})
            outcome = await here.run("Add.")
            assert here.called == []
            assert "nobody is there to be asked" in outcome.text
            assert results(here.asked[-1])[-1].metadata["rules"] == [ADD.model_dump()]

    async def test_an_allowed_call_is_carried_out_unasked(self, nats_url: str) -> None:
        async with house(nats_url, permitted("default", ADD)) as here:
            adding(here, {"a": 1, "b": 1})
            assert (await here.run("Add.")).state == "completed"
            assert len(here.called) == 1

    async def test_a_call_that_no_rule_allows_waits_with_a_reason_and_rules(self, nats_url: str) -> None:
        async with house(nats_url, permitted("default")) as here:
            adding(here, {"a": 1, "b": 1}, {"a": 2, "b": 2})
            task = await here.submit("Add.")
            [waiting] = (await needed(here, task)).waiting
            assert here.called == []
            assert (waiting.kind, waiting.rules) == ("approval", [ADD])
            assert "no rule allows `add`" in waiting.reason
            approved = Decision(call_id=waiting.call_id, verdict="approve", rules=waiting.rules)
            await here.bus.submit(DECIDE, Decide(decisions=[approved]), task.task_id, message_id="d")
            assert (await here.outcome(task.task_id)).state == "completed"
            assert len(here.called) == 2

    async def test_what_is_approved_with_other_arguments_is_judged_again(self, nats_url: str) -> None:
        forbidden = Rule(tool="add", pattern="a=666", behaviour="deny")
        async with house(nats_url, permitted("default", forbidden)) as here:
            adding(here, {"a": 1, "b": 1})
            task = await here.submit("Add.")
            [waiting] = (await needed(here, task)).waiting
            changed = Decision(call_id=waiting.call_id, verdict="approve", arguments={"a": 666, "b": 1})
            await here.bus.submit(DECIDE, Decide(decisions=[changed]), task.task_id, message_id="d")
            assert "may not call 'add'" in (await here.outcome(task.task_id)).text
            assert here.called == []
