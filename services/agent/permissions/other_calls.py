"""Calls of tools for files, and of all other tools."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from natscope.contracts.approval import Rule
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.tool import ToolSpec
from services.agent.permissions import places
from services.agent.permissions.patterns import matches_path, matches_text
from services.agent.permissions.subjects import EDITORS, READERS, Match, allowing, of

_SHOWN = 120


@dataclass(frozen=True)
class FileCall:
    """A call of a tool that reads or writes at a path of the workspace."""

    tool: str
    path: str
    """Normal, and relative to the workspace where it is inside."""
    reading: bool
    sandboxed: bool
    unclear: str = ""

    @property
    def danger(self) -> str:
        """Why a person should look at it."""
        if places.is_secret(self.path):
            return f"{self.path[:60]!r} may hold secrets"
        if not self.reading and places.is_starting(self.path):
            return f"what is written to {self.path[:60]!r} is run or heeded later"
        if not self.reading and places.is_shared(self.path):
            return f"{self.path[:60]!r} belongs to the system"
        return ""

    @property
    def reads(self) -> bool:
        """Whether it only reads what is no secret."""
        return self.reading and not self.danger

    def speaks_of(self, rule: Rule) -> Match:
        """By its path."""
        if not of([rule], self.tool):
            return "no"
        return "yes" if not rule.pattern or matches_path(rule.pattern, self.path, anywhere=True) else "no"

    def is_covered(self, rules: Sequence[Rule], folders: Sequence[str] | None) -> bool:
        """Inside the folders, or allowed by its path."""
        if folders is not None and self.sandboxed and not self.reading and places.is_inside(self.path, folders):
            return True
        mine = of(rules, self.tool)
        return any(not rule.pattern or matches_path(rule.pattern, self.path, anywhere=False) for rule in mine)

    def suggestions(self, rules: Sequence[Rule]) -> list[Rule]:
        """The folder that the path is in."""
        if self.danger or self.path.startswith(("/", "~")):
            return []
        folder = self.path.rpartition("/")[0]
        return [allowing(self.tool, f"{folder}/**" if folder else self.path)]

    def what(self) -> str:
        """The tool and the path."""
        return f"`{self.tool}` of {self.path[:_SHOWN]!r}"


@dataclass(frozen=True)
class OtherCall:
    """A call of any other tool: the engine knows its arguments, and not what they do."""

    call: ToolUseBlock
    reads: bool
    danger: str = ""
    unclear: str = ""

    def speaks_of(self, rule: Rule) -> Match:
        """By any argument, at any depth."""
        if not of([rule], self.call.name):
            return "no"
        named, value = _named(rule.pattern)
        if not rule.pattern:
            return "yes"
        found = [text for name, text in _texts(self.call.input) if named in ("", name)]
        return "yes" if any(matches_text(value, text) for text in found) else "no"

    def is_covered(self, rules: Sequence[Rule], folders: Sequence[str] | None) -> bool:
        """By the whole tool, by the argument a pattern names, or by the only one there is."""
        return any(self._is_allowed(rule.pattern) for rule in of(rules, self.call.name))

    def suggestions(self, rules: Sequence[Rule]) -> list[Rule]:
        """The tool."""
        return [allowing(self.call.name)]

    def what(self) -> str:
        """The tool and its arguments."""
        text = json.dumps(self.call.input, ensure_ascii=False)
        return f"`{self.call.name}` with {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"

    def _is_allowed(self, pattern: str) -> bool:
        if not pattern:
            return True
        named, value = _named(pattern)
        arguments = self.call.input
        if not named and len(arguments) != 1:
            return False
        found = arguments.get(named) if named else next(iter(arguments.values()))
        return isinstance(found, (str, int, float)) and matches_text(value, _text(found))


def file_call(spec: ToolSpec, call: ToolUseBlock) -> FileCall | None:
    """Return the call of a tool for files; None if it is none, or names no path."""
    path = call.input.get("path", "." if spec.name in READERS else None)
    if spec.name not in (*EDITORS, *READERS) or not isinstance(path, str) or "\0" in path:
        return None
    among = call.input.get("glob")
    if spec.name in READERS and isinstance(among, str) and places.is_secret(places.normal(among, places.normal(path))):
        path = f"{path}/{among}"
    return FileCall(spec.name, places.normal(path), spec.name in READERS and spec.read_only, spec.sandboxed)


def _named(pattern: str) -> tuple[str, str]:
    name, sign, value = pattern.partition("=")
    return (name, value) if sign and name.isidentifier() else ("", pattern)


def _texts(value: JsonValue, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and depth < 16:
        for key, inner in value.items():
            yield from _texts(inner, name or key, depth + 1)
    elif isinstance(value, list) and depth < 16:
        for inner in value:
            yield from _texts(inner, name, depth + 1)
    else:
        yield name, _text(value)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
