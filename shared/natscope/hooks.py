"""Hooks as ordinary functions: `@natscope.hook async def f(asked)` judges what a run is about to do, or has done."""

import inspect
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from natscope.contracts.errors import SpecInvalid
from natscope.contracts.hook import Answer as Answer
from natscope.contracts.hook import Asked as Asked


class Function(Protocol):
    """What the decorator takes."""

    __name__: str

    def __call__(self, asked: Asked, /) -> Coroutine[Any, Any, Answer | None]:
        """Return what becomes of what is asked about; None: it goes on as it is."""
        ...


@dataclass(frozen=True)
class HookFunction:
    """A function that may be named as `module:function` in an agent's `hooks`, or served (`natscope.serve_hooks`)."""

    function: Function

    @property
    def name(self) -> str:
        """The name under which it is served."""
        return self.function.__name__

    async def __call__(self, asked: Asked) -> Answer:
        """Return its answer."""
        return await self.function(asked) or Answer()


def hook(function: Function) -> HookFunction:
    """Make a hook of `async def function(asked)`. It may be asked the same twice, when a process dies.

    Raises:
        SpecInvalid: it is no coroutine function of one parameter.
    """
    if not inspect.iscoroutinefunction(function) or len(inspect.signature(function).parameters) != 1:
        name = getattr(function, "__qualname__", repr(function))
        raise SpecInvalid(f"{name} is no hook", remedy="write `async def f(asked)`")
    return HookFunction(function)
