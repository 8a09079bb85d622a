"""`natscope decide`: what a task waits with, and what is decided about it."""

import json
import sys
from typing import Literal

from pydantic import JsonValue, TypeAdapter, ValidationError

from natscope import client
from natscope.contracts.approval import Decision, Waiting
from natscope.contracts.blocks import ContentBlock, ToolUseBlock, plain
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid

_OBJECT = TypeAdapter[dict[str, JsonValue]](dict[str, JsonValue])
Verdict = Literal["approve", "deny", "answer", "edit", "retry", "abort"]


async def show(task_id: str, *, as_json: bool) -> None:
    """List the calls that a task waits with."""
    async with client.open() as house:
        waiting = await house.ticket(task_id).waiting()
    for each in waiting:
        sys.stdout.write((each.model_dump_json() if as_json else _line(each)) + "\n")
    if not waiting and not as_json:
        sys.stderr.write(f"task {task_id!r} waits for nobody, or is not there\n")


def decision_of(call_id: str, verdict: Verdict, *, text: str, arguments: str | None, tool: str | None) -> Decision:
    """Return the decision on one call, or of what becomes of a run that needs help.

    `text` is the answer, the new words of the last message, or the reason of a denial; `tool` makes the answer a call.
    """
    given = _object(arguments) if arguments is not None else None
    says = verdict in ("answer", "edit")
    output: list[ContentBlock] = list(plain(text)) if says and text else []
    if tool is not None:
        output.append(ToolUseBlock(id=new_id(), name=tool, input=given or {}))
        given = None
    reason = "" if says else text
    return Decision(call_id=call_id, verdict=verdict, arguments=given, output=output, reason=reason)


def why_not(verdict: Verdict, *, text: str, arguments: str | None, tool: str | None) -> str | None:
    """Return what is missing or too much in a decision; None if nothing is."""
    if verdict in ("answer", "edit") and not text and tool is None:
        return f"{verdict} needs its --text"
    if tool is not None and verdict != "answer":
        return "--tool goes with answer"
    if arguments is not None and verdict != "approve" and tool is None:
        return "--arguments goes with approve, or with --tool"
    return None


async def decide(
    task_id: str, call_id: str, verdict: Verdict, *, text: str, arguments: str | None, tool: str | None
) -> None:
    """Decide on one call (see `decision_of`)."""
    decision = decision_of(call_id, verdict, text=text, arguments=arguments, tool=tool)
    async with client.open() as house:
        await house.ticket(task_id).decide(decision)
    sys.stderr.write(f"decided; `natscope watch --task {task_id}` shows how it goes on\n")


async def steer(task_id: str, message: str, *, redirect: bool) -> None:
    """Tell a task something before its next model call."""
    async with client.open() as house:
        await house.ticket(task_id).steer(message, redirect=redirect)
    sys.stderr.write(f"told; `natscope watch --task {task_id}` shows how it goes on\n")


def _object(text: str) -> dict[str, JsonValue]:
    try:
        return _OBJECT.validate_json(text)
    except ValidationError as error:
        raise BodyInvalid(f"--arguments is no JSON object: {text}") from error


def _line(waiting: Waiting) -> str:
    arguments = waiting.call.raw_input or json.dumps(waiting.call.input, ensure_ascii=False)
    why = f"  ({waiting.reason})" if waiting.reason else ""
    return f"{waiting.call_id}  {waiting.kind}  {waiting.call.name} {arguments}{why}"
