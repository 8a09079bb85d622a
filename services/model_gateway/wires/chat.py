"""Writes an ask as a chat completions request."""

from collections.abc import Iterator

from pydantic import JsonValue
from pydantic_core import to_json

from natscope.contracts.model import Chat, Generation
from services.model_gateway.wires.chat_output import Plan, plan
from services.model_gateway.wires.chat_turns import Turns
from services.model_gateway.wires.dialects import Dialect, Json


def body(ask: Chat, *, model: str, provider: str, dialect: Dialect, stream: bool, planned: Plan | None = None) -> bytes:
    """Return the request's body. The same ask always gives the same bytes."""
    planned = planned or plan(ask, dialect)
    turns = Turns(ask, provider=provider, dialect=dialect).written(planned.instructions)
    out: Json = {"model": model, "messages": turns}
    out.update(_generation(ask.generation, model, dialect))
    out.update(planned.fields)
    out.update(dialect.body)
    if stream:
        out["stream"] = True
        if dialect.stream_usage:
            out["stream_options"] = {"include_usage": True}
    return to_json(out)


def _generation(generation: Generation, model: str, dialect: Dialect) -> Iterator[tuple[str, JsonValue]]:
    samples = dialect.samples(model)
    heat = generation.temperature
    wanted: Json = {
        "temperature": min(heat, dialect.temperature_max) if heat is not None and samples else None,
        "top_p": generation.top_p if samples else None,
        dialect.max_tokens_field: generation.max_output_tokens,
        "stop": list[JsonValue](generation.stop[: dialect.stops]) or None,
    }
    if dialect.seed_field is not None:
        wanted[dialect.seed_field] = generation.seed
    if generation.thinking is not None:
        wanted.update(dialect.thinking.levels.get(generation.thinking, {}))
    return ((name, value) for name, value in wanted.items() if value is not None)
