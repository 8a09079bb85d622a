"""Has pages turned into text by a process of its own: there are pages on which a parser spends hours."""

import asyncio
import os
import re
import sys


async def readable(html: str, *, within_s: float) -> str:
    """Return the text of a page; of one that cannot be read in time, the words alone."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "services.tool_executor.page_text",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    text: bytes | None = None
    try:
        async with asyncio.timeout(within_s):
            text, _ = await program.communicate(html.encode("utf-8", "replace"))
    except TimeoutError:
        pass
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    return text.decode() if text is not None and program.returncode == 0 else _words(html)


def _words(html: str) -> str:
    return " ".join(re.sub(r"<[^<>]*>", " ", html).split())
