"""What a tool is to the executor, and what the executor gives a tool to work with."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from pydantic import JsonValue

from natscope.contracts import tool
from natscope.contracts.blocks import Base64Source, ContentBlock, MediaBlock, ResultState, ToolUseBlock, URLSource
from services.tool_executor.cells import Hear, RunLimits, Stream
from services.tool_executor.sessions import Workspace

A = TypeVar("A")

Told = Literal["stdout", "stderr", "progress"]
Tell = Callable[[Told, str], Awaitable[None]]
"""Tells whoever waits for the call how it goes on."""
Open = Callable[[], AbstractAsyncContextManager[Workspace]]
"""Opens the call's workspace, with its attached files in it, for the body alone.

Raises:
    SandboxUnavailable, Overloaded: there is none; nothing ran.
"""


@dataclass(frozen=True)
class Result:
    """What a call came to, as a model reads it and as a program does (`metadata`)."""

    output: list[ContentBlock]
    state: ResultState = "success"
    metadata: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])


class Media(Protocol):
    """Heavy bytes; `natscope.bus.Blobs` is one."""

    async def bytes_of(self, block: MediaBlock) -> bytes:
        """Return the bytes of `block`, wherever they are.

        Raises:
            BlobNotFound: they are gone.
        """
        ...

    async def source(self, data: bytes, media_type: str) -> URLSource | Base64Source:
        """Return `data` as a media block's source: inline up to 64 KiB, by reference above."""
        ...


@dataclass(frozen=True)
class Place:
    """Where one call runs. A tool that opens no workspace causes no cell."""

    ask: tool.Call
    limits: RunLimits
    media: Media
    workspace: Open
    """Only for tools that are `sandboxed`: their calls alone come to the executor that holds the session's cell."""
    backend: str
    """The cells', by name."""
    tell: Tell | None = None
    """None if nobody listens."""

    @property
    def deadline_s(self) -> float:
        """Wall clock of the call; a tool that runs no program holds itself to it."""
        return self.limits.wall_clock.total_seconds()

    @property
    def hear(self) -> Hear | None:
        """What hears a program's output as it comes; None if nobody listens."""
        tell = self.tell
        if tell is None:
            return None

        async def hear(stream: Stream, text: str) -> None:
            await tell(stream, text)

        return hear

    async def say(self, text: str) -> None:
        """Tell how the call goes on."""
        if self.tell is not None:
            await self.tell("progress", text)


class Tool(Protocol[A]):
    """A tool: what a model is told of it, how its arguments are read, and what it does."""

    @property
    def spec(self) -> tool.ToolSpec:
        """What a model is told. `idempotent` tools run again when an executor dies under them, others are `unknown`."""
        ...

    def read(self, call: ToolUseBlock) -> A:
        """Return the arguments.

        Raises:
            ArgumentsInvalid: they do not fit (see `arguments.misfit`); nothing ran.
        """
        ...

    async def run(self, arguments: A, place: Place) -> Result:
        """Carry out a call. Cancelled when nobody wants it any more.

        Raises:
            NatscopeError: nothing was done, and asking again may do it; nothing is recorded.
            CellLost, FileRefused: they become results.
        """
        ...
