"""The last reading: json-repair, believed only where it lost nothing and added nothing."""

import re
from collections.abc import Iterator

from pydantic import JsonValue

from services.model_gateway.repair.strings import Unreadable, meaning

LONGEST = 64 << 10
"""Characters of a text that the library is given."""
_WORD = re.compile(r"\w+")
_QUOTES = "\"'`“”„‘’>"
_BEFORE = "{[,: \n"
_AFTER = "}],: \n"
_SIGNS = re.compile(r"[{}\[\],:\"'\n]")


def last_reading(text: str) -> JsonValue:
    """Return what json-repair makes of `text`.

    Raises:
        Unreadable: nothing, or something that is not word for word what the text says.
    """
    if len(text) > LONGEST:
        raise Unreadable(f"{len(text)} characters of damaged JSON")
    import json_repair

    try:
        value: JsonValue = json_repair.loads(text, skip_json_loads=True)  # pyright: ignore[reportAssignmentType]
    except Exception as error:  # noqa: BLE001 - whatever the library stumbles over
        raise Unreadable(f"json-repair gave up: {type(error).__name__}") from None
    words: list[str] = []
    _collect(value, words)
    said = meaning(text)
    if words != _WORD.findall(said.lower()):
        raise Unreadable("json-repair would lose or add words")
    if not _stands(value, said):
        raise Unreadable("json-repair would cut a string short")
    return value


def _stands(value: JsonValue, said: str) -> bool:
    """Return whether each string stands in the text as a whole: between quotes, or as a word without any."""
    end = 0
    for text in _strings(value):
        at = said.find(text, end)
        while at >= 0 and not _is_whole(said, at, at + len(text)):
            at = said.find(text, at + 1)
        if at < 0:
            return False
        end = at + len(text)
    return True


def _is_whole(said: str, start: int, end: int) -> bool:
    before, after = said[start - 1 : start], said[end : end + 1]
    if not before or not after:
        return False
    bare = before in _BEFORE and after in _AFTER and not _SIGNS.search(said, start, end)
    return bare or (before in _QUOTES and after in _QUOTES)


def _strings(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)


def _collect(value: JsonValue, words: list[str]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            words += _WORD.findall(key.lower())
            _collect(inner, words)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, words)
    else:
        words += _WORD.findall(("null" if value is None else str(value)).lower())
