"""Reads the tokens that a chat completions answer counts, wherever an endpoint writes them."""

from collections.abc import Iterator

from pydantic import JsonValue

from natscope.contracts.model import Usage
from services.model_gateway.wires.dialects import Json

_BEYOND = 1e15
"""No number of tokens or of dollars."""


def usage_in(value: Json) -> Usage | None:
    """Return the usage of a chunk or of a whole answer, None if it says none.

    Groq's streams say it under `x_groq`, Moonshot's in the last choice.
    """
    if isinstance(plain := value.get("usage"), dict) and plain:
        return usage_of(plain)
    for found in _elsewhere(value):
        if found:
            return usage_of(found)
    return None


def usage_of(value: Json) -> Usage:
    """Return the tokens that a `usage` object counts; cached and reasoning tokens are included in input and output."""
    prompt, completion = _inner(value, "prompt_tokens_details"), _inner(value, "completion_tokens_details")
    given = _count(value, "prompt_tokens", "input_tokens")
    written = _count(value, "completion_tokens", "output_tokens")
    thought = _count(completion, "reasoning_tokens") or _count(value, "reasoning_tokens")
    if thought and given + written + thought == _count(value, "total_tokens"):
        written += thought  # xAI counts them apart
    return Usage(
        input_tokens=given,
        output_tokens=written,
        cache_read_tokens=_count(prompt, "cached_tokens")
        or _count(value, "prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens", "cache_read_input_tokens"),
        cache_write_tokens=_count(prompt, "cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
        or _count(value, "cache_creation_input_tokens"),
        reasoning_tokens=thought,
    )


def billed_in(value: Json) -> float | None:
    """Return the US dollars that an answer says it costs, None if it says nothing.

    Sources: https://openrouter.ai/docs/use-cases/usage-accounting (with a key of one's own, `cost` is the fee alone),
    https://docs.perplexity.ai/api-reference/chat-completions-post
    """
    usage = _inner(value, "usage")
    cost = _amount(usage.get("cost"))
    if cost is None:
        return _amount(_inner(usage, "cost").get("total_cost"))
    if usage.get("is_byok") is True:
        return cost + (_amount(_inner(usage, "cost_details").get("upstream_inference_cost")) or 0.0)
    return cost


def _amount(value: JsonValue) -> float | None:
    """Return a number that may be an amount of money."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _BEYOND else None


def _elsewhere(value: Json) -> Iterator[Json]:
    yield _inner(_inner(value, "x_groq"), "usage")
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    yield _inner(first, "usage") if isinstance(first, dict) else {}


def _inner(value: Json, name: str) -> Json:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _count(value: Json, *names: str) -> int:
    """Return the first of some numbers that is one and is not 0."""
    for name in names:
        found = value.get(name)
        if isinstance(found, str) and found.isdecimal():
            found = int(found[:16])
        if isinstance(found, int | float) and not isinstance(found, bool) and 1 <= found < _BEYOND:
            return int(found)
    return 0
