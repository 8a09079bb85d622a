"""Agents as ordinary functions: whatever the function asks of its `ctx` is journaled, so that its run survives.

On a crash, or after a wait of days, the function is run again from its beginning, and what it asked for before is given
back from the journal. So it must ask for the same things in the same order each time: no clock, no chance, no file and
no network but through `ctx` and through tools.
"""

import hashlib
import inspect
import json
from collections.abc import Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

from pydantic import JsonValue, TypeAdapter

from natscope.contracts.blocks import ContentBlock, ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.contract import Contract
from natscope.contracts.errors import SpecInvalid
from natscope.contracts.message import Content, Message
from natscope.contracts.model import FinishReason, Output
from natscope.contracts.run import Asks, Steered
from natscope.contracts.task import Submit

T = TypeVar("T")
Work = Coroutine[Any, Any, T]

_CONTENT = TypeAdapter[list[ContentBlock]](Content)
_STEERED = TypeAdapter(list[Steered])


class Reply(Contract):
    """What a model has said."""

    message: Message
    finish_reason: FinishReason = "stop"
    output: JsonValue = None
    """The value that was asked for by `output`."""

    @property
    def text(self) -> str:
        """The text of it."""
        return self.message.text

    @property
    def calls(self) -> list[ToolUseBlock]:
        """The calls of tools in it; `ctx.tool` carries one out."""
        return self.message.tool_uses


class Result(Contract):
    """What a tool, or another agent, has given. A failure is a result, too: `state` says so."""

    block: ToolResultBlock
    output: JsonValue = None
    """Another agent's answer as a value, if it declares what its answer looks like."""

    @property
    def state(self) -> str:
        """`success`, `error`, `denied`, `interrupted` or `unknown`."""
        return self.block.state

    @property
    def text(self) -> str:
        """The text of it."""
        return text_of(self.block.output)


class Approval(Contract):
    """What a person has decided."""

    approved: bool
    reason: str = ""
    arguments: dict[str, JsonValue] | None = None
    """Those to go on with, where the person has changed them."""


