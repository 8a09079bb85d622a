"""Calls and verdicts for the tests of the permission engine."""

from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue

from natscope.contracts.agent import Permissions
from natscope.contracts.approval import Rule
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.tool import ToolSpec
from services.agent.permissions.deciding import decide
from services.agent.permissions.verdict import Verdict

Mode = Literal["default", "accept_edits", "explore", "bypass", "dont_ask"]
MODES: tuple[Mode, ...] = ("default", "accept_edits", "explore", "bypass", "dont_ask")

_READING = ("read_file", "glob", "grep", "look")
_SANDBOXED = ("execute_shell", "execute_python", "read_file", "write_file", "edit_file", "glob", "grep")


def rule(behaviour: Literal["allow", "ask", "deny"], pattern: str = "", tool: str = "execute_shell") -> Rule:
    """Return a rule, of the shell if no tool is named."""
    return Rule(tool=tool, pattern=pattern, behaviour=behaviour)


def judged(
    tool: str,
    arguments: dict[str, JsonValue],
    rules: Sequence[Rule] = (),
    mode: Mode = "default",
    folders: Sequence[str] = (".",),
) -> Verdict:
    """Return the verdict on a call."""
    spec = ToolSpec(name=tool, description="", parameters={}, read_only=tool in _READING, sandboxed=tool in _SANDBOXED)
    call = ToolUseBlock(id="c", name=tool, input=arguments)
    return decide(Permissions(mode=mode, rules=list(rules), folders=list(folders)), spec, call)


def shell(command: str, *rules: Rule, mode: Mode = "default", folders: Sequence[str] = (".",)) -> Verdict:
    """Return the verdict on a command of the shell."""
    return judged("execute_shell", {"command": command}, rules, mode, folders)
