"""What a command line's values have to be, checked before anything is connected to."""

import math
from datetime import datetime
from pathlib import Path

import typer

from natscope.contracts.contract import TOKEN

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def name(value: str | None) -> str | None:
    """Return an id or a name that is one token of a NATS subject, or refuse it as wrong usage."""
    if value is not None and not TOKEN.match(value):
        raise typer.BadParameter(
            f"{value!r} must be 1-128 letters, digits, '-' or '_' and start with a letter or digit"
        )
    return value


def hub(value: str | None) -> str | None:
    """Return a hub's name, or `*` for all of them."""
    return value if value == "*" else name(value)


def seconds(value: float | None) -> float | None:
    """Return a length of time that is more than none and ends."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value:g} is no number of seconds above 0")
    return value


def instant(value: str | None) -> str | None:
    """Return a point in time with its zone, as ISO 8601."""
    try:
        known = value is None or datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        known = False
    if not known:
        raise typer.BadParameter(f"{value!r} is no time with its zone, such as 2026-11-21T18:00:00+01:00")
    return value


def level(value: str) -> str:
    """Return the name of a level of logs."""
    if value.upper() not in LEVELS:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(LEVELS)}")
    return value.upper()


def folder(value: Path) -> Path:
    """Return a place that is a folder or can become one."""
    if value.exists() and not value.is_dir():
        raise typer.BadParameter(f"{str(value)!r} is not a folder")
    return value
