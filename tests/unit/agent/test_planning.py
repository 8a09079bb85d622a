"""The plan machine, purely: what a journal tells of a plan decides which steps begin and what follows."""

from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import FileBlock, ToolResultBlock, ToolUseBlock, URLSource, plain, text_of
from natscope.contracts.memory import Position
from natscope.contracts.message import Message
from natscope.contracts.model import Usage
from natscope.contracts.plan import Step
from natscope.contracts.run import JOURNALED, JournalEntry, ModelReplied, Parked, Started, StepEnded, ToolReturned
from natscope.contracts.task import Submit
from services.agent.actions import AskModel, CallTools, Fail, Finish, Park
from services.agent.loop import decide, replay, waiting_of
from services.agent.own import KEPT
from services.agent.plan import circle_in
from services.agent.refusing import refuse
from services.agent.state import within
from services.agent.strategies import cast, choice_of, offered

AT = datetime(2026, 1, 1, tzinfo=UTC)
TASK = Submit(task_id="t", content=plain("go"))


def spec(**more: Any) -> AgentSpec:
    return AgentSpec.model_validate({"name": "a", "system_prompt": "p", "strategy": "plan_execute"} | more)


def started(**more: Any) -> Started:
    agent = spec(**more)
    tools = offered(agent, [], [], [])
    return Started(at=AT, task=TASK, digest="d", agent=agent, tools=tools, position=Position(), holder="h")


def made(reply: int, steps: dict[str, list[str]], *, calls: int = 1, **more: Any) -> ModelReplied:
    """Return a reply with a plan: of each step, on which others it depends."""
    written = [{"id": id, "do": f"Do {id}.", "depends_on": others} for id, others in steps.items()]
    call = ToolUseBlock.model_validate({"id": "p", "name": "plan", "input": {"steps": written}})
    return said(reply, *([call] * calls), **more)


def said(reply: int, *calls: ToolUseBlock, text: str = "", **more: Any) -> ModelReplied:
    content = [*(plain(text) if text else []), *calls]
    message = Message(id=f"t-{reply}", name="a", role="assistant", content=content, created_at=AT)
    fields = {"finish_reason": "tool_call" if calls else "stop", "usage": Usage(input_tokens=1), "model": "m"}
    return ModelReplied.model_validate({"at": AT, "step": reply, "message": message} | fields | more)


def over(name: str, *, plan: int = 1, state: str = "success", **more: Any) -> StepEnded:
    told = {"id": name, "name": "step", "output": plain(f"{name} came"), "state": state}
    result = ToolResultBlock.model_validate(told | more.pop("result", {}))
    return StepEnded.model_validate({"at": AT, "plan": plan, "name": name, "result": result} | more)


def parked(entries: list[JournalEntry]) -> Parked:
    state = replay(entries)
    return Parked(at=AT, step=state.step, waiting=list(waiting_of(state)))


def names(entries: list[JournalEntry]) -> list[str]:
    """Return the steps that the run waits for or begins."""
    return [str(each.call.input["step"]) for each in waiting_of(replay(entries))]


def told(entries: list[JournalEntry]) -> ToolResultBlock:
    """Return what the model was told last."""
    (result,) = [block for block in replay(entries).messages[-1].content if isinstance(block, ToolResultBlock)]
    return result


