"""Replies of no use: asked again a bounded number of times, without the conversation growing by each."""

from typing import Any

import pytest

from natscope.contracts.blocks import ThinkingBlock, ToolResultBlock, ToolUseBlock, plain
from natscope.contracts.message import Message
from natscope.contracts.model import Usage
from natscope.contracts.run import JOURNALED, JournalEntry, ModelReplied, Started, ToolReturned
from services.agent.actions import AskModel, Finish
from services.agent.loop import decide, replay
from services.agent.refusing import refuse
from services.agent.state import State
from services.agent.thinking import question
from tests.unit.agent.test_loop import AT, replied, returned, started, use, useless

OUTPUT = {"json_schema": {"type": "object"}}
UNKNOWN = ToolUseBlock(id="u", name="fly", input={}, raw_input="{}")


def owing() -> Started:
    begun = started()
    spec = type(begun.agent).model_validate(begun.agent.model_dump() | {"output": OUTPUT})
    return begun.model_copy(update={"agent": spec})


def failed(step: int, call: ToolUseBlock, index: int = 0) -> ToolReturned:
    result = ToolResultBlock(
        id=call.id, name=call.name, output=plain("no such file"), state="error", metadata={"index": index}
    )
    return ToolReturned(at=AT, step=step, result=result)


def silent(step: int) -> ModelReplied:
    content = [ThinkingBlock(thinking="Hm."), *plain("  ")]
    return replied(step, message=Message(id=f"t-{step}", name="a", role="assistant", content=content, created_at=AT))


