"""What a call may use: what it asks for, within what the operator allows."""

from datetime import timedelta
from typing import TypeVar

from natscope.contracts.tool import Limits
from services.tool_executor.cells import RunLimits
from services.tool_executor.settings import Settings

N = TypeVar("N", int, float)


def limits_of(wanted: Limits, settings: Settings, *, deadline_s: float | None = None) -> RunLimits:
    """Return the limits of a run; `deadline_s` is the tool's own, for a call that names none."""
    seconds = wanted.deadline_s or deadline_s or settings.deadline.total_seconds()
    ceiling_s = settings.deadline_ceiling.total_seconds()
    return RunLimits(
        wall_clock=timedelta(seconds=min(seconds, ceiling_s)),
        output_bytes=min(wanted.output_bytes or settings.output_bytes, settings.output_bytes_ceiling),
        memory_bytes=_within(wanted.memory_bytes, settings.memory_bytes),
        cpu_s=_within(wanted.cpu_s, ceiling_s * max(settings.cpus, 1.0)),
        processes=_within(wanted.processes, settings.processes),
        open_files=_within(wanted.open_files, settings.open_files),
        disk_bytes=_within(wanted.disk_bytes, settings.disk_bytes),
        files=_within(wanted.files, settings.files),
    )


def _within(wanted: N | None, ceiling: N) -> N | None:
    """Return the lesser; None, which is as much as the cell has, if nothing is wanted."""
    return None if wanted is None else min(wanted, ceiling)
