"""Telling a task to whoever asked: as JSON lines for programs, as the bare answer, or step by step on a screen."""

import json
import sys
from typing import Protocol, TextIO

from pydantic import BaseModel
from rich.console import Console

from natscope.client.ticket import Heard
from natscope.contracts.event import TaskEvent
from natscope.contracts.task import Finished

PIPED_WIDTH = 400
"""A pipe has no width; no line of a table or a trace is longer."""
_KEPT = frozenset("\n\t")


class Teller(Protocol):
    """Hears of one task from its submission to its outcome."""

    def submitted(self, task_id: str, agent: str, session: str | None) -> None: ...

    def heard(self, item: Heard) -> None: ...

    def note(self, text: str) -> None: ...

    def finished(self, outcome: Finished) -> None: ...


def wide_console() -> Console:
    """Return a console that breaks lines where the terminal does, and on a pipe not at all."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def printable(text: str) -> str:
    """Return `text` without control characters (but line feeds and tabs): nobody's output may steer the terminal."""
    return "".join(letter for letter in text if letter in _KEPT or not _is_control(letter))


def _is_control(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter <= "\x9f"


def summary_of(outcome: Finished) -> str:
    """Return state, calls, tokens and time of an outcome on one line."""
    seconds = (outcome.finished_at - outcome.started_at).total_seconds()
    usage = outcome.usage
    parts = [
        outcome.state if outcome.limit is None else f"{outcome.state} ({outcome.limit})",
        f"{counted(outcome.model_calls, 'model call')}, {counted(outcome.tool_calls, 'tool call')}",
        f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out",
        f"{seconds:.2f} s",
    ]
    return " · ".join(parts)


def counted(number: int, noun: str) -> str:
    """Return the number with its noun, in the plural unless it is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def failure_of(outcome: Finished) -> str | None:
    """Return why the task failed, on one line, or None."""
    if outcome.failure is None:
        return None
    remedy = f" ({outcome.failure.remedy})" if outcome.failure.remedy else ""
    return printable(" ".join(f"{outcome.failure.code}: {outcome.failure.message}{remedy}".split()))


class JsonLines:
    """One JSON object per line: `submitted`, then an `event` each, then the `outcome`."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def submitted(self, task_id: str, agent: str, session: str | None) -> None:
        self._write({"kind": "submitted", "task_id": task_id, "agent": agent, "session": session})

    def heard(self, item: Heard) -> None:
        self._write({"kind": "event", "sequence": item.sequence, "event": as_json(item.event)})

    def note(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")

    def finished(self, outcome: Finished) -> None:
        self._write({"kind": "outcome", "outcome": as_json(outcome)})

    def _write(self, line: dict[str, object]) -> None:
        self._out.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._out.flush()


class Answer:
    """Nothing but the answer, once it is there; why there is none goes to standard error."""

    def submitted(self, task_id: str, agent: str, session: str | None) -> None:
        pass

    def heard(self, item: Heard) -> None:
        pass

    def note(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")

    def finished(self, outcome: Finished) -> None:
        if outcome.text:
            sys.stdout.write(printable(outcome.text).rstrip("\n") + "\n")
        if outcome.state != "completed":
            self.note(failure_of(outcome) or summary_of(outcome))


def as_json(value: BaseModel | TaskEvent) -> object:
    """Return a contract as plain JSON values."""
    return value.model_dump(mode="json")
