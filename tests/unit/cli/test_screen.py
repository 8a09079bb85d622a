"""A task on a screen that is a pipe: what is said on standard output, all else on standard error."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from natscope.cli.screen import Screen
from natscope.cli.telling import Answer, printable
from natscope.client import Heard
from natscope.contracts import event
from natscope.contracts.blocks import ResultState, TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.errors import Failure
from natscope.contracts.event import TaskEvent
from natscope.contracts.task import Finished

Out = pytest.CaptureFixture[str]
OUTCOME = Finished(task_id="t", agent="a", session="s", state="completed", text="The answer.")


def delta(text: str, *, step: int = 1, block: int = 0) -> TaskEvent:
    return event.TextDelta(task_id="t", step=step, block=block, delta=text)


def shown(capsys: Out, *told: TaskEvent, outcome: Finished | None = None) -> tuple[str, list[str]]:
    screen = Screen()
    for each in told:
        screen.heard(Heard(1, each))
    if outcome is not None:
        screen.finished(outcome)
    captured = capsys.readouterr()
    return captured.out, captured.err.splitlines()


class TestText:
    def test_tokens_are_said_as_they_come_and_not_again_at_the_end(self, capsys: Out) -> None:
        end = event.TextEnd(task_id="t", step=1, block=0, text="The answer.")
        out, _ = shown(capsys, delta("The "), delta("answer."), end, outcome=OUTCOME)
        assert out == "The answer.\n"

    def test_without_tokens_the_whole_text_is_said_once(self, capsys: Out) -> None:
        out, _ = shown(capsys, event.TextEnd(task_id="t", step=1, block=0, text="The answer."), outcome=OUTCOME)
        assert out == "The answer.\n"

    def test_without_events_the_outcome_has_the_answer(self, capsys: Out) -> None:
        assert shown(capsys, outcome=OUTCOME)[0] == "The answer.\n"

    def test_what_was_void_is_said_to_be_and_the_new_text_begins_a_line(self, capsys: Out) -> None:
        out, err = shown(capsys, delta("The ans"), event.ModelReset(task_id="t", step=1), delta("The answer."))
        assert out == "The ans\nThe answer."
        assert err == ["↻ void; the model begins again"]

    def test_thinking_is_not_what_is_said(self, capsys: Out) -> None:
        thinking = event.ThinkingDelta(task_id="t", step=1, block=0, delta="hm")
        assert shown(capsys, thinking, delta("Yes."))[0] == "Yes."


class TestARun:
    def test_that_is_taken_up_again_is_said_to_be_and_not_by_whom(self, capsys: Out) -> None:
        start = event.ReplyStart(task_id="t", agent="a", session="s")
        again = start.model_copy(update={"resumed": True})
        assert shown(capsys, start, again)[1] == ["↻ the run is taken up again"]


class TestCalls:
    def test_each_calls_output_is_shown_once_whether_it_came_as_progress_or_not(self, capsys: Out) -> None:
        progress = event.ToolProgress(task_id="t", step=1, call_id="c1", stream="stdout", text="one\ntwo\n")
        results = [
            event.ToolResult(
                task_id="t",
                step=1,
                result=ToolResultBlock(id=id, name="count", output=[TextBlock(text=text)]),
                backend=backend,
            )
            for id, text, backend in (("c1", "one\ntwo\n", "docker"), ("c2", "three\n", None))
        ]
        assert shown(capsys, progress, *results)[1] == [
            "    one",
            "    two",
            "✓ count: success (docker)",
            "    three",
            "✓ count: success",
        ]

    def test_pieces_of_a_line_stay_on_it_and_other_streams_get_lines_of_their_own(self, capsys: Out) -> None:
        pieces = [
            ("stderr", "cat: "),
            ("stderr", "a"),
            ("stderr", ": gone\n\n"),
            ("stderr", "b"),
            ("stdout", "1\n2"),
            ("stdout", "3\n"),
            ("progress", "half"),
            ("progress", "done"),
        ]
        told = [
            event.ToolProgress(task_id="t", step=1, call_id="c1", stream=stream, text=text) for stream, text in pieces
        ]
        assert [line.rstrip() for line in shown(capsys, *told)[1]] == [
            *("    cat: a: gone", "", "    b", "    1", "    23", "    half", "    done"),
        ]

    @pytest.mark.parametrize(
        ("state", "text", "more"),
        [
            ("error", "one\n[stopped: over the time limit]", ["    [stopped: over the time limit]"]),
            ("error", "one\n", []),
            ("success", "[1]", []),
        ],
    )
    def test_why_a_call_failed_is_shown_below_what_it_told(
        self, capsys: Out, state: ResultState, text: str, more: list[str]
    ) -> None:
        progress = event.ToolProgress(task_id="t", step=1, call_id="c1", stream="stdout", text="one\n")
        block = ToolResultBlock(id="c1", name="count", output=[TextBlock(text=text)], state=state)
        said = shown(capsys, progress, event.ToolResult(task_id="t", step=1, result=block))[1]
        assert said[:-1] == ["    one", *more]

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"input": {"code": "print(1)\nprint(2)\n"}}, ["    print(1)", "    print(2)"]),
            ({"input": {"city": "Kiel"}}, ["    {", '      "city": "Kiel"', "    }"]),
            ({"raw_input": '{"city": '}, ['    {"city":']),
            ({}, []),
        ],
    )
    def test_arguments_are_shown_as_code_or_json_or_as_they_came(
        self, capsys: Out, given: dict[str, object], told: list[str]
    ) -> None:
        call = ToolUseBlock.model_validate({"id": "c", "name": "run", **given})
        assert shown(capsys, event.ToolCallEnd(task_id="t", step=1, block=0, call=call))[1] == ["▶ run", *told]


class TestColours:
    def test_a_program_is_whole_on_a_narrow_terminal_and_not_filled_up(self) -> None:
        out = io.StringIO()
        terminal = Console(file=out, width=40, force_terminal=True, color_system="standard", soft_wrap=True)
        program = "\n\ndef f():\n    return " + " + ".join(f"value_{number}" for number in range(20))
        call = ToolUseBlock(id="c", name="execute_python", input={"code": program})
        Screen(together=True, out=terminal).heard(Heard(1, event.ToolCallEnd(task_id="t", step=1, block=0, call=call)))
        assert "\x1b[" in out.getvalue()
        lines = Text.from_ansi(out.getvalue()).plain.splitlines()
        assert [line for line in lines[1:] if line.strip()] == [f"    {line}" for line in program.split("\n")[2:]]


class TestOutcome:
    def test_a_failure_is_one_line_with_the_way_out(self, capsys: Out) -> None:
        failure = Failure(code="model_unavailable", message="503\nafter 4 tries", remedy="try later")
        Answer().finished(OUTCOME.model_copy(update={"state": "failed", "text": "", "failure": failure}))
        assert capsys.readouterr() == ("", "model_unavailable: 503 after 4 tries (try later)\n")


class TestPrintable:
    def test_control_characters_are_left_out_but_line_feeds_and_tabs(self) -> None:
        assert printable("a\x1b[31m\tb\r\n\x07c\x9b2Jü漢🐟") == "a[31m\tb\nc2Jü漢🐟"
