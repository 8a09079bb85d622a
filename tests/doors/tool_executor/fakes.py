"""Stand-ins that implement the tool executor's ports and remember what was asked of them."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from natscope.contracts import tool
from natscope.contracts.blocks import Base64Source, MediaBlock, URLSource
from natscope.contracts.contract import Contract
from natscope.contracts.errors import BlobNotFound, SandboxUnavailable
from services.tool_executor.calls import Work
from services.tool_executor.cells import Captured, Cell, CellLost, Hear, Lives, Outcome, Program, RunLimits
from tests.doors.tool_executor.fake_files import FakeFiles


@dataclass
class FakeCell(FakeFiles):
    """Prints the source of each program back; `die` makes it end in the middle of a run."""

    session: str = ""
    die: bool = False
    runs: list[tuple[Program, RunLimits]] = field(default_factory=list[tuple[Program, RunLimits]])
    lost: bool = False
    closed: bool = False
    go_on: asyncio.Event | None = None
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, program: Program, limits: RunLimits, hear: Hear | None = None) -> Outcome:
        self.runs.append((program, limits))
        if self.go_on is not None:
            await self.go_on.wait()
        if self.die:
            self.lost = True
            raise CellLost("gone")
        if hear is not None:
            for piece in program.source.split():
                await hear("stdout", piece)
        code = 1 if program.source == "fail" else 0
        return Outcome(code, None, Captured(program.source.encode()), Captured(), timedelta(milliseconds=2))

    async def close(self) -> None:
        self.lost = self.closed = True
        self._gone.set()

    async def gone(self) -> bool:
        """Wait until the cell is removed, which goes on beside the calls."""
        async with asyncio.timeout(20):
            return await self._gone.wait()


@dataclass
class FakeBackend:
    """Makes fake cells; `problem` makes it refuse."""

    name: str = "fake"
    does_not_limit: tuple[str, ...] = ()
    problem: str | None = None
    cells: list[FakeCell] = field(default_factory=list[FakeCell])
    go_on: asyncio.Event | None = None
    reaps: int = 0

    async def open_cell(self, session: str) -> Cell:
        if self.problem is not None:
            raise SandboxUnavailable(self.problem)
        self.cells.append(FakeCell(session=session, go_on=self.go_on))
        return self.cells[-1]

    async def reap(self, lives: Lives) -> int:
        self.reaps += 1
        return 0

    async def close(self) -> None:
        for cell in self.cells:
            await cell.close()


class FakeOnce:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tool.Called] = {}
        self.begun: set[str] = set()

    async def once(
        self, id: str, ask: Contract, work: Work, *, lost: Work | None = None, ignoring: set[str] | None = None
    ) -> tuple[tool.Called, bool]:
        if id in self.kept:
            return self.kept[id], True
        again = id in self.begun and lost is not None
        self.begun.add(id)
        try:
            self.kept[id] = await (lost() if again and lost else work())
        except Exception:
            self.begun.discard(id)
            raise
        return self.kept[id], False

    def cancel(self, id: str) -> bool:
        return id in self.begun


class FakeElsewhere:
    """Another executor, which answers every call if it has an answer."""

    def __init__(self, answer: tool.Called | None = None) -> None:
        self.answer = answer
        self.asked: list[tool.Call] = []

    async def carry_out_there(self, ask: tool.Call) -> tool.Called | None:
        self.asked.append(ask)
        return self.answer

    async def is_here(self, session: str) -> bool:
        return self.answer is None


class FakeMedia:
    """Blobs by file name."""

    def __init__(self, blobs: dict[str, bytes]) -> None:
        self.blobs = blobs
        self.asked: list[str] = []

    async def bytes_of(self, block: MediaBlock) -> bytes:
        name = str(getattr(block, "name", ""))
        self.asked.append(name)
        if name not in self.blobs:
            raise BlobNotFound(f"blob of {name!r} is gone")
        return self.blobs[name]

    async def source(self, data: bytes, media_type: str) -> URLSource | Base64Source:
        if len(data) <= 64 << 10:
            return Base64Source(data=base64.b64encode(data).decode(), media_type=media_type)
        self.blobs[f"{len(self.blobs)}"] = data
        return URLSource(url=f"nats://blob/blobs/{len(self.blobs)}", media_type=media_type, size_bytes=len(data))


class FakeSay:
    """Remembers what was published."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Contract]] = []

    async def __call__(self, subject: str, body: Contract) -> None:
        self.said.append((subject, body))

    @property
    def progress(self) -> Sequence[tool.Progress]:
        return [body for _, body in self.said if isinstance(body, tool.Progress)]