class TestAPlan:
    def test_is_asked_for_first_and_nothing_else_is_an_answer(self) -> None:
        state = replay([started()])
        assert (decide(state), choice_of(state), [tool.name for tool in state.tools]) == (AskModel(1), "plan", ["plan"])
        again = replay([started(), said(1, text="42")])
        assert (decide(again), choice_of(again)) == (AskModel(2), "auto")

    def test_begins_the_steps_that_wait_for_nothing_each_as_a_task_of_its_own(self) -> None:
        entries: list[JournalEntry] = [started(), made(1, {"a": [], "b": [], "c": ["a"]})]
        decision = decide(replay(entries))
        assert isinstance(decision, Park)
        assert [each.task for each in decision.waiting] == ["t-t1-0-0", "t-t1-0-1"]
        assert names(entries) == ["a", "b"]

    def test_begins_a_step_when_all_that_it_waits_for_is_done(self) -> None:
        entries: list[JournalEntry] = [started(), made(1, {"a": [], "b": [], "c": ["a", "b"]})]
        assert names([*entries, over("a")]) == ["b"]
        assert names([*entries, over("a"), over("b")]) == ["c"]

    def test_that_is_done_is_a_result_from_which_the_model_answers_without_tools(self) -> None:
        entries: list[JournalEntry] = [started(), made(1, {"a": [], "b": []}), over("b"), over("a")]
        state = replay(entries)
        assert (decide(state), choice_of(state), state.tool_calls) == (AskModel(2), "none", 1)
        assert text_of(told(entries).output) == "Every step is done.\n[a: success]\na came\n[b: success]\nb came"
        last = decide(replay([*entries, said(2, text="Both.")]))
        assert isinstance(last, Finish)
        assert (last.message.text, last.limit) == ("Both.", None)

    def test_counts_what_its_steps_have_spent_and_keeps_their_files(self) -> None:
        file = FileBlock(name="r.txt", source=URLSource(url="nats://blob/b/1", media_type="text/plain"))
        kept = {"metadata": {KEPT: [file.model_dump(mode="json")]}}
        ended = over("a", usage=Usage(input_tokens=9), cost_usd=0.5, result=kept)
        state = replay([started(), made(1, {"a": []}), ended])
        assert (state.usage.input_tokens, state.cost_usd, state.kept) == (10, 0.5, (file,))

    def test_begins_nothing_more_once_the_run_has_spent_what_it_may(self) -> None:
        entries: list[JournalEntry] = [started(limits={"tokens": 50}), made(1, {"a": [], "b": [], "c": ["a"]})]
        entries += [parked(entries), over("a", usage=Usage(input_tokens=60))]
        assert names(entries) == ["b"]
        entries.append(over("b"))
        assert text_of(told(entries).output).startswith("Not begun or not over: c.")
        assert decide(replay(entries)) == AskModel(2, limit="tokens")

    def test_that_comes_when_everything_is_spent_is_refused(self) -> None:
        state = replay([started(limits={"tokens": 1}), made(1, {"a": []})])
        decision = decide(state)
        assert isinstance(decision, CallTools)
        assert refuse(state, decision.calls[0][1]) == "A limit of the run is reached; no step was begun."

    def test_that_was_stopped_tells_what_was_done(self) -> None:
        entries: list[JournalEntry] = [started(), made(1, {"a": [], "b": ["a"]}), over("a")]
        stopped = ToolResultBlock(id="p", name="plan", state="interrupted", metadata={"index": 0})
        entries.append(ToolReturned(at=AT, step=1, result=stopped))
        assert (names(entries), "a came" in text_of(told(entries).output)) == ([], True)
        assert (decide(replay(entries)), choice_of(replay(entries))) == (AskModel(2), "auto")

    def test_passes_over_a_step_of_another_plan(self) -> None:
        entries: list[JournalEntry] = [started(), made(1, {"a": []})]
        assert names([*entries, over("a", plan=7)]) == ["a"]


