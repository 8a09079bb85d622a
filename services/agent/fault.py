"""Faults: replies of no use, and calls that fail again and again, which the model can be told about and may mend."""

import json
from dataclasses import dataclass
from typing import Literal

from natscope.contracts.blocks import ContentBlock, TextBlock, ThinkingBlock, ToolUseBlock

Kind = Literal["arguments", "unknown_tool", "output", "empty", "repeated", "objection"]

REASKS = 2
"""How often in a row the model may write again what was of no use."""
TIMES_THE_TOKENS = 2
"""Nothing is asked again once that has cost so many times what the first faulty reply has."""
FAILURES = 3
"""How often the same call may fail before it is a fault, when nothing has succeeded in between."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the latest reply, and with those right before it."""

    kind: Kind
    errors: tuple[str, ...]
    """One for each faulty reply in a row, the latest last."""
    calls: frozenset[int] = frozenset()
    """Calls of the latest reply that are not carried out."""
    barred: frozenset[str] = frozenset()
    """Calls that have failed too often, by `key`; they are not carried out in the latest reply."""
    first_tokens: int = 0
    """What the first faulty reply has cost."""
    more_tokens: int = 0
    """What those after it have cost."""

    @property
    def is_given_up(self) -> bool:
        """Whether the model is not asked to mend it again."""
        dear = self.first_tokens and self.more_tokens >= TIMES_THE_TOKENS * self.first_tokens
        return len(self.errors) > REASKS or bool(dear)


def key(call: ToolUseBlock) -> str:
    """Return what two calls have in common if they ask for the same."""
    return f"{call.name} {json.dumps(call.input, sort_keys=True)}"


def is_empty(content: list[ContentBlock]) -> bool:
    """Return whether a reply says nothing; thoughts are not said."""
    return all(
        isinstance(block, ThinkingBlock) or (isinstance(block, TextBlock) and not block.text.strip())
        for block in content
    )
