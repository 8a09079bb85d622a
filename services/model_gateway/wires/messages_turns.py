"""Lays a conversation out as the turns of the messages API, which is strict about them.

User and assistant take turns, the user begins and has the last word. All results of a turn's calls come first in the
next turn, each exactly once and under an id that occurs once. What the API has no place for is told in words, never
dropped in silence; only other models' thinking is left out.
Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import dropwhile, groupby, takewhile
from typing import Literal

from pydantic import JsonValue

from natscope.contracts.blocks import (
    ContentBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from natscope.contracts.model import Chat
from services.model_gateway.wires.asides import given_back
from services.model_gateway.wires.messages_media import part, result, told

Json = dict[str, JsonValue]
Side = Literal["user", "assistant"]

BEGIN = "Begin."
"""Said by the user where the conversation begins with the assistant."""
GO_ON = "Go on."
"""Said by the user after each message of the assistant that nobody replied to; newer models must be answered."""
NO_RESULT = "[no result: the call was not carried out]"
ASIDES = ("caller", "toolset_name")
"""What a call says of itself beside its name and arguments, and is to say again."""
OWNER = "provider"
"""The field of an `UnknownBlock` that names the provider whose block it is."""
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


def system(ask: Chat) -> list[Json]:
    """Return the system prompt: the text of the system messages that stand before all others."""
    first = takewhile(lambda message: message.role == "system", ask.messages)
    blocks = (block for message in first for block in message.content)
    return [{"type": "text", "text": b.text} for b in blocks if isinstance(b, TextBlock) and b.text.strip()]


def turns(ask: Chat, *, provider: str) -> list[Json]:
    """Return the conversation after the system prompt; `provider` is whose thinking may be shown.

    Nothing that was laid out before changes when the conversation grows: caches and thoughts depend on it.
    """
    out: list[Json] = []
    calls: list[tuple[str, str]] = []
    ids = _Ids()
    for (side, _), group in groupby(_said(ask, provider), key=lambda said: said[:2]):
        blocks = [block for _, _, block in group]
        if side == "user":
            out.append(_turn("user", _user(blocks, calls, read=not ask.tools)))
            calls = []
            continue
        if not out or out[-1]["role"] == "assistant":
            out.append(_nobody(calls, begun=bool(out)))
        calls = [(block.id, ids.fresh(block.id)) for block in blocks if isinstance(block, ToolUseBlock)]
        out.append(_turn("assistant", list(_assistant(blocks, calls, provider))))
    if not out or out[-1]["role"] == "assistant":
        out.append(_nobody(calls, begun=bool(out)))
    return out


def assistant(said: Sequence[ContentBlock]) -> Json:
    """Return a turn that the assistant has not finished, as it is: nothing of ours is called in it."""
    return _turn("assistant", list(_assistant(said, [], "")))


def _turn(role: Side, parts: list[Json]) -> Json:
    return {"role": role, "content": list[JsonValue](parts)}


def _nobody(calls: list[tuple[str, str]], *, begun: bool) -> Json:
    """Return a user's turn where nobody spoke."""
    return _turn("user", _user([], calls, read=False) or [{"type": "text", "text": GO_ON if begun else BEGIN}])


def word(name: str) -> str:
    """Return `name` as the API takes names and ids: letters, digits, `_` and `-`."""
    return _UNFIT.sub("_", name)[:64] or "_"


