"""Tabs: what a gateway has used and may not have written yet, kept with each answer so that its death loses none.

A tab holds, for each account that is behind, all that the process has used there since it began. The sheet holds how
much of that is counted: the difference is what is missing, in whichever order tabs and sheets were written.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from pydantic_core import from_json, to_json

from natscope.bus import Bus
from natscope.bus.beside import told_beside
from natscope.bus.streams import REPLIES
from services.model_gateway.accounting.sheet import Used

Tabs = Callable[[str, float], Awaitable[list[str]]]
"""Finds the tabs that a process has kept with its answers since a second of the epoch."""
SKEW_S = 5.0
"""Clocks of gateways and servers agree to this."""


async def no_tabs(instance: str, since: float) -> list[str]:
    """Find none."""
    return []


def kept_tabs(bus: Bus) -> Tabs:
    """Return what finds tabs in the bucket of replies."""

    async def tabs(instance: str, since: float) -> list[str]:
        return await told_beside(bus, REPLIES, instance, since=since - SKEW_S)

    return tabs


def tab(rows: Mapping[str, list[int]]) -> str:
    """Return the tab for accounts by their keys; empty if there are none."""
    return to_json(rows).decode() if rows else ""


def missing(key: str, tabs: Iterable[str], counted: Used) -> Used:
    """Return what, by the `tabs` of a process, was used on an account beyond what is counted."""
    most = counted.row()
    for each in tabs:
        row: list[int] = from_json(each).get(key, most)
        most = [max(pair) for pair in zip(most, row, strict=True)]
    return Used(0, *most).beyond(counted)
