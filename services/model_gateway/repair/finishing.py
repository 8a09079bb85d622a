"""Tier 2: what a model wrote for machines to read is repaired by rule, without asking again, and held to its schema.

What no rule mends is told and goes no further: not to another key or target, for the provider is well and was paid, and
not back to the model, for only the asker knows whether another try is worth it (tier 3).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.blocks import ContentBlock, TextBlock, ToolUseBlock
from natscope.contracts.errors import ContentRefused, Failure, OutputInvalid
from natscope.contracts.model import Chat, Output
from natscope.contracts.tool import ToolSpec
from services.model_gateway.ports import Reply
from services.model_gateway.repair.arguments import Repaired, Unresolved, fitting, repaired, repaired_output

TIER = 2
EXCERPT = 500
"""Characters of what the model wrote that an error shows."""
_CUT = {"length": "the token limit", "content_filter": "the provider's content filter"}
_PREFIX = re.compile(r".*[.:/](?=[A-Za-z])")
_SUFFIX = re.compile(r"(?::\d+|<\|.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Finished:
    """An answer whose calls can be carried out, or say why not, and whose structured output fits."""

    reply: Reply
    output: JsonValue = None
    """The value that was asked for by `Chat.output`; None if it was not, or the model calls tools first."""
    rules: tuple[str, ...] = ()
    """What was put right."""


def finished(reply: Reply, ask: Chat) -> Finished:
    """Return `reply` with its calls and its structured output repaired.

    A call that cannot be repaired, or that was cut, has a `failure` and no input. A reply that was cut may have
    cut any of its calls, so all of them fail.

    Raises:
        OutputInvalid: the text does not hold what `ask.output` demands, or was cut; `details` hold tier and reason.
    """
    calls = any(isinstance(block, ToolUseBlock) for block in reply.content)
    if calls:
        tools = {spec.name: spec for spec in ask.tools}
        results = [_call(block, tools, _CUT.get(reply.finish_reason)) for block in reply.content]
        content, rules = [block for block, _ in results], tuple(rule for _, found in results for rule in found)
        return Finished(replace(reply, content=content), rules=tuple(dict.fromkeys(rules)))
    if ask.output is None:
        return Finished(reply)
    return _structured(reply, ask.output)


def _call(block: ContentBlock, tools: dict[str, ToolSpec], cut_by: str | None) -> tuple[ContentBlock, tuple[str, ...]]:
    if not isinstance(block, ToolUseBlock) or block.failure is not None:
        return block, ()
    name = _name(block.name, tools)
    renamed = () if name == block.name else ("tool name",)
    use = block.model_copy(update={"name": name}) if renamed else block
    if cut_by is not None:
        return _failed(use, f"it was cut off by {cut_by}", cut=True), renamed
    spec = tools.get(name)
    try:
        found = _arguments(use, spec)
    except Unresolved as error:
        return _failed(use, error.why, rules=error.rules), renamed
    if found.value == use.input:
        return use, (*renamed, *found.rules)
    return use.model_copy(update={"input": found.value}), (*renamed, *found.rules)


def _arguments(use: ToolUseBlock, spec: ToolSpec | None) -> Repaired:
    schema = None if spec is None else spec.parameters
    if use.raw_input.strip():
        return repaired(use.raw_input, schema, tool=use.name)
    return fitting(use.input, schema, tool=use.name)


def _failed(use: ToolUseBlock, why: str, *, rules: Sequence[str] = (), cut: bool = False) -> ToolUseBlock:
    failure = Failure(
        code=OutputInvalid.code,
        message=f"the arguments of {use.name!r} are of no use: {why}",
        remedy="the model has to write the call again" + (", shorter" if cut else ""),
        details=_details(why, rules, cut=cut),
    )
    return use.model_copy(update={"input": {}, "failure": failure})


def _structured(reply: Reply, output: Output) -> Finished:
    """Return the reply with one text, the JSON; what the model said around it is dropped.

    Raises:
        OutputInvalid: it holds no value that fits, or was cut.
        ContentRefused: the model said that it will not answer.
    """
    texts = [block.text for block in reply.content if isinstance(block, TextBlock)]
    text = "".join(texts)
    cut_by = _CUT.get(reply.finish_reason)
    if cut_by is not None:
        raise _invalid(output, f"it was cut off by {cut_by}", text, cut=True)
    try:
        found = repaired_output(text, output.json_schema)
    except Unresolved as error:
        if reply.metadata.get("refusal"):
            raise ContentRefused(f"the model refuses to answer: {text[:EXCERPT]}", remedy="change the prompt") from None
        raise _invalid(output, error.why, text, rules=error.rules) from None
    if not found.rules and len(texts) == 1:
        return Finished(reply, found.value)
    others = [block for block in reply.content if not isinstance(block, TextBlock)]
    content: list[ContentBlock] = [*others, TextBlock(text=to_json(found.value).decode())]
    return Finished(replace(reply, content=content), found.value, found.rules)


def _invalid(output: Output, why: str, text: str, *, rules: Sequence[str] = (), cut: bool = False) -> OutputInvalid:
    return OutputInvalid(
        f"the answer is no {output.name!r}: {why}",
        remedy="allow more output tokens" if cut else "ask again, or ask a model that follows schemas better",
        details={**_details(why, rules, cut=cut), "excerpt": text[:EXCERPT]},
    )


def _details(why: str, rules: Sequence[str], *, cut: bool) -> dict[str, JsonValue]:
    return {"tier": TIER, "why": why, "rules": list(rules), "cut": cut}


def _name(name: str, tools: dict[str, ToolSpec]) -> str:
    """Return the tool that is meant, where only one can be: whatever its case, and what some models write around it."""
    if name in tools or not tools:
        return name
    plain = _plain(name)
    meant = [tool for tool in tools if _plain(tool) == plain] or [
        tool for tool in tools if tool.casefold() == _PREFIX.sub("", plain)
    ]
    return meant[0] if len(meant) == 1 else name


def _plain(name: str) -> str:
    return _SUFFIX.sub("", name.strip().strip("\"'`")).strip().casefold()