class _Ids:
    """Ids of calls; a provider may have used one twice, here it may not occur twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def fresh(self, id: str) -> str:
        wanted = found = word(id)
        count = 1
        while found in self._taken:
            count += 1
            found = f"{wanted}_{count}"
        self._taken.add(found)
        return found


def _said(ask: Chat, provider: str) -> Iterator[tuple[Side, int, ContentBlock]]:
    """Yield what is said, who says it, and in which of the assistant's messages.

    Calls are always the assistant's, results always the user's. What the system says later is told by the user.
    """
    messages = list(dropwhile(lambda message: message.role == "system", ask.messages))
    for place, message in enumerate(messages):
        lost = set(_unfinished(message.content))
        for block in message.content:
            if id(block) in lost:
                continue
            side: Side = "assistant" if message.role == "assistant" else "user"
            if isinstance(block, ToolUseBlock):
                side = "assistant"
            elif isinstance(block, ToolResultBlock):
                side = "user"
            if not _counts(block, side, provider):
                continue
            if message.role == "system" and isinstance(block, TextBlock):
                block = TextBlock(text=f"<system>\n{block.text}\n</system>")
            yield side, place if side == "assistant" else -1, block


def _unfinished(content: Sequence[ContentBlock]) -> Iterator[int]:
    """Yield what a provider's own tools began and, because the answer was cut, never finished; the API refuses it.

    Where a tool of ours is called as well it is only not finished yet.
    """
    if any(isinstance(block, ToolUseBlock) for block in content):
        return
    own = [block for block in content if isinstance(block, UnknownBlock)]
    ended = [block.unknown_fields.get("tool_use_id") for block in own]
    for block in own:
        if block.type.endswith("tool_use") and block.unknown_fields.get("id") not in ended:
            yield id(block)


def _counts(block: ContentBlock, side: Side, provider: str) -> bool:
    match block:
        case TextBlock():
            return bool(block.text.strip())
        case ThinkingBlock():
            opaque = block.redacted is not None or block.signature is not None
            return side == "assistant" and block.provider == provider and opaque
        case UnknownBlock():
            return side == "assistant" and block.unknown_fields.get(OWNER) == provider
        case _:
            return True


def _assistant(blocks: Iterable[ContentBlock], calls: list[tuple[str, str]], provider: str) -> Iterator[Json]:
    ids = iter(calls)
    for block in blocks:
        match block:
            case ToolUseBlock():
                call: Json = {"type": "tool_use", "id": next(ids)[1], "name": word(block.name), "input": _input(block)}
                yield call | given_back(block, ASIDES, provider)
            case ThinkingBlock(redacted=str(data)):
                yield {"type": "redacted_thinking", "data": data}
            case ThinkingBlock():
                yield {"type": "thinking", "thinking": block.thinking, "signature": block.signature}
            case UnknownBlock():
                yield block.model_dump(mode="json", exclude={OWNER})
            case TextBlock():
                yield {"type": "text", "text": block.text}
            case _:
                yield {"type": "text", "text": told(block)}


def _input(use: ToolUseBlock) -> Json:
    """Return the arguments, which must be an object; text that is none is shown as it was written.

    Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming
    """
    return use.input if use.input or use.raw_input.strip() in ("", "{}") else {"INVALID_JSON": use.raw_input}


def _user(blocks: Iterable[ContentBlock], calls: list[tuple[str, str]], *, read: bool) -> list[Json]:
    """Return a user's turn: the results of `calls` (id, id on the wire) first, in their order, then the rest."""
    waiting = list(calls)
    results: dict[str, Json] = {}
    rest: list[Json] = []
    for block in blocks:
        if not isinstance(block, ToolResultBlock):
            rest.append(part(block, read=read))
            continue
        call = next((call for call in waiting if call[0] == block.id), None)
        answer, shown = result(block, call[1] if call else "")
        if call is None:
            rest.append({"type": "text", "text": f"[result of a call of {block.name} ({block.id})]"})
            rest.extend(_texts(answer))
        else:
            waiting.remove(call)
            results[call[1]] = answer
        rest.extend(shown)
    lost: Json = {"type": "tool_result", "content": NO_RESULT, "is_error": True}
    return [*(results.get(id) or {**lost, "tool_use_id": id} for _, id in calls), *rest]


def _texts(answer: Json) -> Iterator[Json]:
    content = answer.get("content")
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    elif isinstance(content, list):
        yield from (each for each in content if isinstance(each, dict))
