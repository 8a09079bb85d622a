"""The pipe to a process that is gone, on either kind of event loop."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from services.tool_executor.pipes import StreamPipe


async def _write_too_late() -> None:
    process = await asyncio.create_subprocess_exec(
        "true", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.wait()
    process.stdin.close()
    await asyncio.sleep(0.05)
    await StreamPipe(process.stdout, process.stdin).write(b"hello")


class TestStreamPipe:
    @pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
    def test_says_that_it_is_broken(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner, pytest.raises(OSError):  # noqa: PT011 - any of them
            runner.run(_write_too_late())
