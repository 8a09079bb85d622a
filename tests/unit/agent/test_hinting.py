"""Runtime hints: told with each question, the same from the same journal, and never kept."""

from pydantic import JsonValue

from natscope.contracts.blocks import ToolResultBlock, plain
from natscope.contracts.message import Message
from natscope.contracts.model import Usage
from natscope.contracts.run import JOURNALED, JournalEntry, Started, ToolReturned
from natscope.contracts.tool import OPEN_TASKS, OpenTasks
from services.agent.actions import AskModel
from services.agent.loop import decide, replay
from services.agent.open_tasks import kept
from services.agent.shortening import remembering
from services.agent.thinking import question
from tests.unit.agent.test_loop import AT, replied, returned, started, use
from tests.unit.agent.test_reasking import failed


def hinted(size: int | None = None, **hints: bool) -> Started:
    begun = started()
    spec = type(begun.agent).model_validate(begun.agent.model_dump() | {"hints": hints})
    return begun.model_copy(update={"agent": spec, "context_size": size})


def told(step: int, index: int, left: list[str], *, change: int = 1) -> ToolReturned:
    metadata: dict[str, JsonValue] = {"index": index, OPEN_TASKS: OpenTasks(change=change, tasks=left).model_dump()}
    result = ToolResultBlock(id="c", name="task_update", output=plain("ok"), metadata=metadata)
    return ToolReturned(at=AT, step=step, result=result)


def asked(*entries: JournalEntry) -> list[Message]:
    state = replay(entries)
    wanted = decide(state)
    assert isinstance(wanted, AskModel)
    return question(state, [], wanted).messages


class TestHints:
    def test_there_are_none_unless_the_agent_has_asked_for_them(self) -> None:
        assert [message.role for message in asked(started())] == ["system", "user"]

    def test_say_what_time_it_is_behind_the_conversation(self) -> None:
        last = asked(hinted(time=True))[-1]
        assert (last.name, "Thursday, 2026-01-01 00:00 UTC" in last.text) == ("system", True)

    def test_say_that_the_window_fills_before_a_summary_is_made(self) -> None:
        def with_tokens(tokens: int) -> list[Message]:
            usage = Usage(input_tokens=tokens, output_tokens=1)
            return asked(hinted(1000, nearly_full=True), replied(1, use(), usage=usage), returned(1, 0, use()))

        assert "65% of your window" in with_tokens(650)[-1].text
        assert with_tokens(500)[-1].role == "tool"

    def test_say_which_call_has_failed_again(self) -> None:
        twice = [entry for step in (1, 2) for entry in (replied(step, use()), failed(step, use()))]
        assert "failed 2 times in a row: add {}" in asked(hinted(failing=True), *twice)[-1].text
        assert asked(hinted(failing=True), *twice[:2])[-1].role == "tool"
        assert asked(hinted(), *twice)[-1].role == "tool"

    def test_say_what_is_left_on_the_list_of_tasks(self) -> None:
        call = use()
        entries = [replied(1, call, call), told(1, 0, ["1. [pending] b"], change=3), told(1, 1, ["1. [pending] a"])]
        last = asked(hinted(open_tasks=True), *entries)[-1].text
        assert last.endswith("- On your list of tasks is left:\n  1. [pending] b")
        assert asked(hinted(), *entries)[-1].role == "tool"
        done = [replied(2, call), told(2, 0, [], change=4)]
        assert asked(hinted(open_tasks=True), *entries, *done)[-1].role == "tool"

    def test_remember_the_list_from_earlier_tasks_of_the_session(self) -> None:
        message = Message(name="task_create", role="tool", content=[told(1, 0, ["1. [pending] a"]).result])
        state = remembering(replay([hinted(open_tasks=True)]), [message])
        assert "1. [pending] a" in question(state, [], AskModel(1)).messages[-1].text

    def test_remember_the_list_from_a_summary(self) -> None:
        state = replay([hinted(open_tasks=True), replied(1, use()), told(1, 0, ["1. [pending] a"])])
        summary = Message(name="summary", role="user", content=[], metadata=kept(state))
        after = remembering(replay([hinted(open_tasks=True)]), [summary])
        assert "1. [pending] a" in question(after, [], AskModel(1)).messages[-1].text

    def test_are_not_kept_and_are_the_same_after_a_takeover(self) -> None:
        entries = [hinted(time=True, failing=True), replied(1, use()), returned(1, 0, use())]
        assert len(replay(entries).messages) == 3
        read = [JOURNALED.adapter.validate_json(JOURNALED.adapter.dump_json(entry)) for entry in entries]
        assert asked(*read) == asked(*entries)