class TestAStepThatFails:
    FIRST: ClassVar = {"a": [], "b": ["a"], "c": ["b"], "d": []}

    def failed(self, **more: Any) -> list[JournalEntry]:
        return [started(**more), made(1, self.FIRST), over("a"), over("b", state="error")]

    def test_lets_end_what_does_not_wait_for_it_and_then_asks_for_another_plan(self) -> None:
        assert names(self.failed()) == ["d"]
        entries = [*self.failed(), over("d")]
        assert text_of(told(entries).output).startswith("Not done: b. Not begun or not over: c.\n[a: success]\na came")
        assert (decide(replay(entries)), choice_of(replay(entries))) == (AskModel(2), "auto")

    def test_is_not_repeated_unless_it_is_planned_again_and_what_is_done_stays(self) -> None:
        entries = [*self.failed(), over("d"), made(2, {"a": [], "b": ["a"], "e": ["d"]})]
        assert names(entries) == ["b", "e"]
        plan = replay(entries).plan
        assert plan is not None
        assert (plan.number, plan.failed_before, plan.succeeded("a")) == (2, ("b",), True)
        assert [each.task for each in waiting_of(replay(entries))] == ["t-t2-0-1", "t-t2-0-2"]

    def test_is_another_step_if_the_next_plan_uses_its_id_for_something_else(self) -> None:
        other = ToolUseBlock(id="p", name="plan", input={"steps": [{"id": "a", "do": "Something else."}]})
        assert names([*self.failed(), over("d"), said(2, other)]) == ["a"]

    def test_ends_in_an_answer_when_no_other_plan_may_be_made(self) -> None:
        entries = [*self.failed(plan={"replans": 0}), over("d")]
        assert decide(replay(entries)) == AskModel(2, limit="replans")

    def test_may_be_answered_for_instead_of_planned_again(self) -> None:
        decision = decide(replay([*self.failed(), over("d"), said(2, text="Without b.")]))
        assert isinstance(decision, Finish)
        assert decision.limit is None


class TestAPlanThatIsNone:
    @pytest.mark.parametrize(
        ("steps", "why"),
        [
            ({"a": ["a"]}, "Steps wait for each other, none could begin: a → a."),
            ({"x": [], "a": ["x", "b"], "b": ["a"]}, "Steps wait for each other, none could begin: a → b → a."),
            ({"a": ["z"]}, "Step 'a' depends on 'z', and there is no such step."),
            ({}, "A plan has at least one step."),
            ({str(n): [] for n in range(4)}, "The plan has 4 steps; it may have 3."),
        ],
    )
    def test_is_told_to_the_model_once_and_fails_the_run_then(self, steps: dict[str, list[str]], why: str) -> None:
        entries: list[JournalEntry] = [started(plan={"steps": 3}), made(1, steps)]
        state = replay(entries)
        decision = decide(state)
        assert isinstance(decision, CallTools)
        ((_, call),) = decision.calls
        assert (refuse(state, call), waiting_of(state)) == (why, ())
        refused = ToolResultBlock(id="p", name="plan", output=plain(why), state="error", metadata={"index": 0})
        entries.append(ToolReturned(at=AT, step=1, result=refused))
        assert (decide(replay(entries)), choice_of(replay(entries))) == (AskModel(2), "plan")
        again = [*entries, made(2, steps), ToolReturned(at=AT, step=2, result=refused)]
        decision = decide(replay(again))
        assert isinstance(decision, Fail)
        assert (decision.failure.code, why in decision.failure.message) == ("plan_invalid", True)
        assert names([*entries, made(2, {"a": []})]) == ["a"]

    def test_is_one_for_an_agent_that_nobody_knows(self) -> None:
        step = {"id": "a", "do": "x", "agent": "b"}
        call = ToolUseBlock.model_validate({"id": "p", "name": "plan", "input": {"steps": [step]}})
        why = "Step 'a' is for 'b'; there is no such agent to ask."
        assert refuse(replay([started(), said(1, call)]), call) == why
        assert names([started(agents=["b"]), said(1, call)]) == ["a"]

    @pytest.mark.parametrize("wrong", [{}, {"steps": "a"}, {"steps": [{"id": "a"}]}, {"steps": [{"do": "x"}]}])
    def test_is_one_whose_steps_are_none(self, wrong: Any) -> None:
        call = ToolUseBlock(id="p", name="plan", input=wrong)
        assert "`steps` are no steps" in (refuse(replay([started(), said(1, call)]), call) or "")

    def test_is_each_of_two_at_once(self) -> None:
        state = replay([started(), made(1, {"a": []}, calls=2)])
        assert isinstance(decide(state), CallTools)
        assert waiting_of(state) == ()

    def test_is_one_that_was_cut_off(self) -> None:
        assert names([started(), made(1, {"a": []}, finish_reason="length")]) == []

    def test_is_one_of_steps_that_are_all_done(self) -> None:
        entries: list[JournalEntry] = [started(), made(1, {"a": [], "b": []}), over("a"), over("b", state="error")]
        state = replay([*entries, made(2, {"a": []})])
        assert refuse(state, made(2, {"a": []}).message.tool_uses[0]) == "Every step of this plan is done already."