def tries(kind: str, times: int) -> list[JournalEntry]:
    """Return a journal of a run whose model has made the same fault so many times in a row."""
    entries: list[JournalEntry] = [owing() if kind == "output" else started()]
    if kind == "repeated":
        entries += [entry for step in (1, 2) for entry in (replied(step, use()), failed(step, use()))]
    for step in range(len(entries) // 2 + 1, len(entries) // 2 + 1 + times):
        match kind:
            case "arguments":
                entries += [replied(step, useless()), failed(step, useless())]
            case "unknown_tool":
                entries += [replied(step, UNKNOWN), failed(step, UNKNOWN)]
            case "repeated":
                entries += [replied(step, use()), failed(step, use())]
            case "output":
                entries += [replied(step, text="It is 4.")]
            case _:
                entries += [silent(step)]
    return entries


def asked(state: State, **more: Any) -> list[Message]:
    """Return what the model is given when it is asked again."""
    wanted = decide(state)
    assert isinstance(wanted, AskModel)
    return question(state, [], wanted).messages


KINDS = ["arguments", "unknown_tool", "repeated", "output", "empty"]


class TestAReplyOfNoUse:
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_asked_for_again_twice_and_then_an_answer_without_tools(self, kind: str) -> None:
        limits = {"output": "arguments", "unknown_tool": "arguments"}
        found = [decide(replay(tries(kind, times))) for times in (1, 2, 3)]
        wanted = [each.limit if isinstance(each, AskModel) else "none" for each in found]
        assert wanted == [None, None, limits.get(kind, kind)]

    @pytest.mark.parametrize("kind", KINDS)
    def test_leaves_the_conversation_as_long_as_after_the_first(self, kind: str) -> None:
        lengths = [len(asked(replay(tries(kind, times)))) for times in (1, 2)]
        more = 1 if kind == "repeated" else 0
        assert lengths[1] <= lengths[0] + more
        last = asked(replay(tries(kind, 3)))
        assert len(last) <= lengths[1] + 1

    @pytest.mark.parametrize("kind", KINDS)
    def test_counts_the_same_wherever_the_run_is_taken_over(self, kind: str) -> None:
        entries = tries(kind, 3)
        for cut in range(1, len(entries) + 1):
            lines = [JOURNALED.adapter.dump_json(entry) for entry in entries[:cut]]
            read = replay([JOURNALED.adapter.validate_json(line) for line in lines])
            assert (read.fault, read.messages) == (replay(entries[:cut]).fault, replay(entries[:cut]).messages)

    @pytest.mark.parametrize("kind", KINDS)
    def test_is_forgotten_once_a_reply_is_of_use(self, kind: str) -> None:
        entries = tries(kind, 2)
        step = sum(isinstance(each, ModelReplied) for each in entries) + 1
        other = use("c9", '{"a": 9}', a=9)
        state = replay([*entries, replied(step, other), returned(step, 0, other)])
        assert state.fault is None
        carried_out = 4 if kind == "repeated" else 1
        assert len(state.messages) == 1 + 2 * carried_out
        assert decide(state) == AskModel(step + 1)

    def test_is_not_asked_for_again_once_that_has_cost_twice_what_it_has(self) -> None:
        def cost(step: int, tokens: int) -> ModelReplied:
            return replied(step, useless(), usage=Usage(input_tokens=tokens))

        within = replay([started(), cost(1, 10), failed(1, useless()), cost(2, 19), failed(2, useless())])
        beyond = replay([started(), cost(1, 10), failed(1, useless()), cost(2, 20), failed(2, useless())])
        assert decide(within) == AskModel(3)
        assert decide(beyond) == AskModel(3, limit="arguments")


class TestWhatTheModelIsShown:
    def test_is_the_latest_try_only_and_the_results_of_what_was_carried_out(self) -> None:
        good = use("good", '{"a": 1}', a=1)
        state = replay(
            [
                started(),
                replied(1, good, useless(), text="Both."),
                returned(1, 0, good),
                failed(1, useless(), 1),
                replied(2, useless()),
                failed(2, useless()),
                replied(3, text="done"),
            ]
        )
        shown = [[block.type for block in message.content] for message in state.messages]
        assert shown == [["text"], ["text", "tool_use"], ["tool_result"], ["text"]]

    def test_of_an_empty_answer_is_not_the_answer_but_that_it_was_empty(self) -> None:
        messages = asked(replay(tries("empty", 1)))
        assert [message.role for message in messages] == ["system", "user", "user"]
        assert "empty" in messages[-1].text

    def test_of_a_call_that_fails_again_and_again_is_what_it_was_and_its_error(self) -> None:
        told = asked(replay(tries("repeated", 1)))[-1]
        assert (told.role, "3 times" in told.text, "no such file" in told.text) == ("user", True, True)

    def test_is_not_kept_as_what_the_user_has_said(self) -> None:
        users = [message for message in replay(tries("repeated", 1)).messages if message.role == "user"]
        assert [message.text for message in users] == ["go"]


class TestACallThatHasFailedThreeTimes:
    def test_is_not_carried_out_a_fourth_time(self) -> None:
        assert refuse(replay(tries("repeated", 1)[:-1]), use()) is None
        assert "failed 3 times" in (refuse(replay(tries("repeated", 2)[:-1]), use()) or "")

    def test_is_carried_out_again_once_another_has_succeeded(self) -> None:
        entries = tries("repeated", 1)
        other = use("o", '{"a": 1}', a=1)
        state = replay([*entries, replied(4, other), returned(4, 0, other), replied(5, use())])
        assert refuse(state, use()) is None

    def test_with_other_arguments_is_another_call(self) -> None:
        entries: list[JournalEntry] = [started()]
        for step in (1, 2, 3):
            call = use("c", "", a=step)
            entries += [replied(step, call), failed(step, call)]
        assert replay(entries).fault is None


class TestAnAnswer:
    def test_with_words_ends_the_run(self) -> None:
        assert isinstance(decide(replay([started(), replied(1, text="4")])), Finish)

    def test_that_a_policy_has_emptied_is_not_asked_for_again(self) -> None:
        entry = silent(1).model_copy(update={"finish_reason": "content_filter"})
        assert isinstance(decide(replay([started(), entry])), Finish)
