"""A cell that is killed while it is made holds nobody up."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.bubblewrap_cells import BubblewrapCells, BubblewrapSettings
from services.tool_executor.settings import Settings

HALF_WAY = "#!/bin/sh\nsleep 30 <&- >&- &\nexit 1\n"
"""What is left of bubblewrap that was killed: a child that holds its standard error."""


class TestACellKilledInTheMaking:
    async def test_is_refused_though_its_child_holds_a_stream(self, tmp_path: Path) -> None:
        program = tmp_path / "bwrap"
        program.write_text(HALF_WAY)
        program.chmod(0o755)
        settings = BubblewrapSettings.of(Settings(backend="bubblewrap"))
        assert settings is not None
        async with asyncio.timeout(20):
            with pytest.raises(SandboxUnavailable, match="made no cell"):
                await BubblewrapCells(replace(settings, program=program)).open_cell("s")
