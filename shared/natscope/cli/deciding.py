"""`natscope decide`, `steer` and `interrupt`: what a task waits with, what is decided about it, and what it is told."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue, TypeAdapter, ValidationError

from natscope import client
from natscope.contracts.approval import Decision, Rule, Waiting
from natscope.contracts.blocks import ContentBlock, ToolUseBlock, plain
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid

_OBJECT = TypeAdapter[dict[str, JsonValue]](dict[str, JsonValue])
Verdict = Literal["approve", "deny", "answer", "edit", "retry", "abort"]


@dataclass(frozen=True)
class Typed:
    """What `natscope decide` was told about one call."""

    call: str
    verdict: Verdict
    text: str
    arguments: str | None
    tool: str | None
    rules: tuple[str, ...]
    always: bool
    """Also the rules under which such calls would not be asked about again."""


async def show(task_id: str, *, as_json: bool) -> None:
    """List the calls that a task waits with."""
    async with client.open() as house:
        ticket = house.ticket(task_id)
        waiting = await ticket.waiting()
        if not waiting:
            await ticket.check_known()
    for each in waiting:
        sys.stdout.write((each.model_dump_json() if as_json else _line(each)) + "\n")
    if not waiting and not as_json:
        sys.stderr.write(f"task {task_id!r} waits for nobody\n")


def decision_of(
    call_id: str, verdict: Verdict, *, text: str, arguments: str | None, tool: str | None, rules: Iterable[str] = ()
) -> Decision:
    """Return the decision on one call, or of what becomes of a run that needs help.

    `text` is the answer, the new words of the last message, or the reason of a denial; `tool` makes the answer a call.
    A rule is a behaviour, a tool and, if it has one, a pattern: `allow execute_shell git *`.

    Raises:
        BodyInvalid: the arguments are no JSON object, or a rule is none.
    """
    given = _object(arguments) if arguments is not None else None
    says = verdict in ("answer", "edit")
    output: list[ContentBlock] = list(plain(text)) if says and text else []
    if tool is not None:
        output.append(ToolUseBlock(id=new_id(), name=tool, input=given or {}))
        given = None
    reason = "" if says else text
    held = [_rule(each) for each in rules]
    return Decision(call_id=call_id, verdict=verdict, arguments=given, output=output, reason=reason, rules=held)


def why_not(verdict: Verdict, *, text: str, arguments: str | None, tool: str | None) -> str | None:
    """Return what is missing or too much in a decision; None if nothing is."""
    if verdict in ("answer", "edit") and not text and tool is None:
        return f"{verdict} needs its --text"
    if tool is not None and verdict != "answer":
        return "--tool goes with answer"
    if arguments is not None and verdict != "approve" and tool is None:
        return "--arguments goes with approve, or with --tool"
    return None


async def decide(task_id: str, typed: Typed) -> None:
    """Decide on one call."""
    given, tool = typed.arguments, typed.tool
    decision = decision_of(typed.call, typed.verdict, text=typed.text, arguments=given, tool=tool, rules=typed.rules)
    async with client.open() as house:
        ticket = house.ticket(task_id)
        if typed.always:
            about = [each for each in await ticket.waiting() if each.call_id == typed.call]
            rules = [*decision.rules, *(rule for each in about for rule in each.rules)]
            decision = decision.model_copy(update={"rules": rules})
        await ticket.decide(decision)
    sys.stderr.write(f"decided; `natscope watch --task {task_id}` shows how it goes on\n")


async def steer(task_id: str, message: str, *, redirect: bool) -> None:
    """Tell a task something before its next model call."""
    async with client.open() as house:
        await house.ticket(task_id).steer(message, redirect=redirect)
    sys.stderr.write(f"told; `natscope watch --task {task_id}` shows how it goes on\n")


async def interrupt(task_id: str, reason: str) -> None:
    """Stop a task that is not over."""
    async with client.open() as house:
        await house.ticket(task_id).interrupt(reason)
    sys.stderr.write(f"interrupted; `natscope watch --task {task_id}` shows how it ends\n")


def _rule(text: str) -> Rule:
    behaviour, tool, pattern = (*text.split(maxsplit=2), "", "", "")[:3]
    try:
        if not tool:
            raise ValueError
        return Rule.model_validate({"behaviour": behaviour, "tool": tool, "pattern": pattern})
    except ValueError as error:
        raise BodyInvalid(f"--rule {text!r} is none", remedy="such as 'allow execute_shell git *'") from error


def _object(text: str) -> dict[str, JsonValue]:
    try:
        return _OBJECT.validate_json(text)
    except ValidationError as error:
        raise BodyInvalid(f"--arguments is no JSON object: {text}") from error


def _line(waiting: Waiting) -> str:
    arguments = waiting.call.raw_input or json.dumps(waiting.call.input, ensure_ascii=False)
    why = f"  ({waiting.reason})" if waiting.reason else ""
    rules = "; ".join(f"{rule.behaviour} {rule.tool} {rule.pattern}".strip() for rule in waiting.rules)
    always = f"  [--always: {rules}]" if rules else ""
    where = f"  [task {waiting.child}]" if waiting.child is not None else ""
    return f"{waiting.call_id}  {waiting.kind}  {waiting.call.name} {arguments}{why}{always}{where}"
