"""Finds the text in what a chat completions endpoint says."""

from pydantic import JsonValue
from pydantic_core import to_json

from services.model_gateway.wires.dialects import Json

_OF_TEXT = frozenset({"index", "delta", "finish_reason", "logprobs"})


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
        elif isinstance(part, dict) and part.get("type") == "thinking":
            inner = part.get("thinking")
            thought += inner if isinstance(inner, str) else texts(inner)[1]
        elif isinstance(part, dict) and isinstance(more := part.get("text"), str):
            text += more
    return thought, text
