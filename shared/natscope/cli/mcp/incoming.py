"""Standard input, line by line, read by a thread that holds nobody up when this process ends."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator


async def lines(descriptor: int = 0) -> AsyncIterator[str]:
    """Give the lines as they come, until the input ends. A read that blocks does not keep the process."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    def hand_over(data: bytes) -> bool:
        try:
            loop.call_soon_threadsafe(queue.put_nowait, data)
        except RuntimeError:
            return False
        return bool(data)

    def read() -> None:
        while hand_over(os.read(descriptor, 1 << 16)):
            pass

    threading.Thread(target=read, daemon=True).start()
    held = bytearray()
    while data := await queue.get():
        *whole, rest = data.split(b"\n")
        for line in whole:
            yield (held + line).decode("utf-8", "replace")
            held = bytearray()
        held += rest
