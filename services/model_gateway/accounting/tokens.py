"""Estimates the tokens of a prompt before it is sent, by provider, without a network."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any, Literal

import yaml

from natscope.contracts.blocks import ContentBlock, TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from natscope.contracts.tool import ToolSpec
from services.model_gateway.accounting.looks import tokens_of_media
from services.model_gateway.accounting.pieces import Guess, Pieces, Vocabulary
from services.model_gateway.accounting.rendering import as_json, typescript

FITTED = Path(__file__).with_name("tokens.yaml")
Api = Literal["chat", "responses"]


@dataclass(frozen=True, slots=True)
class Family:
    """How a family of models counts, in tokens for one of each; fitted, see tokens.yaml."""

    text: float = 1.0
    message: float = 4.0
    prompt: float = 3.0
    tools: float = 0.0
    """Once, if there are tools."""
    tool: float = 0.0
    tool_text: float = 1.0
    call: float = 0.0
    """A call and its result together."""
    parallel: float = 0.0
    """Each further call of the same message."""
    schema: float = 0.0
    schema_text: float = 1.0
    thinking: float = 0.0
    """Once, if it is told to think."""
    thought: float = 0.0
    """For a token of its own thought, while it is calling tools."""
    opaque: float = 0.0
    """For a character of its own signatures and sealed thoughts, beyond the first `opaque_from` of each."""
    opaque_from: int = 0
    typescript: bool = False
    """Whether the models see tools as TypeScript, else as JSON."""
    media: str = "tiles"


@dataclass(slots=True)
class Content:
    """What a prompt is made of. Text is in tokens of OpenAI's vocabulary."""

    text: float = 0.0
    messages: int = 0
    calls: int = 0
    parallel: int = 0
    tools: int = 0
    tool_text: float = 0.0
    schema_text: float = 0.0
    thinking: bool = False
    thought: float = 0.0
    opaque: int = 0
    media: float = 0.0


class Estimator:
    """Estimates prompts and texts. Keeps in mind what it has counted."""

    def __init__(self, vocabulary: Vocabulary | None = None, fitted: Path = FITTED) -> None:
        """With OpenAI's vocabulary its models are counted to the token or two, without it by a guess for each piece."""
        told: dict[str, Any] = yaml.safe_load(fitted.read_text(encoding="utf-8"))
        self._families = [_Known.of(entry) for entry in told["families"]]
        self._pieces = Pieces(vocabulary.tokens_of if vocabulary is not None else Guess(told["pieces"]).tokens_of)
        self._tools: dict[tuple[str, str, str, bool], float] = {}
        self.family = lru_cache(maxsize=1024)(self._family)

    def input_tokens(self, ask: Chat, provider: str, model: str, *, api: Api = "chat") -> int:
        """Return how many tokens the provider will count for the prompt; never fewer than one.

        `provider` is its name by the OpenTelemetry registry. Tools that the provider runs itself are not counted.
        """
        family = self.family(provider, model, api)
        return max(1, round(total(self.content(ask, family, provider), family)))

    def text_tokens(self, text: str, provider: str, model: str) -> int:
        """Return how many tokens a bare text takes, such as an answer that was broken off."""
        return ceil(self._pieces.count(text) * self.family(provider, model, "chat").text)

    def content(self, ask: Chat, family: Family, provider: str) -> Content:
        """Return what a prompt is made of."""
        content = Content(messages=len(ask.messages), tools=len(ask.tools))
        spoken = max((at for at, each in enumerate(ask.messages) if _is_spoken(each)), default=-1)
        for at, message in enumerate(ask.messages):
            self._add(content, message.content, family)
            self._add_thoughts(content, message.content, family, provider, calling=at > spoken)
        content.tool_text = sum(self._tool(tool, family.typescript) for tool in ask.tools)
        if ask.output is not None:
            content.schema_text = self._pieces.count(as_json(ask.output.json_schema))
        content.thinking = ask.generation.thinking not in (None, "off")
        return content

    def _add(self, content: Content, blocks: Iterable[ContentBlock], family: Family) -> None:
        count, calls = self._pieces.count, 0
        for block in blocks:
            if isinstance(block, TextBlock):
                content.text += count(block.text)
            elif isinstance(block, ToolUseBlock):
                calls += 1
                content.text += count(block.name) + count(block.raw_input or as_json(block.input))
            elif isinstance(block, ToolResultBlock):
                self._add(content, block.output, family)
            else:
                content.media += tokens_of_media(block, family.media)
        content.calls += calls
        content.parallel += max(0, calls - 1)

    def _add_thoughts(
        self, content: Content, blocks: Iterable[ContentBlock], family: Family, provider: str, *, calling: bool
    ) -> None:
        """Count what the provider wrote itself and gets back; what others thought is left out of the prompt."""
        for block in blocks:
            if isinstance(block, ThinkingBlock) and block.provider == provider:
                sealed = len(block.signature or "") + len(block.redacted or "")
                content.opaque += max(0, sealed - family.opaque_from)
                if calling and family.thought:
                    content.thought += self._pieces.count(block.thinking)

    def _tool(self, tool: ToolSpec, as_typescript: bool) -> float:
        parameters = as_json(tool.parameters)
        key = tool.name, tool.description, parameters, as_typescript
        found = self._tools.get(key)
        if found is None:
            if len(self._tools) >= 4096:
                self._tools.clear()
            told = typescript(tool) if as_typescript else f"{tool.name}\n{tool.description}\n{parameters}"
            found = self._tools[key] = self._pieces.count(told)
        return found

    def _family(self, provider: str, model: str, api: Api) -> Family:
        return next(known.family for known in self._families if known.holds(provider, model, api))


@dataclass(frozen=True, slots=True)
class _Known:
    """A family, and whose it is."""

    family: Family
    model: re.Pattern[str]
    provider: re.Pattern[str]
    api: Api | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "_Known":
        names = {field.name for field in fields(Family)}
        return cls(
            Family(**{name: value for name, value in entry.items() if name in names}),
            re.compile(entry.get("model", "")),
            re.compile(entry.get("provider", "")),
            entry.get("api"),
        )

    def holds(self, provider: str, model: str, api: Api) -> bool:
        return bool(self.model.search(model) and self.provider.search(provider) and self.api in (None, api))


def total(content: Content, family: Family) -> float:
    """Return the tokens of a prompt made of `content`."""
    tokens = family.prompt + family.message * content.messages + family.text * content.text + content.media
    tokens += family.call * content.calls + family.parallel * content.parallel
    if content.tools:
        tokens += family.tools + family.tool * content.tools + family.tool_text * content.tool_text
    if content.schema_text:
        tokens += family.schema + family.schema_text * content.schema_text
    tokens += family.thought * content.thought + family.opaque * content.opaque
    return tokens + (family.thinking if content.thinking else 0.0)


def _is_spoken(message: Message) -> bool:
    return message.role == "user" and any(isinstance(block, TextBlock) for block in message.content)
