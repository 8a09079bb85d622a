"""A task on a screen, step by step as it happens: what is said on standard output, all else beside it."""

import json
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from natscope.cli.telling import failure_of, printable, summary_of
from natscope.client.ticket import Heard
from natscope.contracts import event
from natscope.contracts.approval import Trouble, Waiting
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.plan import Step
from natscope.contracts.task import Finished

CODE = {"code": "python", "command": "bash"}
"""Arguments that are shown as code, and in which language."""
INDENT = "    "
TAIL = 1_000
"""Characters of what came of a call that are remembered, to tell whether its result says more."""
_MARKS = {"completed": ("✓", "green"), "limited": ("■", "yellow"), "interrupted": ("■", "yellow")}
_RESULTS = {"success": ("✓", "green"), "interrupted": ("■", "yellow"), "unknown": ("?", "yellow")}


class Screen:
    """Shows one task. With standard output on a pipe, it carries what the agent says and nothing else.

    `together` puts everything on standard output, whatever that is; `out` stands in for it. `asks`: whoever reads
    this is asked about calls that wait, and needs no command to decide on them.
    """

    def __init__(self, *, together: bool = False, out: Console | None = None, asks: bool = False) -> None:
        self._asks = asks
        self._out = out or Console(highlight=False, soft_wrap=True)
        apart = not together and not sys.stdout.isatty()
        self._side = Console(highlight=False, soft_wrap=True, stderr=True) if apart else self._out
        self._told: set[tuple[int, int]] = set()
        self._said = ""
        self._open: Console | None = None
        self._told_of: dict[str, str] = {}
        self._midline: tuple[str, str] | None = None
        self._show: dict[type, Callable[[Any], None]] = {
            event.ReplyStart: self._reply_start,
            event.ModelReset: self._model_reset,
            event.ThinkingDelta: self._thinking,
            event.TextDelta: self._text_delta,
            event.TextEnd: self._text_end,
            event.ToolCallEnd: self._call,
            event.ToolProgress: self._tool_progress,
            event.ToolResult: self._result,
            event.ToolMissing: self._tool_missing,
            event.HandedOver: lambda said: self._mark("→", "cyan", f"{said.agent} goes on"),
            event.Heard: lambda said: self._mark("«", "cyan", f"hears {said.message.name}: {said.message.text}"),
            event.Delegated: lambda said: self._mark("→", "cyan", f"asks {said.agent}: task {said.child}"),
            event.PlanMade: lambda said: self._mark("≡", "cyan", f"plan: {_steps(said.steps)}"),
            event.Replanned: lambda said: self._mark("≡", "yellow", f"another plan: {_steps(said.steps)}"),
            event.StepBegun: lambda said: self._mark("→", "cyan", f"step {said.name}: task {said.child}"),
            event.StepEnded: self._step_ended,
            event.ApprovalNeeded: self._approval,
            event.ChildWaits: self._child_waits,
            event.Steered: self._steered,
            event.Interrupted: lambda said: self._mark("■", "yellow", f"interrupted {said.reason}".rstrip()),
            event.Compressed: lambda _: self._mark("≡", "yellow", "the conversation so far was summarised"),
            event.Reasked: lambda said: self._mark("↺", "yellow", f"asked again ({said.fault}): {said.error}"),
            event.Hooked: self._hooked,
            event.Judged: self._judged,
            event.LimitReached: lambda said: self._mark("■", "yellow", f"limit reached: {said.limit}"),
        }

    def submitted(self, task_id: str, agent: str, session: str | None) -> None:
        where = f", session {session}" if session else ""
        self._line(self._side, Text(f"{agent}: task {task_id}{where}", style="dim"))

    def heard(self, item: Heard) -> None:
        show = self._show.get(type(item.event))
        if show is not None:
            show(item.event)

    def note(self, text: str) -> None:
        self._mark("!", "yellow", text)

    def finished(self, outcome: Finished) -> None:
        """Show the answer, if it was not shown piece by piece, and what the task came to."""
        if outcome.text and outcome.text.strip() not in self._said:
            self._say(outcome.text)
        self._end_line()
        sign, colour = _MARKS.get(outcome.state, ("✗", "red"))
        self._mark(sign, colour, summary_of(outcome))
        if failure := failure_of(outcome):
            self._mark(" ", "red", failure)

    def _reply_start(self, said: event.ReplyStart) -> None:
        if said.resumed:
            self._mark("↻", "yellow", "the run is taken up again")

    def _hooked(self, said: event.Hooked) -> None:
        why = said.failure.message if said.failure is not None else said.reason
        done = "has failed, and is passed over" if said.do == "go_on" else f"says {said.do!r}"
        self._mark("⚑", "yellow", f"hook {said.hook} at {said.point} {done}{f': {why}' if why else ''}")

    def _judged(self, said: event.Judged) -> None:
        if said.failure is not None:
            self._mark("?", "yellow", f"{said.by} could not judge the answer: {said.failure.message}")
        elif said.acceptable:
            self._mark("✓", "cyan", f"{said.by} accepts the answer")
        else:
            self._mark("✗", "yellow", f"{said.by} objects: {'; '.join(said.objections)}")

    def _tool_missing(self, said: event.ToolMissing) -> None:
        what = "waits for its host" if said.awaited else "begins without it"
        meant = f"; is it {said.nearest!r}?" if said.nearest else ""
        self._mark("!", "yellow", f"nobody serves the tool {said.tool!r}{meant} (the run {what})")

    def _model_reset(self, said: event.ModelReset) -> None:
        self._told = {place for place in self._told if place[0] != said.step}
        self._mark("↻", "yellow", "void; the model begins again")

    def _thinking(self, said: event.ThinkingDelta) -> None:
        self._write(self._side, Text(printable(said.delta), style="dim italic"))

    def _text_delta(self, said: event.TextDelta) -> None:
        if (said.step, said.block) not in self._told:
            self._told.add((said.step, said.block))
            self._end_line()
        self._say(said.delta)

    def _text_end(self, said: event.TextEnd) -> None:
        if (said.step, said.block) not in self._told:
            self._end_line()
            self._say(said.text)
        self._end_line()

    def _call(self, said: event.ToolCallEnd) -> None:
        self._mark("▶", "cyan", said.call.name)
        text, language = _shown(said.call)
        code = printable(text).rstrip()
        if self._side.is_terminal and not self._side.no_color and language:
            self._line(self._side, _coloured(code, language))
        elif code:
            self._line(self._side, Text(_indented(code)))

    def _tool_progress(self, said: event.ToolProgress) -> None:
        self._told_of[said.call_id] = (self._told_of.get(said.call_id, "") + said.text)[-TAIL:]
        text, place = printable(said.text), (said.call_id, said.stream)
        if not text:
            return
        goes_on = self._open is not None and self._midline == place
        if not goes_on:
            self._end_line()
        ends = text.endswith("\n") or said.stream == "progress"
        shown = text.removesuffix("\n").replace("\n", f"\n{INDENT}") + "\n" * ends
        style = "red dim" if said.stream == "stderr" else "dim"
        self._write(self._side, Text(shown if goes_on else INDENT + shown, style=style))
        self._midline = place

    def _result(self, said: event.ToolResult) -> None:
        told, text = printable(self._told_of.pop(said.result.id, "")), _output(said.result)
        if told and text:
            *_, last = text.splitlines()
            text = "" if said.result.state == "success" or told.rstrip().endswith(last) else last
        if text:
            self._line(self._side, Text(_indented(text), style="dim"))
        sign, colour = _RESULTS.get(said.result.state, ("✗", "red"))
        where = f" ({said.backend})" if said.backend else ""
        self._mark(sign, colour, f"{said.result.name}: {said.result.state}{where}")

    def _step_ended(self, said: event.StepEnded) -> None:
        sign, colour = _RESULTS.get(said.result.state, ("✗", "red"))
        self._mark(sign, colour, f"step {said.name}: {said.result.state}")

    def _child_waits(self, said: event.ChildWaits) -> None:
        self._mark("?", "yellow", f"{said.agent} (task {said.child}) is held up:")
        self._waits(said.child, said.waiting)

    def _approval(self, said: event.ApprovalNeeded) -> None:
        self._waits(said.task_id, said.waiting)

    def _waits(self, task_id: str, waiting: list[Waiting]) -> None:
        for each in waiting:
            if each.trouble is not None:
                self._trouble(task_id, each, each.trouble)
                continue
            why = f" ({each.reason})" if each.reason else ""
            wants = "an answer to" if each.kind == "answer" else "a decision on"
            arguments = each.call.raw_input or json.dumps(each.call.input, ensure_ascii=False)
            self._mark("?", "yellow", f"waits for {wants} {each.call.name} {arguments}{why}")
            how = "answer --text '…'" if each.kind == "answer" else "approve   (or deny --text 'why')"
            if not self._asks:
                self._mark("?", "yellow", f"natscope decide {task_id} {each.call_id} {how}")

    def _trouble(self, task_id: str, waiting: Waiting, trouble: Trouble) -> None:
        self._mark("?", "yellow", trouble.question)
        for each in trouble.tried:
            self._line(self._side, Text(_indented(f"tier {each.tier}, {each.what}: {each.error}"), style="dim"))
        answer = "--text '…'" if waiting.output_schema is None else "--tool finish --arguments '{…}'"
        how = f"retry   (or abort, answer {answer}, edit --text '…')"
        self._mark("?", "yellow", f"natscope decide {task_id} {waiting.call_id} {how}")

    def _steered(self, said: event.Steered) -> None:
        what = "redirects it" if said.redirect else "says"
        self._mark("→", "cyan", f"{said.message.name} {what}: {text_of(said.message.content)}")

    def _say(self, text: str) -> None:
        self._said += text
        self._write(self._out, Text(printable(text)))

    def _mark(self, sign: str, colour: str, text: str) -> None:
        self._line(self._side, Text.assemble((sign, f"bold {colour}"), " ", (printable(text), colour)))

    def _write(self, console: Console, text: Text) -> None:
        if self._open is not None and self._open is not console:
            self._end_line()
        console.print(text, end="")
        console.file.flush()
        self._midline = None
        self._open = None if text.plain.endswith("\n") else console

    def _line(self, console: Console, what: Text) -> None:
        self._end_line()
        console.print(what)

    def _end_line(self) -> None:
        if self._open is not None:
            self._open.print()
            self._open = None


def _shown(call: ToolUseBlock) -> tuple[str, str | None]:
    """Return a call's arguments as text, and the language of that text if it is code."""
    if len(call.input) >= 1:
        for name, language in CODE.items():
            if isinstance(code := call.input.get(name), str):
                return code, language
        return json.dumps(call.input, ensure_ascii=False, indent=2), "json"
    return call.raw_input, None


def _steps(steps: list[Step]) -> str:
    waits = {step.id: f" (after {', '.join(step.depends_on)})" if step.depends_on else "" for step in steps}
    return ", ".join(f"{id}{after}" for id, after in waits.items())


def _coloured(code: str, language: str) -> Text:
    """Return code in colours as text: the terminal breaks its lines, and none is filled up with blanks."""
    coloured = Syntax("", language, background_color="default").highlight(code)
    coloured.rstrip()
    return Text("\n").join(Text(INDENT) + line for line in coloured.split("\n"))


def _output(result: ToolResultBlock) -> str:
    return printable(text_of(result.output)).rstrip("\n")


def _indented(text: str) -> str:
    return "\n".join(INDENT + line for line in text.splitlines())
