"""The dialogue itself as a log: one readable line a message, on a stream and in a file of its own.

Messages hold what people say, so it is off unless somebody asks for it, whatever the level of the other logs.
"""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from natscope.contracts.errors import Refused

CHAT = 25
"""The level of these lines, between INFO and WARNING."""
LENGTH = 4_000
"""Characters of a message that are written."""

logging.addLevelName(CHAT, "CHAT")
_log = logging.getLogger("natscope.chat")
_log.propagate = False
_log.setLevel(logging.CRITICAL)


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        return f"{at} {record.getMessage()}"


def write_dialogue_to(places: str) -> None:
    """Write what is said from now on to `places`: `-` (standard output), a file to append to, or both with a comma.

    Nothing: it is written nowhere.

    Raises:
        Refused: a file cannot be written.
    """
    for handler in list(_log.handlers):
        _log.removeHandler(handler)
        handler.close()
    for place in filter(None, map(str.strip, places.split(","))):
        handler = logging.StreamHandler(sys.stdout) if place == "-" else _file(Path(place))
        handler.setFormatter(_LineFormatter())
        _log.addHandler(handler)
    _log.setLevel(CHAT if _log.handlers else logging.CRITICAL)


def is_dialogue_written() -> bool:
    """Return whether `say` does anything."""
    return _log.isEnabledFor(CHAT)


def say(task: str, who: str, text: str) -> None:
    """Write a message of a task as one line: line feeds become spaces, control characters are left out."""
    if _log.isEnabledFor(CHAT):
        line = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
        cut = f"{line[:LENGTH]}… ({len(line):,} characters)" if len(line) > LENGTH else line
        _log.log(CHAT, "%s %s: %s", task, who, cut)


def _file(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise Refused(f"NATSCOPE_CHAT_LOG: {path} cannot be written: {error.strerror}") from error
