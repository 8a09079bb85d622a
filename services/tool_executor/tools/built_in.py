"""A tool of our own: a function of typed arguments and a place."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic

from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.tool import ToolSpec
from services.tool_executor.tools.arguments import ArgumentsT, read_as, schema_of
from services.tool_executor.tools.port import Place, Result

Act = Callable[[ArgumentsT, Place], Awaitable[Result]]


@dataclass(frozen=True)
class BuiltIn(Generic[ArgumentsT]):
    """Implements `Tool`."""

    spec: ToolSpec
    arguments: type[ArgumentsT]
    act: Act[ArgumentsT]

    def read(self, call: ToolUseBlock) -> ArgumentsT:
        """Return the arguments; see `Tool.read`."""
        return read_as(self.arguments, call, self.spec)

    async def run(self, arguments: ArgumentsT, place: Place) -> Result:
        """Carry out a call; see `Tool.run`."""
        return await self.act(arguments, place)


def built_in(
    name: str,
    description: str,
    arguments: type[ArgumentsT],
    act: Act[ArgumentsT],
    *,
    reads: bool = False,
    sandboxed: bool = True,
    deadline_s: float | None = None,
) -> BuiltIn[ArgumentsT]:
    """Return a tool. One that only `reads` may run beside others, and again."""
    spec = ToolSpec(
        name=name,
        description=description,
        parameters=schema_of(arguments),
        idempotent=reads,
        read_only=reads,
        sandboxed=sandboxed,
        concurrent=reads,
        deadline_s=deadline_s,
    )
    return BuiltIn(spec, arguments, act)
