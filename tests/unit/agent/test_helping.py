"""Runs that need a person: what they are asked, and what becomes of the run when they have decided."""

from typing import Any

import pytest

from natscope.contracts.approval import Decision, Waiting
from natscope.contracts.blocks import ToolResultBlock, plain
from natscope.contracts.errors import Failure, ModelUnavailable, NatscopeError, RunPoisoned
from natscope.contracts.run import JOURNALED, Decided, JournalEntry, Parked, Started
from services.agent.actions import AskModel, CallTools, Fail, Finish, Park
from services.agent.helping import NOBODY, asked_for_help, may_help, parked
from services.agent.loop import decide, replay
from tests.unit.agent.test_loop import AT, replied, returned, started, use
from tests.unit.agent.test_reasking import tries

DOWN = Failure.of(ModelUnavailable("'default' answered 503 after 4 tries"))


def helpless(**needs: Any) -> Started:
    begun = started()
    spec = begun.agent.model_dump() | {"on_failure": "needs_human", "needs_human": needs}
    return begun.model_copy(update={"agent": type(begun.agent).model_validate(spec)})


def faulty(kind: str = "arguments") -> list[JournalEntry]:
    """Return a journal of a run whose model could not mend its replies."""
    return [helpless(), *tries(kind, 3)[1:]]


def waits(entries: list[JournalEntry], failure: Failure | None = None) -> tuple[list[JournalEntry], Waiting]:
    state = replay(entries)
    if failure is not None:
        waiting = asked_for_help(state, failure)
    else:
        wanted = decide(state)
        assert isinstance(wanted, Park)
        (waiting,) = wanted.waiting
    return [*entries, parked(state, [waiting]).model_copy(update={"at": AT})], waiting


def says(waiting: Waiting, verdict: str, text: str = "", by: str = "me", **more: Any) -> Decided:
    output = plain(text) if text else []
    decision = {"call_id": waiting.call_id, "verdict": verdict, "output": output, **more}
    return Decided(at=AT, decision=Decision.model_validate(decision), by=by)


class TestARunWhoseModelCannotMendItsReplies:
    @pytest.mark.parametrize("kind", ["arguments", "unknown_tool", "empty", "repeated"])
    def test_waits_with_what_was_tried_at_each_tier(self, kind: str) -> None:
        _, waiting = waits(faulty(kind))
        assert waiting.kind == "needs_human"
        assert waiting.trouble is not None
        assert [each.tier for each in waiting.trouble.tried] == [2, 3, 3]
        assert waiting.trouble.failure.details["tier"] == 3
        assert all(each.error for each in waiting.trouble.tried)

    def test_answers_once_more_where_nobody_is_to_be_asked(self) -> None:
        assert decide(replay(tries("arguments", 3))) == AskModel(4, limit="arguments")

    def test_starts_to_count_again_when_it_is_tried_again(self) -> None:
        entries, waiting = waits(faulty())
        state = replay([*entries, says(waiting, "retry")])
        assert decide(state) == AskModel(4)
        assert [message.role for message in state.messages] == ["user"]
        assert state.fault is None


class TestSomebodyWhoIsAsked:
    def test_may_give_the_answer_for_the_model(self) -> None:
        entries, waiting = waits([helpless()], DOWN)
        decision = decide(replay([*entries, says(waiting, "answer", "It is 4.")]))
        assert isinstance(decision, Finish)
        assert (decision.message.text, decision.message.metadata["by"]) == ("It is 4.", "me")

    def test_may_answer_with_calls_which_are_carried_out_as_the_models_are(self) -> None:
        entries, waiting = waits(faulty())
        state = replay([*entries, says(waiting, "answer", output=[use("c", "", a=1)])])
        assert decide(state) == CallTools(4, ((0, use("c", "", a=1)),))

    def test_may_change_the_last_message(self) -> None:
        entries, waiting = waits([helpless()], DOWN)
        state = replay([*entries, says(waiting, "edit", "go on")])
        assert decide(state) == AskModel(1)
        assert [message.text for message in state.messages] == ["go on"]

    def test_changes_a_results_output_where_that_was_last(self) -> None:
        entries, waiting = waits([helpless(), replied(1, use()), returned(1, 0, use())], DOWN)
        state = replay([*entries, says(waiting, "edit", "42")])
        (block,) = state.messages[-1].content
        assert isinstance(block, ToolResultBlock)
        assert (block.id, block.output) == ("c", plain("42"))

    @pytest.mark.parametrize("verdict", ["abort", "deny"])
    def test_may_abort(self, verdict: str) -> None:
        entries, waiting = waits([helpless()], DOWN)
        state = replay([*entries, says(waiting, verdict, reason="not worth it")])
        decision = decide(state)
        assert isinstance(decision, Fail)
        assert decision.failure.code == "model_unavailable"
        assert decision.failure.details["aborted"] == {"by": "me", "reason": "not worth it"}
        assert not may_help(state, NatscopeError("it failed"))

    def test_asks_anew_under_another_id(self) -> None:
        entries, first = waits([helpless()], DOWN)
        _, second = waits([*entries, says(first, "retry")], DOWN)
        assert first.call_id != second.call_id

    @pytest.mark.parametrize("verdict", ["answer", "edit"])
    def test_cannot_say_nothing(self, verdict: str) -> None:
        _, waiting = waits([helpless()], DOWN)
        assert not waiting.takes(says(waiting, verdict).decision)
        assert waiting.takes(says(waiting, verdict, "4").decision)
        assert not waiting.takes(Decision(call_id=waiting.call_id, verdict="approve"))

    def test_is_told_the_last_message(self) -> None:
        _, waiting = waits([helpless(), replied(1, use()), returned(1, 0, use())], DOWN)
        assert waiting.trouble is not None
        assert (waiting.trouble.last.role, waiting.trouble.step) == ("tool", 1)


class TestARunThatNobodyHelps:
    def test_is_aborted_when_the_time_is_up(self) -> None:
        entries, _ = waits([helpless(wait=60)], DOWN)
        waiting = entries[-1]
        assert isinstance(waiting, Parked)
        assert (waiting.unanswered, waiting.until is not None) == ("abort", True)

    def test_is_tried_again_once_where_that_is_declared(self) -> None:
        entries, waiting = waits([helpless(wait=60, unanswered="retry")], DOWN)
        again, _ = waits([*entries, says(waiting, "retry", by=NOBODY)], DOWN)
        found = [entry.unanswered for entry in again if isinstance(entry, Parked)]
        assert found == ["retry", "abort"]

    def test_waits_for_ever_by_default(self) -> None:
        entries, _ = waits([helpless()], DOWN)
        assert isinstance(entries[-1], Parked)
        assert entries[-1].until is None


class TestAskingForHelp:
    def test_is_left_to_the_agent(self) -> None:
        error = ModelUnavailable("it is down")
        assert may_help(replay([helpless()]), error)
        assert not may_help(replay([started()]), error)
        assert not may_help(replay([helpless()]), RunPoisoned("it kills its workers"))

    def test_is_the_same_wherever_the_run_is_taken_over(self) -> None:
        entries, waiting = waits(faulty())
        entries.append(says(waiting, "answer", "4"))
        lines = [JOURNALED.adapter.dump_json(entry) for entry in entries]
        assert replay([JOURNALED.adapter.validate_json(line) for line in lines]) == replay(entries)
