"""What tokens of one model cost, step by step with the length of the prompt."""

from dataclasses import dataclass
from itertools import pairwise

from natscope.contracts.model import Price, Usage


@dataclass(frozen=True, slots=True)
class Step:
    """US dollars for a million tokens of a call whose prompt is longer than `over` tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    over: int = 0
    thinking_output: float | None = None
    """Instead of `output` for an answer that was thought about; None: it makes no difference."""

    def cost_usd(self, usage: Usage) -> float:
        """Return what `usage` costs."""
        read = min(usage.cache_read_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - read)
        thought = usage.reasoning_tokens > 0 and self.thinking_output is not None
        output = self.thinking_output if thought and self.thinking_output is not None else self.output
        fresh = usage.input_tokens - read - written
        return (
            fresh * self.input + read * self.cache_read + written * self.cache_write + usage.output_tokens * output
        ) / 1_000_000


@dataclass(frozen=True, slots=True)
class Tariff:
    """The steps of one model, the longest prompt's last."""

    steps: tuple[Step, ...]
    per_call_usd: float = 0.0

    def __post_init__(self) -> None:
        if not self.steps or self.steps[0].over or any(a.over >= b.over for a, b in pairwise(self.steps)):
            raise ValueError("the steps of a price begin at 0 and go up")

    @classmethod
    def of(cls, price: Price) -> "Tariff":
        """Return the tariff of a price that holds for prompts of any length."""
        read = price.input if price.cache_read is None else price.cache_read
        written = price.input if price.cache_write is None else price.cache_write
        return cls((Step(price.input, price.output, read, written),))

    def step(self, input_tokens: int) -> Step:
        """Return the step for a prompt of that length; it holds for all tokens of the call."""
        return next(step for step in reversed(self.steps) if input_tokens > step.over or not step.over)

    def cost_usd(self, usage: Usage) -> float:
        """Return what `usage` costs."""
        return self.per_call_usd + self.step(usage.input_tokens).cost_usd(usage)

    def price(self) -> Price:
        """Return the price of short prompts, to be shown."""
        first = self.steps[0]
        return Price(input=first.input, output=first.output, cache_read=first.cache_read, cache_write=first.cache_write)
