"""What the operator set about containers, in the engine's terms."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from services.tool_executor.cells import CellLimits
from services.tool_executor.installing import Installing
from services.tool_executor.owner import own_container
from services.tool_executor.settings import Settings


@dataclass(frozen=True)
class DockerSettings:
    """What the containers are made of."""

    image: str
    platform: str
    seccomp: str
    """The profile itself, as JSON."""
    limits: CellLimits
    orphan_exits_after_s: float
    keep_temporary: bool = True
    runtime: str | None = None
    installing: Installing | None = None
    doorsteps: Path | None = None
    """A folder that the engine sees, for the sockets that workers dial in at. None: they do not."""

    @classmethod
    def of(cls, settings: Settings) -> "DockerSettings":
        """Return the part of the service's settings that concerns containers.

        Raises:
            OSError: the seccomp profile cannot be read.
        """
        return cls(
            image=settings.image,
            platform=settings.platform,
            seccomp=(settings.sandbox_dir / "seccomp.json").read_text(),
            limits=settings.cell_limits,
            orphan_exits_after_s=settings.orphan_exits_after.total_seconds(),
            keep_temporary=settings.keep_temporary,
            runtime=settings.runtime,
            installing=Installing.of(settings),
            doorsteps=_doorsteps(settings),
        )


def _doorsteps(settings: Settings) -> Path | None:
    """Return the folder; `auto` is the one for temporary files where the engine and we are on the same machine."""
    if isinstance(settings.doorsteps, Path):
        return settings.doorsteps
    near = os.environ.get("DOCKER_HOST", "unix:").startswith("unix:") and not own_container()
    return Path(tempfile.gettempdir()) if settings.doorsteps == "auto" and near else None
