"""An executor holds nothing of the calls, sessions and cells that are over."""

import asyncio
import gc

import pytest

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.contract import new_id
from tests.doors.tool_executor.fakes import FakeBackend
from tests.integration.tool_executor.executors import executor

CALLS = 150
SOME = 3 * CALLS
"""The loop keeps timers that were cancelled for a while, one or two a call; what is kept of a call are ten objects."""


async def _use(bus: Bus, backend: FakeBackend, leak: list[object] | None) -> int:
    """Make calls, each of a session of its own that ends, and return how many objects there are afterwards."""
    for _ in range(CALLS):
        session = new_id()
        use = ToolUseBlock(id="c", name="read_file", input={"path": "none"})
        called = await bus.ask(tool.CALL, tool.Call(call_id=new_id(), call=use, session=session), "read_file")
        if leak is not None:
            leak.append([called])
        await bus.tell(tool.ENDED, tool.Ended(session=session), session)
    async with asyncio.timeout(20):
        while not all(cell.lost for cell in backend.cells):  # noqa: ASYNC110 - the executor ends them in its own time
            await asyncio.sleep(0.02)
    backend.cells.clear()
    gc.collect()
    return len(gc.get_objects())


class TestAnExecutor:
    @pytest.mark.parametrize("leak", [None, list[object]()], ids=["", "the control"])
    async def test_does_not_grow_with_what_it_has_done(self, nats_url: str, leak: list[object] | None) -> None:
        async with executor(nats_url) as backend, connect("guest", BusSettings(url=nats_url)) as bus:
            await _use(bus, backend, leak)
            before = await _use(bus, backend, leak)
            grown = await _use(bus, backend, leak) - before
        assert (grown > SOME) is (leak is not None), grown
