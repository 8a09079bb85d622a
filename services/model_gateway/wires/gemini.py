"""Writes a conversation as a request of Gemini's generateContent."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.model import Chat, Output
from services.model_gateway.ports import Fetches
from services.model_gateway.wires.gemini_schema import lowered
from services.model_gateway.wires.gemini_turns import contents, version

Json = dict[str, JsonValue]
Thinking = Literal["off", "low", "medium", "high"]

_STARTS = (
    "https://www.youtube.com/",
    "https://youtube.com/",
    "https://youtu.be/",
    "https://generativelanguage.googleapis.com/",
    "gs://",
)
FETCHES: Fetches = {"image": _STARTS, "audio": _STARTS, "video": _STARTS, "file": _STARTS}
"""Beginnings of addresses that Google looks up itself, whatever the model."""
_NO_THOUGHTS = ("image", "tts", "live", "audio", "embedding")
_VALUE = "value"
_VERTEX = re.compile(r"https?://([\w-]+\.)?([\w-]+-)?aiplatform\.googleapis\.com(:\d+)?(/|$)")
_HAS_VERSION = re.compile(r"/v\d[^/]*(/|$)")
_BUDGETS: Mapping[Thinking, int] = {"off": 0, "low": 1024, "medium": 8192, "high": 24576}


@dataclass(frozen=True, slots=True)
class Forced:
    """A function that stands for the structured answer, where a schema for the answer cannot be had beside tools."""

    name: str
    wrapped: bool
    """The answer is no object, so it is the function's one argument `value`."""

    def answer(self, arguments: Mapping[str, JsonValue]) -> JsonValue:
        """Return the answer that a call of the function gives."""
        return arguments.get(_VALUE) if self.wrapped and _VALUE in arguments else dict(arguments)


def forced(ask: Chat, *, model: str) -> Forced | None:
    """Return the function that must give the structured answer, if one must.

    Models before Gemini 3 refuse a schema for the answer beside tools. Where a tool must be called there is no answer
    to shape.
    """
    if ask.output is None or not ask.tools or ask.tool_choice not in ("auto", "none") or version(model) >= (3, 0):
        return None
    taken = {tool.name for tool in ask.tools}
    name = ask.output.name
    while name in taken:
        name += "_"
    return Forced(name, ask.output.json_schema.get("type") != "object")


def body(ask: Chat, *, model: str, provider: str) -> bytes:
    """Return the request's body. The same ask always gives the same bytes."""
    stand_in = forced(ask, model=model)
    system, turns = contents(ask, model=model, provider=provider)
    out: Json = {"contents": turns}
    if system:
        out["systemInstruction"] = {"parts": system}
    if ask.tools:
        out["tools"] = [{"functionDeclarations": list[JsonValue](_declarations(ask, stand_in))}]
        if choice := _choice(ask, stand_in):
            out["toolConfig"] = {"functionCallingConfig": choice}
    shape = ask.output if stand_in is None and ask.tool_choice in ("auto", "none") else None
    if generation := dict(_generation(ask, shape, model)):
        out["generationConfig"] = generation
    return to_json(out)


def base(url: str) -> str:
    """Return where models are found under `url`: it may name the API's version already, or the whole way to them.

    Without a version it is the Gemini API's `v1beta` (`v1` has neither thoughts nor schemas for answers), at Vertex AI
    `v1`, where Google's models are under `publishers/google` of the project, or of nobody's with an express key.
    Source: https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode/overview
    """
    found = url.rstrip("/").removesuffix("/models")
    vertex = _VERTEX.match(found) is not None
    if not _HAS_VERSION.search(found.partition("://")[2]):
        found = f"{found}/{'v1' if vertex else 'v1beta'}"
    return f"{found}/publishers/google" if vertex and "/publishers/" not in found else found


def path(model: str, *, stream: bool) -> str:
    """Return where under the API's version a model is asked."""
    return f"{resource(model)}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def resource(model: str) -> str:
    """Return a model's resource name."""
    return model if "/" in model else f"models/{model}"


def _declarations(ask: Chat, stand_in: Forced | None) -> Iterator[Json]:
    for tool in ask.tools:
        declared: Json = {"name": tool.name, "description": tool.description}
        if tool.parameters.get("properties"):
            declared["parametersJsonSchema"] = lowered(tool.parameters)
        yield declared
    if stand_in is not None and ask.output is not None:
        yield {
            "name": stand_in.name,
            "description": ask.output.description or "Call this to give the final answer.",
            "parametersJsonSchema": _arguments(ask.output, stand_in),
        }


def _arguments(output: Output, stand_in: Forced) -> Json:
    schema = lowered(output.json_schema)
    if not stand_in.wrapped:
        return schema
    shared = schema.pop("$defs", None)
    wrapped: Json = {"type": "object", "properties": {_VALUE: schema}, "required": [_VALUE]}
    return {**wrapped, "$defs": shared} if shared else wrapped


def _choice(ask: Chat, stand_in: Forced | None) -> Json | None:
    if stand_in is not None:
        return (
            {"mode": "ANY", "allowedFunctionNames": [stand_in.name]} if ask.tool_choice == "none" else {"mode": "ANY"}
        )
    match ask.tool_choice:
        case "auto":
            return None
        case "none":
            return {"mode": "NONE"}
        case "required":
            return {"mode": "ANY"}
        case name:
            return {"mode": "ANY", "allowedFunctionNames": [name]}


def _generation(ask: Chat, shape: Output | None, model: str) -> Iterator[tuple[str, JsonValue]]:
    wanted: Json = {
        "temperature": ask.generation.temperature,
        "topP": ask.generation.top_p,
        "maxOutputTokens": ask.generation.max_output_tokens,
        "seed": ask.generation.seed,
        "stopSequences": list[JsonValue](ask.generation.stop) or None,
        "responseMimeType": "application/json" if shape else None,
        "responseJsonSchema": lowered(shape.json_schema) if shape else None,
        "thinkingConfig": _thinking(ask.generation.thinking, model),
    }
    return ((name, value) for name, value in wanted.items() if value is not None)


def _thinking(wanted: Thinking | None, model: str) -> Json | None:
    """Return what is said about thinking to a model that is known to think; others refuse to be told.

    Source: https://ai.google.dev/gemini-api/docs/thinking#levels-budgets
    """
    if version(model) < (2, 5) or any(word in model for word in _NO_THOUGHTS):
        return None
    if wanted is None:
        return {"includeThoughts": True}
    told: Json = {} if wanted == "off" else {"includeThoughts": True}
    is_pro = "-pro" in model
    if version(model) < (3, 0):
        return {**told, "thinkingBudget": 128 if wanted == "off" and is_pro else _BUDGETS[wanted]}
    if wanted == "medium" and is_pro and version(model) == (3, 0):
        wanted = "high"
    return {**told, "thinkingLevel": ("low" if is_pro else "minimal") if wanted == "off" else wanted}
