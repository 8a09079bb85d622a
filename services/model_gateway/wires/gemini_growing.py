"""Puts a call's arguments together that Gemini streams value by value.

Source: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling, "Streaming function call
arguments".
"""

import re
from itertools import pairwise

from pydantic import JsonValue

Json = dict[str, JsonValue]

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,5})\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
DEEPEST = 64
_VALUES = ("numberValue", "boolValue")


class Growing:
    """The arguments of one call, as far as they have come."""

    def __init__(self) -> None:
        self.value: Json = {}

    def take(self, told: JsonValue) -> bool:
        """Put some more values in; return False if they have no place."""
        return all(self._put(one) for one in (told if isinstance(told, list) else ()))

    def _put(self, one: JsonValue) -> bool:
        path = one.get("jsonPath") if isinstance(one, dict) else None
        steps = _steps(path) if isinstance(path, str) else []
        if not isinstance(one, dict) or not steps:
            return False
        holder: JsonValue = self.value
        for step, following in pairwise(steps):
            found = _at(holder, step)
            if found is None:
                found = [] if isinstance(following, int) else {}
                if not _set(holder, step, found):
                    return False
            holder = found
        return _set(holder, steps[-1], _more(_at(holder, steps[-1]), one))


def _steps(path: str) -> list[str | int]:
    """Return the keys and places that a path such as `$.rooms[0].name` leads through; none if it is no such path."""
    rest = path.removeprefix("$")
    rest = rest if rest.startswith((".", "[")) else f".{rest}"
    found = list(_STEP.finditer(rest))
    if "".join(each[0] for each in found) != rest or len(found) > DEEPEST:
        return []
    return [int(each[2]) if each[2] else each[1] or each[3] or each[4] or "" for each in found]


def _at(holder: JsonValue, step: str | int) -> JsonValue:
    if isinstance(holder, list) and isinstance(step, int):
        return holder[step] if step < len(holder) else None
    return holder.get(step) if isinstance(holder, dict) and isinstance(step, str) else None


def _set(holder: JsonValue, step: str | int, value: JsonValue) -> bool:
    if isinstance(holder, dict) and isinstance(step, str):
        holder[step] = value
        return True
    if isinstance(holder, list) and isinstance(step, int) and step <= len(holder):
        holder[step : step + 1] = [value]
        return True
    return False


def _more(before: JsonValue, one: Json) -> JsonValue:
    if isinstance(text := one.get("stringValue"), str):
        return before + text if isinstance(before, str) else text
    return next((one[name] for name in _VALUES if name in one), None)
