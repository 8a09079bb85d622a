"""Knows what a model lets itself be told by the responses API; it refuses a request that says what it does not take.

Source: https://platform.openai.com/docs/guides/reasoning and the pages of the models, November 2026.
"""

import re
from dataclasses import dataclass
from typing import Literal

Level = Literal["off", "low", "medium", "high"] | None

_OWN = re.compile(r"openai|az(ure)?[._]ai[._]openai")
_REASONS = re.compile(r"(?:^|[/:])(?:o\d|gpt-[5-9]|gpt-\d\d|codex|computer-use)(?!.*-chat)")
_SAMPLES = re.compile(r"(?:^|[/:])gpt-5\.[12](?!.*(?:codex|pro))")
_LEAST_MINIMAL = re.compile(r"(?:^|[/:])gpt-5(?![.\d]|-(?:codex|pro))")
_LEAST_LOW = re.compile(r"(?:^|[/:])(?:o\d|codex|gpt-5.*-(?:codex|pro))")
_PHASED = re.compile(r"(?:^|[/:])gpt-(?:5\.[3-9]|[6-9]|\d\d)")


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways of one model."""

    own: bool
    """It is OpenAI's API itself, not one of the same shape."""
    reasons: bool
    """It is known to reason: its thoughts can be had encrypted."""
    phased: bool
    """It tells what it says on the way from its last word, and wants that told again."""
    least: Literal["none", "minimal", "low"]
    """The least effort that it can be told."""
    samples_at_rest: bool
    """It reasons only if it is told to."""

    @property
    def remembers(self) -> bool:
        """Whether it may be reminded of thoughts; OpenAI's models that do not reason refuse them."""
        return self.reasons or not self.own

    def effort(self, level: Level) -> str | None:
        """Return how much reasoning to ask for; None: nothing is said of it."""
        if level is None or not self.remembers:
            return None
        return self.least if level == "off" else level

    def samples(self, level: Level) -> bool:
        """Return whether it takes a temperature while it thinks so much."""
        return not self.reasons or (self.samples_at_rest and level in (None, "off"))


def is_own(provider: str) -> bool:
    """Return whether `provider` is one whose responses API is OpenAI's own."""
    return _OWN.fullmatch(provider) is not None


def ways(model: str, provider: str) -> Ways:
    """Return the ways of `model`. Of a name that is not known nothing is assumed."""
    return Ways(
        own=is_own(provider),
        reasons=_REASONS.search(model) is not None,
        phased=_PHASED.search(model) is not None,
        least="minimal" if _LEAST_MINIMAL.search(model) else "low" if _LEAST_LOW.search(model) else "none",
        samples_at_rest=_SAMPLES.search(model) is not None,
    )
