"""The `natscope` command as a process of its own, against a server that the test names."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e.cli.command import Command

Start = Callable[..., Awaitable[Command]]


@pytest.fixture
def natscope(tmp_path: Path) -> Start:
    """Start `natscope` with arguments; the result is waited for with `done`."""

    async def start(*arguments: str, url: str = "nats://127.0.0.1:1", cwd: Path | None = None) -> Command:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NATS", "OTEL", "OPENAI"))}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "natscope.cli"),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=kept | {"NATS_URL": url, "COLUMNS": "200"},
            cwd=cwd or tmp_path,
        )
        return Command(process)

    return start
