"""The `natscope` command as a process of its own, against a server that the test names."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e.cli.command import Command

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., Awaitable[Command]]


@pytest.fixture
async def started() -> AsyncGenerator[Callable[..., Awaitable[Command]]]:
    """Start a Python process with arguments and environment; what still runs at the end of the test is killed."""
    running: list[asyncio.subprocess.Process] = []

    async def start(*arguments: str, cwd: Path, env: dict[str, str]) -> Command:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NATS", "OTEL", "OPENAI"))}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=kept | {"COLUMNS": "200"} | env,
            cwd=cwd,
        )
        running.append(process)
        return Command(process)

    yield start
    for process in running:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
def natscope(started: Start, tmp_path: Path) -> Start:
    """Start `natscope` with arguments; the result is waited for with `done`."""

    async def start(*arguments: str, url: str = "nats://127.0.0.1:1", cwd: Path | None = None, **more: str) -> Command:
        return await started("-m", "natscope.cli", *arguments, cwd=cwd or tmp_path, env={"NATS_URL": url, **more})

    return start


@pytest.fixture
def example(started: Start, tmp_path: Path) -> Start:
    """Start a file of `examples/` against a server."""

    async def start(name: str, url: str) -> Command:
        return await started(str(ROOT / "examples" / name), cwd=tmp_path, env={"NATS_URL": url})

    return start
