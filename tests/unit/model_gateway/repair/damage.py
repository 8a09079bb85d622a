"""Damages JSON texts as models and servers do, by a writer of its own: what is damaged is still all there."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

Value = dict[str, object]
Damage = Callable[[Value], str | None]
"""Returns the damaged text; None where it would leave the text sound or lose something."""


@dataclass(frozen=True)
class Writer:
    """Writes JSON with other signs than JSON's."""

    opening: str = '"'
    closing: str = '"'
    colon: str = ": "
    comma: str = ", "
    words: tuple[str, str, str] = ("null", "true", "false")
    bare_keys: bool = False

    def text(self, value: object) -> str:
        if isinstance(value, dict):
            pairs = (f"{self.key(key)}{self.colon}{self.text(each)}" for key, each in value.items())
            return "{" + self.comma.join(pairs) + "}"
        if isinstance(value, list):
            return "[" + self.comma.join(map(self.text, value)) + "]"
        if isinstance(value, str):
            return f"{self.opening}{json.dumps(value, ensure_ascii=False)[1:-1]}{self.closing}"
        if value is None or isinstance(value, bool):
            return self.words[0 if value is None else 1 if value else 2]
        return json.dumps(value)

    def key(self, key: object) -> str:
        bare = self.bare_keys and re.fullmatch(r"[A-Za-z_]\w*", str(key))
        return str(key) if bare else f"{self.opening}{key}{self.closing}"


PLAIN = Writer()


def _without(signs: str, write: Damage) -> Damage:
    """Damage only what holds none of `signs` in its strings."""

    def damage(value: Value) -> str | None:
        return None if any(sign in inner for inner in strings(value) for sign in signs) else write(value)

    return damage


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [each for key, inner in value.items() for each in (str(key), *strings(inner))]
    if isinstance(value, list):
        return [each for inner in value for each in strings(inner)]
    return [value] if isinstance(value, str) else []


def _dropped(sign: str) -> Damage:
    """Leave out the first `sign` between two members of the outermost object."""

    def damage(value: Value) -> str | None:
        if len(value) < (2 if sign == ", " else 1):
            return None
        first, *rest = value.items()
        if sign == ": ":
            return f"{{{PLAIN.key(first[0])} {PLAIN.text(first[1])}{_more(rest)}}}"
        return f"{{{PLAIN.key(first[0])}: {PLAIN.text(first[1])} {_more(rest)[2:]}}}"

    return damage


def _more(pairs: list[tuple[str, object]]) -> str:
    return "".join(f", {PLAIN.key(key)}: {PLAIN.text(each)}" for key, each in pairs)


def _last_quote(value: Value) -> str | None:
    """Leave out the quote that ends the last string, where no bracket in it could be taken for the end."""
    last = list(value.values())[-1:]
    if not last or not isinstance(last[0], str) or set('{}[]"\\') & set(last[0]) or not last[0]:
        return None
    return PLAIN.text(value)[:-2] + "}"


def _between(sign: str) -> Damage:
    def damage(value: Value) -> str | None:
        return None if len(value) < 2 else f"{{{sign}".join(["", _members(value, sign)]) + "}"

    return damage


def _members(value: Value, sign: str) -> str:
    return f",{sign}".join(f"{PLAIN.key(key)}: {PLAIN.text(each)}" for key, each in value.items())


GROUPS: dict[str, dict[str, Damage]] = {
    "brackets": {
        "the last is missing": lambda value: PLAIN.text(value)[:-1],
        "all at the end are missing": lambda value: PLAIN.text(value).rstrip("]}"),
        "the first is missing": lambda value: PLAIN.text(value)[1:],
        "one too many": lambda value: PLAIN.text(value) + "}",
        "twice": lambda value: "{" + PLAIN.text(value) + "}",
    },
    "punctuation": {
        "a comma at the end": lambda value: PLAIN.text(value)[:-1] + ", }",
        "a comma is missing": _dropped(", "),
        "a colon is missing": _dropped(": "),
    },
    "quotes": {
        "single": _without("'\"\\", Writer("'", "'").text),
        "none at keys": Writer(bare_keys=True).text,
        "curly": _without('"“”', Writer("“", "”").text),
        "curly and low": _without('"“”„', Writer("„", "“").text),
        "a leaked token": _without('"', Writer('<|"|>', '<|"|>').text),
        "a leaked token and none at keys": _without('"', Writer('<|"|>', '<|"|>', bare_keys=True).text),
        "the last is missing": _last_quote,
    },
    "notation": {
        "python": repr,
        "python's words": Writer(words=("None", "True", "False")).text,
        "a comment": lambda value: "{ /* call */" + PLAIN.text(value)[1:],
        "a comment to the end of the line": lambda value: "{ // call\n" + PLAIN.text(value)[1:],
        "a hash comment": lambda value: "# call\n" + PLAIN.text(value),
        "encoded twice": lambda value: json.dumps(PLAIN.text(value)),
        "encoded three times": lambda value: json.dumps(json.dumps(PLAIN.text(value))),
        "escaped quotes": lambda value: json.dumps(PLAIN.text(value))[1:-1] if value else None,
    },
    "line breaks": {
        "escaped, outside strings": _between("\\n"),
        "escaped, with escaped tabs": _between("\\n\\t"),
        "as they are in strings": _without("\\", lambda value: PLAIN.text(value).replace("\\n", "\n")),
    },
    "surroundings": {
        "a fence": lambda value: f"```json\n{PLAIN.text(value)}\n```",
        "prose": lambda value: f"I will call it like this:\n{PLAIN.text(value)}\nI hope that helps.",
        "prose and a fence": lambda value: f"Here:\n```\n{PLAIN.text(value)}\n```\nDone.",
        "a token": lambda value: PLAIN.text(value) + "<|im_end|>",
        "tags": lambda value: f"<tool_call>\n{PLAIN.text(value)}\n</tool_call>",
        "a thought": lambda value: f"<think>Maybe {{x}}?</think>\n{PLAIN.text(value)}",
        "an empty object first": lambda value: "{}" + PLAIN.text(value),
        "said twice": lambda value: PLAIN.text(value) * 2,
        "said twice, the second time cut": lambda value: PLAIN.text(value) + PLAIN.text(value)[:-1],
    },
}
