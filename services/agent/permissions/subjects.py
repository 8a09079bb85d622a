"""How rules meet calls: tools that are known by name, and how certain a match is."""

from collections.abc import Iterable
from typing import Literal

from natscope.contracts.approval import Rule
from services.agent.permissions.patterns import matches_name

Match = Literal["yes", "maybe", "no"]

EDITORS = ("write_file", "edit_file")
"""Tools that write the file at `path`."""
READERS = ("read_file", "glob", "grep", "list_files")
"""Tools that read below `path`."""


def allowing(tool: str, pattern: str = "") -> Rule:
    """Return a rule that allows."""
    return Rule(tool=tool, pattern=pattern, behaviour="allow")


def of(rules: Iterable[Rule], *tools: str) -> list[Rule]:
    """Return the rules that speak of one of these tools."""
    return [rule for rule in rules if any(matches_name(rule.tool, tool) for tool in tools)]


def strongest(matches: Iterable[Match]) -> Match:
    """Return the most certain of some matches."""
    found = set(matches)
    return "yes" if "yes" in found else "maybe" if "maybe" in found else "no"