class TestParts:
    def test_a_step_is_done_and_not_planned_again_and_owes_no_declared_answer(self) -> None:
        agent = spec(output={"json_schema": {"type": "object"}})
        step = cast(agent, TASK.model_copy(update={"step_of": "t0"}))
        assert (step.strategy, step.output) == ("react", None)
        assert cast(agent, TASK) == agent

    @pytest.mark.parametrize(("depth", "strategy"), [(3, "plan_execute"), (4, "react")])
    def test_nobody_plans_where_nobody_could_be_asked(self, depth: int, strategy: str) -> None:
        assert cast(spec(), TASK.model_copy(update={"asked_by": ["x"] * depth})).strategy == strategy

    def test_who_talks_has_no_tools(self) -> None:
        talker = cast(spec(strategy="dialog", tools=["add"], agents=["b"], skills=["s"]), TASK)
        assert (talker.tools, talker.agents, talker.skills) == ([], [], [])

    def test_limits_of_the_task_hold_for_a_step_too(self) -> None:
        task = TASK.model_copy(update={"tokens": 5, "step_of": "t0"})
        assert cast(within(spec(), task), task).limits.tokens == 5


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Plans without a circle: each step may depend on those before it."""
    known: list[str] = []
    found: dict[str, list[str]] = {}
    for id in draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=7, unique=True)):
        found[id] = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
        known.append(id)
    order = draw(st.permutations(known))
    return {id: found[id] for id in order}


class TestReplaying:
    @settings(deadline=None, max_examples=20)
    @given(graphs(), st.data())
    def test_gives_the_same_state_at_every_prefix_and_no_step_begins_early_or_twice(
        self, graph: dict[str, list[str]], data: st.DataObject
    ) -> None:
        entries: list[JournalEntry] = [started(), made(1, graph)]
        outcomes: dict[str, str] = {}
        while waits := names(entries):
            assert not set(waits) & set(outcomes)
            assert all(outcomes.get(other) == "success" for id in waits for other in graph[id])
            entries.append(parked(entries))
            for name in data.draw(st.lists(st.sampled_from(waits), min_size=1, unique=True)):
                outcomes[name] = data.draw(st.sampled_from(["success", "success", "error"]))
                entries.append(over(name, state=outcomes[name]))
        assert decide(replay(entries)) == AskModel(2)
        assert told(entries).state == ("success" if list(outcomes.values()).count("success") == len(graph) else "error")
        wire = [JOURNALED.adapter.dump_json(entry) for entry in entries]
        for cut in range(1, len(wire) + 1):
            read = replay([JOURNALED.adapter.validate_json(line) for line in wire[:cut]])
            assert read == replay(entries[:cut])
            assert decide(read) == decide(replay(entries[:cut]))

    @settings(deadline=None, max_examples=20)
    @given(graphs(), st.data())
    def test_a_circle_is_found_wherever_it_is(self, graph: dict[str, list[str]], data: st.DataObject) -> None:
        steps = [Step(id=id, do="x", depends_on=others) for id, others in graph.items()]
        assert circle_in(steps) == []
        waits = {step.id: set(step.depends_on) for step in steps}
        first, last = data.draw(st.sampled_from(list(graph))), data.draw(st.sampled_from(list(graph)))
        reached = {first}
        while more := {other for id in reached for other in waits[id]} - reached:
            reached |= more
        if last in reached:
            closed = [
                step.model_copy(update={"depends_on": [*step.depends_on, first]}) if step.id == last else step
                for step in steps
            ]
            circle = circle_in(closed)
            assert circle[0] == circle[-1]
            assert set(circle) <= set(graph)
