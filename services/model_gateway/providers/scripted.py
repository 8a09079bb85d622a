"""The offline provider: deterministic, without a network, key or clock."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from pydantic_core import to_json

from natscope.contracts.blocks import ContentBlock, TextBlock, ThinkingBlock, ToolUseBlock
from natscope.contracts.model import Usage
from services.model_gateway.ports import Hear, Piece, Prompt, Reply
from services.model_gateway.providers.script import Script, filled
from services.model_gateway.providers.scripted_media import ScriptedMedia

OFFLINE = Path(__file__).with_name("offline.yaml")
_PIECE = 12
"""Characters of a streamed piece, at least: it ends with its word."""


class Scripted(ScriptedMedia):
    """Answers by a script."""

    address: tuple[str, int] | None = None

    def __init__(self, name: str, script: Script, *, pace_s: float = 0.0) -> None:
        """`pace_s` is slept before each piece of a streamed answer."""
        self.name = name
        self._script = script
        self._pace_s = pace_s

    async def chat(self, prompt: Prompt, hear: Hear | None) -> Reply:
        """Answer by the first rule that fits; see `ports.Provider`."""
        rule, values = self._script.answer(prompt.ask)
        content: list[ContentBlock] = []
        if rule.think is not None:
            content.append(ThinkingBlock(thinking=str(filled(rule.think, values)), provider=self.name))
        if rule.say is not None:
            content.append(TextBlock(text=str(filled(rule.say, values)).strip()))
        for number, call in enumerate(rule.call):
            input = {key: filled(value, values) for key, value in call.input.items()}
            id = f"call_{prompt.ask.request_id}_{number}"
            content.append(ToolUseBlock(id=id, name=call.tool, input=input, raw_input=to_json(input).decode()))
        if hear is not None:
            for piece in pieces(content):
                await asyncio.sleep(self._pace_s)
                await hear(piece)
        reason = "tool_call" if rule.call else "stop"
        return Reply(content, reason, _usage(prompt, content), prompt.model, f"scripted-{prompt.ask.request_id}")

    async def close(self) -> None:
        """There is nothing to give back."""


def pieces(content: list[ContentBlock]) -> Iterator[Piece]:
    """Yield `content` as a stream would bring it."""
    for number, block in enumerate(content):
        if isinstance(block, TextBlock):
            yield from (Piece("text", number, each) for each in words(block.text))
        elif isinstance(block, ThinkingBlock):
            yield from (Piece("thinking", number, each) for each in words(block.thinking))
        elif isinstance(block, ToolUseBlock):
            yield Piece("tool_use", number, call_id=block.id, tool=block.name)
            yield from (Piece("tool_use", number, each) for each in words(block.raw_input))


def words(text: str) -> Iterator[str]:
    """Yield `text` in pieces that end with a word."""
    start = 0
    while start < len(text):
        end = text.find(" ", start + _PIECE)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end


def _usage(prompt: Prompt, content: list[ContentBlock]) -> Usage:
    """Return simulated tokens: one for every four characters, as English text has on average."""
    asked = sum(
        len(block.text) for each in prompt.ask.messages for block in each.content if isinstance(block, TextBlock)
    )
    written = sum(len(piece.text) for piece in pieces(content))
    return Usage(input_tokens=-(-asked // 4), output_tokens=-(-written // 4))
