"""`natscope decide` and `interrupt` against an agent service: what a person at another terminal can do."""

from natscope.contracts import event
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolUseBlock
from tests.e2e.cli.conftest import Start
from tests.integration.agent.house import SPEC, call, house, reply
from tests.integration.agent.test_asking_agents import asks, lead
from tests.integration.agent.test_own_tools import says
from tests.integration.agent.test_reasking import told
from tests.integration.agent.test_waiting import QUESTION, waiting
from tests.integration.agent.test_waiting_children import heard

ASKS = AgentSpec.model_validate(SPEC.model_dump() | {"permissions": {"mode": "default"}})


def again(id: str) -> ToolUseBlock:
    return QUESTION.model_copy(update={"id": id})


class TestDecide:
    async def test_lists_a_call_and_approves_it_with_a_rule_for_those_to_come(
        self, natscope: Start, nats_url: str
    ) -> None:
        async with house(nats_url, ASKS) as here:
            here.mind = says(call(again("c1")), call(again("c2")), reply("done"))
            task = await here.submit("Add twice.")
            (wait,) = await waiting(here, task)
            listed = await (await natscope("decide", task.task_id, url=nats_url)).done()
            wrong = await (
                await natscope("decide", task.task_id, wait.call_id, "approve", "--rule", "permit", url=nats_url)
            ).done()
            said = ("approve", "--always", "--rule", "allow add")
            decided = await (await natscope("decide", task.task_id, wait.call_id, *said, url=nats_url)).done()
            outcome = await here.outcome(task.task_id)
        assert listed.out.startswith(f"{wait.call_id}  approval  add ")
        assert (wrong.code, wrong.err) == (4, "error: --rule 'permit' is none (such as 'allow execute_shell git *')\n")
        assert (decided.code, outcome.text, len(here.called)) == (0, "done", 2)

    async def test_reaches_the_call_of_an_agent_that_was_asked_and_refuses_an_unknown_task(
        self, natscope: Start, nats_url: str
    ) -> None:
        careful = AgentSpec.model_validate(ASKS.model_dump() | {"name": "careful"})
        async with house(nats_url, lead("careful"), careful) as here:
            here.mind = says(call(asks("careful", "Add.")), call(again("c1")), reply("three"), reply("It is three."))
            task = await here.submit("Find out.")
            said = await heard(here, task)
            listed = await (await natscope("decide", task.task_id, url=nats_url)).done()
            call_id = listed.out.split()[0]
            decided = await (await natscope("decide", task.task_id, call_id, "approve", url=nats_url)).done()
            outcome = await here.outcome(task.task_id)
            over = await (await natscope("decide", task.task_id, url=nats_url)).done()
            unknown = await (await natscope("decide", "nothing", url=nats_url)).done()
        assert listed.out.startswith(f"{said.waiting[0].call_id}  approval  add ")
        assert listed.out.endswith(f"[task {said.child}]\n")
        assert (decided.code, outcome.text, len(here.called)) == (0, "It is three.", 1)
        assert (over.code, over.err) == (0, f"task {task.task_id!r} waits for nobody\n")
        assert (unknown.code, "there is no task 'nothing'" in unknown.err) == (4, True)


class TestInterrupt:
    async def test_ends_a_parked_run_and_refuses_what_is_over_or_unknown(self, natscope: Start, nats_url: str) -> None:
        async with house(nats_url, ASKS) as here:
            here.mind = says(call(again("c1")))
            task = await here.submit("Add.")
            await waiting(here, task)
            ended = await (await natscope("interrupt", task.task_id, "--text", "enough", url=nats_url)).done()
            outcome = await here.outcome(task.task_id)
            said = [each for each in await told(here, task.task_id) if isinstance(each, event.Interrupted)]
            over = await (await natscope("interrupt", task.task_id, url=nats_url)).done()
            unknown = await (await natscope("interrupt", "nothing", url=nats_url)).done()
        assert (ended.code, outcome.state, [each.reason for each in said]) == (0, "interrupted", ["enough"])
        assert (over.code, unknown.code) == (4, 4)
        assert "is over" in over.err
        assert "there is no task 'nothing'" in unknown.err
