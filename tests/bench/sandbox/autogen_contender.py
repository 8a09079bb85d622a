"""AutoGen's Docker command-line executor as a contender, in a virtual environment of its own."""

import asyncio
import json
import sys
import tempfile
import time

from autogen_core import CancellationToken  # pyright: ignore[reportMissingImports]
from autogen_core.code_executor import CodeBlock  # pyright: ignore[reportMissingImports]
from autogen_ext.code_executors.docker import (  # pyright: ignore[reportMissingImports]
    DockerCommandLineCodeExecutor,
)


async def work(executor: DockerCommandLineCodeExecutor, codes: list[str], concurrency: int) -> dict[str, object]:
    """Run all `codes` and return what each took, and how many went well."""
    left, took, right = list(reversed(codes)), [], 0
    began = time.perf_counter()

    async def one_after_the_other() -> None:
        nonlocal right
        while left:
            start = time.perf_counter()
            block = CodeBlock(code=left.pop(), language="python")
            result = await executor.execute_code_blocks([block], CancellationToken())
            took.append(1000 * (time.perf_counter() - start))
            right += result.exit_code == 0

    await asyncio.gather(*(one_after_the_other() for _ in range(concurrency)))
    return {"took_ms": took, "right": right, "wall_s": time.perf_counter() - began}


async def main(image: str) -> None:
    """Make the container, say how long that took, then follow orders until there are no more."""
    with tempfile.TemporaryDirectory(prefix="natscope-bench-") as folder:
        began = time.perf_counter()
        executor = DockerCommandLineCodeExecutor(image=image, work_dir=folder, timeout=30)
        await executor.start()
        first = await work(executor, ["print(1)"], 1)
        print(json.dumps({**first, "cold_ms": 1000 * (time.perf_counter() - began)}), flush=True)
        try:
            while line := await asyncio.to_thread(sys.stdin.readline):
                order = json.loads(line)
                print(json.dumps(await work(executor, order["codes"], order["concurrency"])), flush=True)
        finally:
            await executor.stop()


asyncio.run(main(sys.argv[1]))