@dataclass(frozen=True)
class Step:
    """One thing that a function asks for. Awaiting it hands it to whoever runs the function."""

    kind: Asks
    name: str
    body: dict[str, JsonValue]

    @property
    def digest(self) -> str:
        """What tells it from anything else at its place, in hexadecimal."""
        said = json.dumps([self.kind, self.name, self.body], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(said.encode()).hexdigest()

    def __await__(self) -> Generator["Step", JsonValue, JsonValue]:
        answer: JsonValue = yield self
        return answer


@dataclass(frozen=True)
class Fork:
    """Several things that a function does at the same time."""

    work: tuple[Coroutine[Any, Any, Any], ...]

    def __await__(self) -> Generator["Fork", list[Any], list[Any]]:
        answers: list[Any] = yield self
        return answers


@dataclass(frozen=True)
class Context:
    """What a function has of the world."""

    task: Submit
    past: list[Message] = field(default_factory=list[Message])
    """What its session remembers of earlier tasks."""

    async def model(
        self,
        content: str | Sequence[ContentBlock | Message],
        *,
        system: str | None = None,
        model: str | None = None,
        tools: Sequence[str] = (),
        output: Output | None = None,
    ) -> Reply:
        """Ask a model: a text, blocks, or a whole conversation as messages.

        `system` and `model` stand instead of the agent's own; of `tools` (names) it may write calls, which nobody
        carries out but `ctx.tool`.

        Raises:
            BudgetExhausted: a limit of the agent is reached (`details["run_limit"]` names it).
            NatscopeError: the gateway has given up.
        """
        body: dict[str, JsonValue] = {
            "messages": _conversation(content, self.task.name),
            "system": system,
            "model": model,
            "tools": list(tools),
            "output": output.model_dump(mode="json") if output is not None else None,
        }
        return Reply.model_validate(await _step("model", model or "", body))

    async def tool(self, call: str | ToolUseBlock, arguments: dict[str, JsonValue] | None = None, /) -> Result:
        """Have a tool of the agent act, under the agent's permissions: by its name, or as a model has called it."""
        if isinstance(call, str):
            call = ToolUseBlock(id="", name=call, input=arguments or {})
        body: dict[str, JsonValue] = {"call": call.model_dump(mode="json")}
        return Result.model_validate(await _step("tool", call.name, body))

    async def ask(self, agent: str, message: str) -> Result:
        """Have another agent, one of those in `agents`, do something, and wait for its answer.

        Raises:
            Refused: the agent may not be asked.
        """
        return Result.model_validate(await _step("ask", agent, {"agent": agent, "message": message}))

    async def approve(
        self, question: str, arguments: dict[str, JsonValue] | None = None, *, wait: timedelta | None = None
    ) -> Approval:
        """Wait until a person decides, without a process; after `wait` what `permissions.unanswered` says stands."""
        until = None if wait is None else (await self.now() + wait).isoformat()
        body: dict[str, JsonValue] = {"question": question, "arguments": arguments, "until": until}
        return Approval.model_validate(await _step("approve", "", body))

    async def sleep(self, duration: timedelta | float) -> None:
        """Wait that long, seconds if it is a number, without a process."""
        length = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        await _step("wake", "", {"until": (await self.now() + length).isoformat()})

    async def gather(self, *work: Work[T]) -> list[T]:
        """Do several things at the same time and return what each gave, in their order.

        If one raises, the others are waited for, and the first failure, in their order, is raised.
        """
        return cast("list[T]", await Fork(work))

    async def heard(self) -> list[Message]:
        """Return what was said to the task from outside (`task.steer`) since this was last called."""
        return [each.message for each in _STEERED.validate_python(await _step("heard", "", {}))]

    async def now(self) -> datetime:
        """Return the time."""
        return datetime.fromisoformat(str(await _step("now", "", {})))

    async def random(self) -> float:
        """Return a random number from 0 up to 1."""
        return float(str(await _step("random", "", {})))

    async def uuid(self) -> UUID:
        """Return a random identifier."""
        return UUID(str(await _step("uuid", "", {})))


class Function(Protocol):
    """What the decorator takes."""

    def __call__(self, ctx: Context, message: Message, /) -> Work[object]:
        """Return the answer: text, blocks, a message, or any JSON value."""
        ...


@dataclass(frozen=True)
class FunctionAgent:
    """A function that an agent may be (`strategy: custom`, `function: module:name`)."""

    function: Function

    def __call__(self, ctx: Context, message: Message) -> Work[object]:
        """Begin the function."""
        return self.function(ctx, message)


def agent(function: Function) -> FunctionAgent:
    """Make an agent of `async def function(ctx, message)`.

    Raises:
        SpecInvalid: it is no coroutine function of two parameters.
    """
    name = getattr(function, "__qualname__", repr(function))
    if not inspect.iscoroutinefunction(function) or len(inspect.signature(function).parameters) != 2:
        raise SpecInvalid(f"{name} is no agent", remedy="write `async def f(ctx, message)`")
    return FunctionAgent(function)


def check_writable(what: str, value: object) -> None:
    """Return if `value`, made of what JSON has, can be written down and read again.

    Raises:
        SpecInvalid: it holds an infinite number, none at all (`nan`), or half of a surrogate pair.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        fault = f"{what} holds what no message can carry: {error}"
        raise SpecInvalid(fault, remedy="use finite numbers, and text that UTF-8 has words for") from error


async def _step(kind: Asks, name: str, body: dict[str, JsonValue]) -> JsonValue:
    check_writable(f"what `ctx` is asked for ({kind})", [name, body])
    return await Step(kind, name, body)


def _conversation(content: str | Sequence[ContentBlock | Message], name: str) -> JsonValue:
    """Return the conversation as it is journaled: who said what, without what is another each time."""
    given = [content] if isinstance(content, str) else list(content)
    messages = [each for each in given if isinstance(each, Message)]
    if len(messages) != len(given):
        blocks = _CONTENT.validate_python(content)
        messages = [Message(name=name, role="user", content=blocks)]
    return [each.model_dump(mode="json", include={"name", "role", "content"}) for each in messages]
