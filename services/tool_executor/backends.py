"""Choose where foreign code runs: Docker, else bubblewrap, else a part of Python in monty, else nowhere."""

import logging
from typing import Protocol

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.bubblewrap_cells import BubblewrapCells, BubblewrapSettings
from services.tool_executor.cells import Backend, Cell, Lives
from services.tool_executor.docker_cells import DockerCells
from services.tool_executor.docker_settings import DockerSettings
from services.tool_executor.monty_cells import MontyCells
from services.tool_executor.owner import Owner
from services.tool_executor.settings import Settings

log = logging.getLogger(__name__)

REMEDY = "start a Docker engine and build the image with `make sandbox-image`, or install bubblewrap; then start again"


class Candidate(Backend, Protocol):
    """A backend that knows whether it can work here."""

    async def problem(self) -> str | None:
        """Return why no cell can be made here, or None if one can."""
        ...


class NoCells:
    """Refuses every call: without walls, foreign code does not run."""

    name = "none"
    does_not_limit: tuple[str, ...] = ()

    def __init__(self, reasons: tuple[str, ...]) -> None:
        self._reasons = reasons

    async def open_cell(self, session: str) -> Cell:
        """Refuse; see `Backend.open_cell`."""
        raise SandboxUnavailable(f"foreign code cannot run here: {'; '.join(self._reasons)}", remedy=REMEDY)

    async def reap(self, lives: Lives) -> int:
        """There is nothing to remove."""
        return 0

    async def close(self) -> None:
        """There is nothing to let go of."""


async def choose_backend(settings: Settings, *, instance: str) -> Backend:
    """Return the best backend that `settings` allow and this machine has, and say so in the log."""
    reasons: list[str] = []
    for backend in _candidates(settings, instance, reasons):
        problem = await backend.problem()
        if problem is None:
            return _said(backend, reasons)
        reasons.append(f"{backend.name}: {problem}")
        await backend.close()
    return _said(NoCells(tuple(reasons or ("turned off by TOOL_EXECUTOR_BACKEND=none",))), reasons)


def _candidates(settings: Settings, instance: str, reasons: list[str]) -> list[Candidate]:
    """With a runtime asked for, `auto` is Docker alone: nobody gets weaker walls than were wanted."""
    found: list[Candidate] = []
    others = ("auto",) if settings.runtime is None else ()
    if settings.backend in ("auto", "docker"):
        try:
            found.append(DockerCells(DockerSettings.of(settings), Owner.here(instance)))
        except OSError as error:
            reasons.append(f"docker: {error}")
    if settings.backend in ("bubblewrap", *others):
        bubblewrap = BubblewrapSettings.of(settings)
        if bubblewrap is None:
            reasons.append("bubblewrap: there is no bwrap")
        else:
            found.append(BubblewrapCells(bubblewrap))
    if settings.backend in ("monty", *others):
        found.append(MontyCells(memory_bytes=settings.memory_bytes))
    return found


def _said(backend: Backend, reasons: list[str]) -> Backend:
    level = logging.WARNING if reasons else logging.INFO
    fields = {"backend": backend.name, "does_not_limit": list(backend.does_not_limit), "passed_over": reasons}
    log.log(level, "backend chosen", extra=fields)
    return backend
