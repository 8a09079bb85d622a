"""Finds the text in what a chat completions endpoint says."""

from pydantic import JsonValue
from pydantic_core import to_json

from services.model_gateway.wires.dialects import Json

_OF_TEXT = frozenset({"index", "delta", "finish_reason", "logprobs"})
_THOUGHTS = ("thinking", "reasoning")
_FIELDS = ("reasoning_content", "reasoning", "thinking")
_WORDS = ("text", "refusal")
_IN_A_THOUGHT = ("thinking", "summary", "content", "text")


def only_text(value: Json, index: JsonValue) -> str | None:
    """Return the text of a chunk that says nothing else of choice `index`, as nearly all do; None for the others."""
    choices = value.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or value.get("usage") or "x_groq" in value:
        return None
    choice = choices[0]
    if not isinstance(choice, dict) or not choice.keys() <= _OF_TEXT or choice.get("finish_reason") is not None:
        return None
    delta = choice.get("delta")
    if not isinstance(delta, dict) or len(delta) != 1 or choice.get("index", 0) != index:
        return None
    text = delta.get("content")
    return text if isinstance(text, str) else None


def texts(content: JsonValue) -> tuple[str, str]:
    """Return thinking and text of a `content`, which is a string or, at some providers, a list of parts."""
    if isinstance(content, str):
        return "", content
    if isinstance(content, dict):
        return ("", to_json(content).decode()) if "type" not in content else texts([content])
    thought, text = "", ""
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            text += part
        elif isinstance(part, dict) and part.get("type") in _THOUGHTS:
            thought += thought_in(part)
        elif isinstance(part, dict):
            text += next((more for name in _WORDS if isinstance(more := part.get(name), str)), "")
    return thought, text


def thought_of(message: Json) -> str:
    """Return what a message thinks, under the first of the names that it says anything under."""
    return next((found for name in _FIELDS if (found := thought_in(message.get(name)))), "")


def thought_in(value: JsonValue) -> str:
    """Return the words of a thought, which is a string, a list of parts, or one of them."""
    if isinstance(value, dict):
        return thought_in(next((value[name] for name in _IN_A_THOUGHT if value.get(name)), None))
    return "".join(texts(value))


def signature_in(content: JsonValue) -> str:
    """Return what a thought that is a part of a `content` is signed with; empty if it is not.

    Source: https://docs.mistral.ai/api/endpoint/chat (`ThinkChunk.signature`)
    """
    parts = (part for part in content if isinstance(part, dict)) if isinstance(content, list) else ()
    signed = (part.get("signature") for part in parts if part.get("type") in _THOUGHTS)
    return "".join(found for found in signed if isinstance(found, str))


def others(content: JsonValue) -> list[Json]:
    """Return the parts of a `content` that hold no words: references to sources and files, pictures."""
    parts = (part for part in content if isinstance(part, dict)) if isinstance(content, list) else ()
    return [part for part in parts if part.get("type") not in _THOUGHTS and not any(name in part for name in _WORDS)]
