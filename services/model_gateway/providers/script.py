"""The script of the offline model: rules that are matched on the conversation and say or call something.

The first rule whose conditions all hold answers. Texts and arguments may hold `{{name}}`, or `{{name!r}}` for a Python
literal: `question`, `file` (the attached one that matched), `output` (of the last tool result), and the named groups of
the patterns in `asked` and `output`.
"""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from natscope.contracts.blocks import FileBlock, ToolResultBlock, text_of
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from services.model_gateway.catalog import located

_HOLE = re.compile(r"\{\{(\w+)(!r)?\}\}")
Values = dict[str, str]


SYSTEM = "system"
"""Who speaks the hints that an agent puts between the turns; they are no question."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from error
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression that is searched for, in any case of letters, over several lines."""


class When(_Entry):
    """Conditions; what is not said does not matter."""

    agent: str | None = None
    """A glob over the asking agent's name."""
    asked: Pattern | None = None
    """In the last text of the user."""
    attached: str | None = None
    """A glob over the names of attached files; the latest that matches is `file`."""
    offered: str | None = None
    """A tool that may be called."""
    results: int | None = None
    """How many tool results there are since the user spoke."""
    output: Pattern | None = None
    """In the output of the last tool result since the user spoke."""


class CallEntry(_Entry):
    """A tool call."""

    tool: str
    input: dict[str, JsonValue] = Field(default_factory=dict)


class Rule(_Entry):
    """When to answer what."""

    when: When = When()
    think: str | None = None
    say: str | None = None
    call: list[CallEntry] = Field(default_factory=list[CallEntry])


class Script(_Entry):
    """Rules, tried from the first to the last."""

    rules: Annotated[list[Rule], Field(min_length=1)]

    @classmethod
    def read(cls, path: Path) -> "Script":
        """Read the file at `path`.

        Raises:
            SpecInvalid: it is wrong; the message names line and field.
        """
        return located.read(path, cls)

    def answer(self, ask: Chat) -> tuple[Rule, Values]:
        """Return the rule that answers `ask` and the values for its holes; without one, a rule that says nothing."""
        scene = Scene(ask)
        for rule in self.rules:
            if (values := scene.values(rule.when)) is not None:
                return rule, values
        return Rule(say="The script has no answer to this."), {}


class Scene:
    """A conversation as rules see it."""

    def __init__(self, ask: Chat) -> None:
        last = max(
            (i for i, each in enumerate(ask.messages) if each.role == "user" and each.name != SYSTEM), default=-1
        )
        since = ask.messages[last + 1 :]
        self._agent = ask.agent or ""
        self._question = ask.messages[last].text if last >= 0 else ""
        self._tools = set() if ask.tool_choice == "none" else {tool.name for tool in ask.tools}
        self._files = [block.name for each in ask.messages for block in each.content if isinstance(block, FileBlock)]
        self._results = _results(since)
        self._output = text_of(self._results[-1].output).strip() if self._results else None

    def values(self, when: When) -> Values | None:
        """Return the values for the holes if every condition holds, else None."""
        if not self._holds(when):
            return None
        values: Values = {"question": self._question, "output": self._output or ""}
        if when.attached is not None:
            file = next((name for name in reversed(self._files) if fnmatch(name, when.attached)), None)
            if file is None:
                return None
            values["file"] = file
        for pattern, text in ((when.asked, self._question), (when.output, self._output)):
            if pattern is not None:
                found = re.search(pattern, text, re.IGNORECASE | re.MULTILINE) if text is not None else None
                if found is None:
                    return None
                values.update({name: value or "" for name, value in found.groupdict().items()})
        return values

    def _holds(self, when: When) -> bool:
        return (
            (when.agent is None or fnmatch(self._agent, when.agent))
            and (when.offered is None or when.offered in self._tools)
            and (when.results is None or when.results == len(self._results))
        )


def _results(messages: list[Message]) -> list[ToolResultBlock]:
    return [block for each in messages for block in each.content if isinstance(block, ToolResultBlock)]


def filled(value: JsonValue, values: Values) -> JsonValue:
    """Return `value` with the holes in its texts filled."""
    if isinstance(value, str):
        return _HOLE.sub(lambda hole: _fill(hole, values), value)
    if isinstance(value, list):
        return [filled(each, values) for each in value]
    if isinstance(value, dict):
        return {key: filled(each, values) for key, each in value.items()}
    return value


def _fill(hole: re.Match[str], values: Values) -> str:
    found = values.get(hole[1], "")
    return repr(found) if hole[2] else found
