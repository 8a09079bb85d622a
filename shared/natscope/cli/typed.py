"""What somebody types, line by line; whoever asks next gets the next line."""

import asyncio
import os
import sys
import threading


def is_attended() -> bool:
    """Return whether somebody sits at the terminal who can be asked something."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class Lines:
    """Standard input. A thread reads it without holding a lock, so that leaving need not wait for it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._held = b""
        self._ended = False
        self._reader: threading.Thread | None = None
        self._turn = asyncio.Lock()

    async def next(self, prompt: str = "") -> str | None:
        """Return the next line without its end, or None when there is no more; a terminal shows `prompt` first.

        Lines are given in the order asked for; one that nobody waits for any more is given to the next.
        """
        async with self._turn:
            if sys.stdin.isatty():
                sys.stderr.write(prompt)
                sys.stderr.flush()
            self._read_on()
            while b"\n" not in self._held and not self._ended:
                data = await self._queue.get()
                self._held += data
                self._ended = not data
            line, end, self._held = self._held.partition(b"\n")
            return line.decode(errors="replace") if line or end else None

    def _read_on(self) -> None:
        if self._reader is None:
            loop = asyncio.get_running_loop()
            self._reader = threading.Thread(target=self._read, args=(loop,), daemon=True)
            self._reader.start()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        while not loop.is_closed():
            data = os.read(0, 65536)
            loop.call_soon_threadsafe(self._queue.put_nowait, data)
            if not data:
                return
