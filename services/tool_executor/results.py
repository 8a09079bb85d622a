"""Turn the outcome of a run, or the loss of one, into what a model reads."""

import signal
from collections.abc import Sequence
from dataclasses import replace

from pydantic import JsonValue

from natscope.contracts.blocks import ContentBlock, ResultState, TextBlock
from services.tool_executor.cells import FileRefused, Limit, Outcome
from services.tool_executor.tools.port import Result

MOST_UNPLACED = 3
"""Files that a result names as not being in the workspace."""
_LIMITS: dict[Limit, str] = {
    "cpu_s": "CPU time",
    "processes": "processes",
    "disk_bytes": "bytes in the workspace",
    "files": "files in the workspace",
}


def result_of(outcome: Outcome, *, backend: str, new_workspace: bool) -> Result:
    """Return the result: standard output, standard error, and how the program ended if not well."""
    output: list[ContentBlock] = []
    if outcome.stdout.text:
        output.append(TextBlock(text=outcome.stdout.text))
    if outcome.stderr.text:
        output.append(TextBlock(text=f"[stderr]\n{outcome.stderr.text}"))
    ending = ending_of(outcome)
    if ending is not None:
        output.append(TextBlock(text=f"[{ending}]"))
    output += [TextBlock(text=f"[{remark}]") for remark in _remarks(outcome)]
    if not output:
        output.append(TextBlock(text="[no output]"))
    return Result(output, _state(outcome), _metadata(outcome, backend=backend, new_workspace=new_workspace))


def lost(why: str, *, backend: str | None, idempotent: bool = False) -> Result:
    """Return the result of a call that had begun and whose outcome is not known; `backend` is that of its cell."""
    gone = " Its workspace is gone; the next call starts in an empty one" if backend else ""
    metadata: dict[str, JsonValue] = {"backend": backend} if backend else {}
    if idempotent:
        return Result([TextBlock(text=f"[failed: {why}.{gone}]")], "error", metadata)
    text = f"[outcome unknown: {why}. The call had begun and was not carried out again.{gone}]"
    return Result([TextBlock(text=text)], "unknown", metadata)


def refused(error: FileRefused, *, backend: str) -> Result:
    """Return the result of a call that the cell's files were not given for."""
    return Result([TextBlock(text=f"[{error.code}] {error}")], "error", {"backend": backend, "code": error.code})


def without(result: Result, unplaced: Sequence[str]) -> Result:
    """Return the result of a call that ran without some of its files."""
    told = [*unplaced[:MOST_UNPLACED], *([f"and {more} more"] if (more := len(unplaced) - MOST_UNPLACED) > 0 else [])]
    return replace(result, output=[*result.output, *(TextBlock(text=f"[{each}]") for each in told)])


def interrupted() -> Result:
    """Return the result of a call that was stopped because nobody wanted it any more."""
    return Result([TextBlock(text="[stopped: the call is no longer wanted]")], "interrupted")


def ending_of(outcome: Outcome) -> str | None:
    """Return in words how the program ended, or None if it ended well."""
    if outcome.timed_out:
        return f"stopped: over the time limit after {outcome.duration.total_seconds():.1f} s"
    if outcome.cancelled:
        return "stopped: the call is no longer wanted"
    if outcome.out_of_memory and not outcome.succeeded:
        return "killed: out of memory"
    if outcome.over is not None:
        return f"stopped: over the limit of {_LIMITS[outcome.over]}"
    if outcome.signal is not None:
        return f"killed by {_name_of(outcome.signal)}"
    return None if outcome.exit_code == 0 else f"exit code {outcome.exit_code}"


def _remarks(outcome: Outcome) -> list[str]:
    """Return what else a model has to know, whether the program ended well or not."""
    remarks: list[str] = []
    if outcome.disk_full:
        remarks.append("the disk is full: what was written last may be missing")
    if outcome.temporary_lost:
        remarks.append("what was in /tmp is gone")
    if outcome.variables == "lost":
        remarks.append("variables of earlier calls were lost, for their interpreter had been ended")
    return remarks


def _state(outcome: Outcome) -> ResultState:
    if outcome.cancelled:
        return "interrupted"
    return "success" if outcome.succeeded else "error"


def _metadata(outcome: Outcome, *, backend: str, new_workspace: bool) -> dict[str, JsonValue]:
    return {
        "backend": backend,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "timed_out": outcome.timed_out,
        "out_of_memory": outcome.out_of_memory,
        "duration_ms": round(outcome.duration.total_seconds() * 1000, 1),
        "cpu_ms": round(outcome.cpu_s * 1000, 1),
        "dropped_bytes": {"stdout": outcome.stdout.dropped_bytes, "stderr": outcome.stderr.dropped_bytes},
        "new_workspace": new_workspace,
        "over": outcome.over,
        "variables": outcome.variables,
    }


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
