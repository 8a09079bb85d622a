"""Reads JSON that a model wrote."""

from pydantic import JsonValue
from pydantic_core import from_json


def arguments_of(text: str) -> dict[str, JsonValue]:
    """Return a call's arguments; no text at all means none, and what is not a JSON object is left empty."""
    try:
        value: JsonValue = from_json(text, allow_inf_nan=False) if text.strip() else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def is_json(data: bytes | str) -> bool:
    """Return whether `data` is a JSON text, whole."""
    try:
        from_json(data)
    except ValueError:
        return False
    return True
