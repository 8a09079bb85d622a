"""What becomes of a run whose worker is late or silent, with a pipe that says what the test wants."""

import asyncio
from datetime import timedelta
from typing import Any

from sandbox.worker.frames import FrameReader
from services.tool_executor.cells import Program, RunLimits
from services.tool_executor.frames import encode
from services.tool_executor.line import Line
from services.tool_executor.worker_cell import WorkerCell

SOON = RunLimits(wall_clock=timedelta(milliseconds=10))
PROGRAM = Program("python", "while True: print('told')")
DONE = {"event": "done", "exit_code": None, "signal": 9, "timed_out": True}


class Worker:
    """The other end: it passes on what a run printed and says how it ended as late as it is told to."""

    def __init__(self, *, late_s: float) -> None:
        self._late_s = late_s
        self._told: asyncio.Queue[bytes] = asyncio.Queue()
        self._requests = FrameReader()
        self._speaking: set[asyncio.Task[None]] = set()
        self.removed = 0

    async def read(self) -> bytes:
        return await self._told.get()

    async def write(self, data: bytes) -> None:
        for header, _ in self._requests.feed(data):
            self._speaking.add(asyncio.create_task(self._speak(header["nonce"])))

    async def close(self) -> None:
        for task in self._speaking:
            task.cancel()

    async def remove(self) -> None:
        self.removed += 1

    async def _speak(self, nonce: str) -> None:
        await self._tell({"nonce": nonce, "event": "output", "stream": "stdout"}, b"told\n")
        await asyncio.sleep(self._late_s)
        await self._tell({"nonce": nonce, **DONE})

    async def _tell(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self._told.put_nowait(encode(header, payload))


class TestAWorkerPastTheDeadline:
    async def test_is_waited_for_and_its_cell_goes_on(self) -> None:
        worker = Worker(late_s=0.1)
        cell = WorkerCell(Line(worker), remove=worker.remove, process_limits={})
        outcome = await cell.run(PROGRAM, SOON)
        assert (outcome.timed_out, outcome.stdout.text, cell.lost, worker.removed) == (True, "told\n", False, 0)
        await cell.close()

    async def test_that_stays_silent_is_ended_and_what_was_printed_is_told(self) -> None:
        worker = Worker(late_s=3600)
        cell = WorkerCell(Line(worker), remove=worker.remove, process_limits={}, grace_s=0.1)
        outcome = await cell.run(PROGRAM, SOON)
        assert (outcome.timed_out, outcome.stdout.text, cell.lost, worker.removed) == (True, "told\n", True, 1)

    async def test_that_stays_silent_when_its_call_is_cancelled_is_ended(self) -> None:
        worker = Worker(late_s=3600)
        cell = WorkerCell(Line(worker), remove=worker.remove, process_limits={}, grace_s=0.1)
        running = asyncio.create_task(cell.run(PROGRAM, RunLimits()))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert (running.cancelled(), cell.lost, worker.removed) == (True, True, 1)
