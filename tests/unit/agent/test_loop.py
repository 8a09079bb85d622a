"""The loop as a pure state machine: what happened so far decides what to do next."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, plain
from natscope.contracts.errors import Failure
from natscope.contracts.memory import Position
from natscope.contracts.message import Message
from natscope.contracts.model import Usage
from natscope.contracts.run import JOURNALED, Ended, JournalEntry, ModelReplied, Resumed, Started, ToolReturned
from natscope.contracts.task import Finished, Submit
from natscope.contracts.tool import ToolSpec
from services.agent.actions import AskModel, CallTools, Done, Finish
from services.agent.loop import decide, replay
from services.agent.refusing import refuse
from services.agent.state import losses

AT = datetime(2026, 1, 1, tzinfo=UTC)
ADD = ToolSpec(name="add", description="Add.", parameters={"type": "object"})


def started(**limits: float) -> Started:
    spec = AgentSpec.model_validate({"name": "a", "system_prompt": "p", "tools": ["add"], "limits": limits})
    task = Submit(task_id="t", content=plain("go"))
    return Started(at=AT, task=task, digest="d", agent=spec, tools=[ADD], position=Position(), holder="h")


def replied(step: int, *calls: ToolUseBlock, text: str = "", **more: Any) -> ModelReplied:
    said = Message(
        id=f"t-{step}", name="a", role="assistant", content=[*(plain(text) if text else []), *calls], created_at=AT
    )
    reason = "tool_call" if calls else "stop"
    usage = Usage(input_tokens=1)
    return ModelReplied.model_validate(
        {"at": AT, "step": step, "message": said, "finish_reason": reason, "usage": usage, "model": "m"} | more
    )


def use(id: str = "c", raw: str = "{}", **input: Any) -> ToolUseBlock:
    return ToolUseBlock(id=id, name="add", input=input, raw_input=raw)


def useless(why: str = "it is not valid JSON") -> ToolUseBlock:
    failure = Failure(code="output_invalid", message=f"the arguments of 'add' are of no use: {why}")
    return ToolUseBlock(id="c", name="add", raw_input='{"a": ', failure=failure)


def returned(step: int, index: int, call: ToolUseBlock) -> ToolReturned:
    result = ToolResultBlock(id=call.id, name=call.name, output=plain(str(index)), metadata={"index": index})
    return ToolReturned(at=AT, step=step, result=result)


class TestDeciding:
    def test_a_fresh_run_asks_the_model(self) -> None:
        assert decide(replay([started()])) == AskModel(1)

    def test_a_reply_without_calls_ends_the_run(self) -> None:
        decision = decide(replay([started(), replied(1, text="done")]))
        assert isinstance(decision, Finish)
        assert (decision.message.text, decision.limit) == ("done", None)

    def test_a_reply_with_calls_carries_them_out(self) -> None:
        decision = decide(replay([started(), replied(1, use("x"), use("y"))]))
        assert decision == CallTools(1, ((0, use("x")), (1, use("y"))))

    def test_only_open_calls_are_carried_out_after_a_crash(self) -> None:
        state = replay([started(), replied(1, use("x"), use("y")), returned(1, 1, use("y"))])
        assert decide(state) == CallTools(1, ((0, use("x")),))

    def test_calls_with_the_same_id_are_told_apart(self) -> None:
        state = replay([started(), replied(1, use("same"), use("same")), returned(1, 0, use("same"))])
        assert decide(state) == CallTools(1, ((1, use("same")),))

    def test_all_results_lead_to_the_next_step_in_the_order_of_the_calls(self) -> None:
        state = replay([started(), replied(1, use("x"), use("y")), returned(1, 1, use("y")), returned(1, 0, use("x"))])
        assert decide(state) == AskModel(2)
        assert [block.id for block in state.messages[-1].content if isinstance(block, ToolResultBlock)] == ["x", "y"]

    def test_the_last_step_forbids_tools_and_ends_whatever_it_says(self) -> None:
        entries: list[JournalEntry] = [started(max_steps=1), replied(1, use()), returned(1, 0, use())]
        assert decide(replay(entries)) == AskModel(2, limit="max_steps")
        decision = decide(replay([*entries, replied(2, use(), text="enough")]))
        assert isinstance(decision, Finish)
        assert decision.limit == "max_steps"

    @pytest.mark.parametrize(
        ("limits", "limit"),
        [
            ({"tokens": 30}, None),
            ({"tokens": 20}, "tokens"),
            ({"usd": 0.6}, None),
            ({"usd": 0.5}, "usd"),
            ({"usd": 0.5, "tokens": 20, "max_steps": 2}, "max_steps"),
        ],
    )
    def test_tokens_and_money_that_are_spent_make_the_next_step_the_last(
        self, limits: dict[str, float], limit: str | None
    ) -> None:
        entries: list[JournalEntry] = [started(**limits)]
        for step in (1, 2):
            usage = Usage(input_tokens=7, output_tokens=3)
            entries += [replied(step, use(), usage=usage, cost_usd=0.25), returned(step, 0, use())]
        assert decide(replay(entries)) == AskModel(3, limit=limit)

    @pytest.mark.parametrize(("times", "last"), [(1, False), (2, False), (3, True)])
    def test_calls_of_no_use_may_be_written_again_twice(self, times: int, last: bool) -> None:
        entries: list[JournalEntry] = [started()]
        for step in range(1, times + 1):
            entries += [replied(step, useless()), returned(step, 0, useless())]
        assert decide(replay(entries)) == AskModel(times + 1, limit="arguments" if last else None)

    def test_a_call_that_is_of_use_starts_the_count_again(self) -> None:
        entries: list[JournalEntry] = [started()]
        for step, call in enumerate([useless(), useless(), use(), useless(), useless()], start=1):
            entries += [replied(step, call), returned(step, 0, call)]
        assert decide(replay(entries)) == AskModel(6)

    def test_the_answer_after_calls_of_no_use_ends_the_run_as_limited(self) -> None:
        entries: list[JournalEntry] = [started()]
        for step in (1, 2, 3):
            entries += [replied(step, useless()), returned(step, 0, useless())]
        decision = decide(replay([*entries, replied(4, text="sorry")]))
        assert isinstance(decision, Finish)
        assert (decision.message.text, decision.limit) == ("sorry", "arguments")

    def test_an_ended_run_stays_ended(self) -> None:
        outcome = Finished(task_id="t", agent="a", session="t", state="completed", started_at=AT, finished_at=AT)
        assert decide(replay([started(), replied(1, text="x"), Ended(at=AT, outcome=outcome)])) == Done(outcome)

    def test_a_journal_without_a_beginning_is_refused(self) -> None:
        with pytest.raises(ValueError, match="begins"):
            replay([Resumed(holder="h")])


class TestReplaying:
    @given(st.lists(st.integers(min_value=0, max_value=3), max_size=12), st.data())
    def test_gives_the_same_state_and_the_same_next_step_wherever_it_stopped(
        self, calls_per_step: list[int], data: st.DataObject
    ) -> None:
        entries: list[JournalEntry] = [started(max_steps=100)]
        for step, count in enumerate(calls_per_step, start=1):
            calls = [use(f"c{n}") for n in range(count)]
            entries.append(replied(step, *calls, text="t"))
            order = data.draw(st.permutations(range(count)))
            entries.extend(returned(step, n, calls[n]) for n in order)
            if not count:
                break
        wire = [JOURNALED.adapter.dump_json(entry) for entry in entries]
        cut = data.draw(st.integers(min_value=1, max_value=len(wire)))
        lived = replay(entries[:cut])
        read = replay([JOURNALED.adapter.validate_json(line) for line in wire[:cut]])
        assert read == lived
        assert decide(read) == decide(lived)

    def test_losses_count_only_since_the_last_step(self) -> None:
        first, second = (Resumed(at=AT, holder=holder) for holder in ("one", "two"))
        assert losses(replay([started(), first, second])) == 2
        assert losses(replay([started(), first, second, replied(1, use()), first])) == 1

    def test_a_process_is_lost_once_and_whoever_holds_the_run_is_not(self) -> None:
        first, second = (Resumed(at=AT, holder=holder) for holder in ("one", "two"))
        assert losses(replay([started(), *(first, second) * 5])) == 2
        assert losses(replay([started(), replied(1, use()), *(first,) * 5])) == 1


class TestRefusing:
    def test_a_known_tool_with_an_object_is_carried_out(self) -> None:
        assert refuse(replay([started(), replied(1, use(raw='{"a": 1}', a=1))]), use(raw='{"a": 1}', a=1)) is None

    @pytest.mark.parametrize("raw", ['{"a": ', "[1]", "hello", "'a'"])
    def test_arguments_that_are_no_object_are_never_emptied_silently(self, raw: str) -> None:
        state = replay([started(), replied(1, use(raw=raw))])
        assert "JSON" in (refuse(state, use(raw=raw)) or "")

    def test_a_call_cut_by_the_token_limit_is_refused_even_if_it_parses(self) -> None:
        state = replay([started(), replied(1, use(raw='{"a": 1}', a=1), finish_reason="length")])
        assert "cut off" in (refuse(state, use(raw='{"a": 1}', a=1)) or "")

    def test_a_call_that_could_not_be_repaired_is_refused_with_the_reason_and_the_schema(self) -> None:
        call = useless("a string without an end")
        told = refuse(replay([started(), replied(1, call)]), call) or ""
        assert "a string without an end" in told
        assert told.endswith('{"type": "object"}')

    def test_the_same_call_without_the_failure_is_carried_out(self) -> None:
        call = useless().model_copy(update={"failure": None, "input": {"a": 1}})
        assert refuse(replay([started(), replied(1, call)]), call) is None
