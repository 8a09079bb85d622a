"""Knows how each family of Claude models is told to think, and what it refuses while it does.

Kept as data, because the API answers a setting that a model does not have with an error. A model that is not listed is
told nothing but what was asked for.
Sources: https://platform.claude.com/docs/en/build-with-claude/thinking,
https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5,
https://platform.claude.com/docs/en/build-with-claude/preserved-thinking/prefix-checks
"""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

Json = dict[str, JsonValue]
Level = Literal["off", "low", "medium", "high"] | None

BINDING_BETA = "thinking-binding-controls-2026-08-01"
"""Must be named in the header `anthropic-beta` for `block_binding`."""
_BUDGETS = {"low": 2048, "medium": 8192, "high": 16384}
_LEAST = 1024
"""The smallest budget, and what is left for the answer."""


@dataclass(frozen=True, slots=True)
class Family:
    """Models that are alike in how they think."""

    on: Literal["adaptive", "budget"] | None = None
    off: Literal["disabled", "between_tools"] | None = None
    """None: by leaving it out, or not at all."""
    forced_tools: Literal["yes", "unthinking", "no"] = "yes"
    """Whether a call can be demanded; `unthinking`: only while it does not think."""
    preserved: bool = False
    """Whether a replayed thought must follow on the very same conversation. Ours may have been shortened since, or have
    got other tools, therefore the API is asked to drop what does not fit, not to refuse the whole."""


_OTHER = Family()
_FAMILIES: tuple[tuple[re.Pattern[str], Family], ...] = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"(fable|mythos)[-.]5[-.]\d(?!\d)", Family("adaptive", None, "no", preserved=True)),
        (r"opus[-.]5[-.]5(?!\d)", Family("adaptive", None, "no", preserved=True)),
        (r"sonnet[-.]5[-.]5(?!\d)", Family("adaptive", "between_tools", "no", preserved=True)),
        (r"haiku[-.]5[-.]5(?!\d)", Family("adaptive", "disabled", "no", preserved=True)),
        (r"(fable|mythos)", Family("adaptive", None, "no")),
        (r"(opus|sonnet)[-.]5(?!\d)", Family("adaptive", "disabled", "unthinking")),
        (r"(opus|sonnet)[-.]4[-.][6-9](?!\d)", Family("adaptive")),
        (r"(opus|sonnet|haiku)[-.]4(?!\d)|3[-.]7[-.]sonnet", Family("budget")),
    )
)


def family(model: str) -> Family:
    """Return the family of a model by its name, which may have a platform before it and a date behind."""
    return next((found for pattern, found in _FAMILIES if "claude" in model and pattern.search(model)), _OTHER)


def effort(level: Level, kin: Family) -> str | None:
    """Return `output_config.effort`; who cannot be told not to think is told to think little."""
    if level is None or kin.on != "adaptive":
        return None
    if level == "off":
        return "low" if kin.off is None and kin.forced_tools == "no" else None
    return level


def thinking(level: Level, kin: Family, *, forced: bool, max_tokens: int, turns: list[Json]) -> Json | None:
    """Return the request's `thinking`; None if it is left to the model. With `forced` a call is demanded."""
    if forced and kin.forced_tools == "unthinking":
        return {"type": "disabled"}
    if level == "off":
        return {"type": kin.off} if kin.off else _bound({}, kin)
    if level is None or kin.on is None:
        return _bound({}, kin)
    if kin.on == "adaptive":
        return _bound({"display": "summarized"}, kin) if not forced else None
    budget = min(_BUDGETS[level], max_tokens - _LEAST)
    if forced or budget < _LEAST or _acts_without_thought(turns):
        return None
    return {"type": "enabled", "budget_tokens": budget}


def _bound(more: Json, kin: Family) -> Json | None:
    if kin.preserved:
        return {"type": "adaptive", **more, "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    return {"type": "adaptive", **more} if more else None


def _acts_without_thought(turns: list[Json]) -> bool:
    """Return whether the last turns are a call and its result without a thought before: it must not begin there."""
    before, last = (_kinds(turn) for turn in ([{}, {}, *turns])[-2:])
    return "tool_result" in last and not (before and before[0] in ("thinking", "redacted_thinking"))


def _kinds(turn: Json) -> list[JsonValue]:
    content = turn.get("content")
    return [part.get("type") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
