"""The last reading: json-repair, believed only where it lost nothing and added nothing."""

import re

from pydantic import JsonValue

from services.model_gateway.repair.strings import Unreadable, meaning

LONGEST = 64 << 10
"""Characters of a text that the library is given."""
_WORD = re.compile(r"\w+")


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
    if words != _WORD.findall(meaning(text).lower()):
        raise Unreadable("json-repair would lose or add words")
    return value


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
