"""What attacks are run against: cells with walls, and containers without."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from services.tool_executor.cells import Backend, Cell


@dataclass
class House:
    """A backend and the cell in it that attacks share; a lost cell is followed by a new one."""

    backend: Backend
    cell: Cell | None = None

    async def usable(self) -> Cell:
        """Return the shared cell."""
        if self.cell is None or self.cell.lost:
            self.cell = await self.backend.open_cell("attacked")
        return self.cell


@dataclass(frozen=True)
class Unhardened:
    """A container without walls, in which a program is started by the engine's exec."""

    id: str
    user: str
    shared: Path
    """Bind-mounted, writable, at /control."""

    def command(self, language: str, source: str, *wrapper: str) -> list[str]:
        """Return the command that runs `source`."""
        program = ["python3", "-c", source] if language == "python" else ["sh", "-c", source]
        return ["docker", "exec", "-i", "-u", self.user, "-w", "/workspace", self.id, *wrapper, *program]

    def run(self, language: str, source: str, *wrapper: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run `source` and return what came of it."""
        command = self.command(language, source, *wrapper)
        return subprocess.run(command, capture_output=True, input=stdin, timeout=120, check=False)
