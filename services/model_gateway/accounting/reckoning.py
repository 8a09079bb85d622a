"""Reckons before a call the most that it may cost, and learns after it how well that was reckoned."""

from dataclasses import dataclass
from math import ceil
from typing import Protocol

from natscope.contracts.model import Chat, Price, Usage
from services.model_gateway.accounting.fitting import Need
from services.model_gateway.accounting.prices import Prices
from services.model_gateway.accounting.tokens import Api, Estimator

NANOS = 1_000
"""Nano-dollars for a token, for each dollar of a million tokens."""
LONGEST = 8_192
"""Tokens of an answer where neither the ask nor the model says how long it may become."""
LEAST = 16
"""Tokens; where nobody asked for a length, an answer may be cut to what the budget has room for, but not to less."""


class Asked(Protocol):
    """What is asked; see `catalog.models_file.Target`."""

    @property
    def name(self) -> str:
        """`provider/model`."""
        ...

    @property
    def model(self) -> str:
        """By the provider's name for it."""
        ...

    @property
    def max_output_tokens(self) -> int | None:
        """The longest answer."""
        ...

    @property
    def price(self) -> Price | None:
        """As the models file says it."""
        ...


@dataclass(slots=True)
class _Learned:
    """How much larger the prompts of a target really were than they were estimated."""

    calls: int = 0
    mean: float = 1.0
    most: float = 1.25
    """Decays towards the mean; at first it stands in for what is not known yet."""


class Corrections:
    """What was learned of each target: by an average that forgets, and by the most that was seen of late."""

    def __init__(self) -> None:
        self._learned: dict[str, _Learned] = {}

    def expected(self, target: str, estimated: int) -> int:
        """Return what the provider will count, as far as can be told."""
        learned = self._learned.get(target)
        return estimated if learned is None else max(1, round(estimated * learned.mean))

    def bound(self, target: str, estimated: int) -> int:
        """Return what the provider will hardly count more than."""
        learned = self._learned.get(target) or _Learned()
        return max(1, ceil(estimated * learned.most - 1e-9))

    def learn(self, target: str, estimated: int, real: int) -> None:
        """Note what an estimate came to; what is far beyond it, such as pages that were searched, is not learned."""
        ratio = real / max(1, estimated)
        if not 0.25 <= ratio <= 4:
            return
        learned = self._learned.setdefault(target, _Learned())
        learned.calls += 1
        learned.mean += (ratio - learned.mean) * max(0.1, 1 / learned.calls)
        faded = learned.mean + (learned.most - learned.mean) * (0.9 if learned.calls > 4 else 0.5)
        learned.most = max(ratio, faded if faded - learned.mean > 0.001 else learned.mean)


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What a call will use, and the most it may cost."""

    estimated_tokens: int
    """Of the prompt, before correction."""
    input_tokens: int
    """Of the prompt, as far as can be told."""
    need: Need


class Reckoner:
    """Reckons chats."""

    def __init__(self, prices: Prices, estimator: Estimator) -> None:
        self._prices = prices
        self._estimator = estimator
        self._corrections = Corrections()

    def input_tokens(self, ask: Chat, provider: str, target: Asked, *, api: Api = "chat") -> int:
        """Return how many tokens the prompt has for `target`, as far as can be told; for the check of its window."""
        estimated = self._estimator.input_tokens(ask, provider, target.model, api=api)
        return self._corrections.expected(target.name, estimated)

    def reckoned(self, ask: Chat, provider: str, target: Asked, *, api: Api = "chat") -> Reckoned:
        """Return what a call may cost; `provider` is its name by the OpenTelemetry registry."""
        estimated = self._estimator.input_tokens(ask, provider, target.model, api=api)
        bound = self._corrections.bound(target.name, estimated)
        asked = ask.generation.max_output_tokens
        longest = asked or target.max_output_tokens or LONGEST
        tariff = self._prices.tariff(provider, target.model, told=target.price)
        step = None if tariff is None else tariff.step(bound)
        need = Need(
            input_tokens=bound,
            output_tokens=longest,
            least_output_tokens=longest if asked is not None else min(longest, LEAST),
            input_nanos=None
            if step is None or tariff is None
            else ceil(bound * step.input * NANOS + tariff.per_call_usd * 1_000_000_000),
            is_bounded=asked is not None or target.max_output_tokens is not None,
            nanos_per_output_token=0.0 if step is None else max(step.output, step.thinking_output or 0.0) * NANOS,
        )
        return Reckoned(estimated, self._corrections.expected(target.name, estimated), need)

    def learn(self, target: Asked, reckoned: Reckoned, usage: Usage) -> None:
        """Note what the provider counted."""
        if usage.input_tokens:
            self._corrections.learn(target.name, reckoned.estimated_tokens, usage.input_tokens)

    def abandoned(self, provider: str, target: Asked, reckoned: Reckoned, text: str) -> Usage:
        """Return what a call has used that was broken off after it had written `text`."""
        written = self._estimator.text_tokens(text, provider, target.model) if text else 0
        return Usage(input_tokens=reckoned.input_tokens, output_tokens=written)
