"""Turns the services' JSON logs on standard input, as compose prints them, into lines for people; the rest stays."""

import json
import sys
from datetime import datetime
from typing import Any

_NOT_TOLD = {"at", "level", "service", "event", "logger", "trace_id", "span_id", "exception"}


def readable(line: str) -> str:
    """Return time, level, event and its fields, an exception's trace below them; a line that is no log as it is."""
    prefix, bar, rest = line.partition("| ")
    try:
        entry = json.loads(rest if bar else line)
    except ValueError:
        return _printable(line)
    if not isinstance(entry, dict) or "event" not in entry:
        return _printable(line)
    fields = ", ".join(f"{name}: {value}" for name, value in entry.items() if name not in _NOT_TOLD)
    said = f"{_time(entry)} {str(entry.get('level', '')).lower()}: {entry['event']}" + (
        f" ({fields})" if fields else ""
    )
    trace = "".join(f"\n    {each}" for each in str(entry.get("exception", "")).splitlines())
    return (prefix + bar if bar else "") + _printable(said.replace("\n", " ")) + _printable(trace)


def _time(entry: dict[str, Any]) -> str:
    try:
        return datetime.fromisoformat(str(entry.get("at"))).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "--:--:--"


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() or letter == "\n")


if __name__ == "__main__":
    for each in sys.stdin:
        sys.stdout.write(readable(each.rstrip("\n")) + "\n")
