"""What a call costs: by the price in the models file, our own small table, or genai-prices; never by a guess."""

import asyncio
import importlib
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from natscope.contracts.model import Price, Usage
from services.model_gateway.accounting.tariff import Step, Tariff

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

TABLE = Path(__file__).with_name("prices.yaml")
FREE = Tariff((Step(0.0, 0.0, 0.0, 0.0),))
KEPT_S = 600.0
"""How long a tariff is kept: some models cost less at night."""
NAMES: Mapping[str, str] = {
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
    "zhipu": "zhipuai",
    "together_ai": "together",
}
"""Providers by the OpenTelemetry registry, and what genai-prices calls them where that differs."""


def _now() -> datetime:
    return datetime.now(UTC)


class Prices:
    """Prices of all models that are known, without a network."""

    def __init__(self, table: Path = TABLE, *, now: Callable[[], datetime] = _now) -> None:
        """`now` tells the time: some prices depend on it."""
        self._own = _read(table)
        self._now = now
        self._known: dict[tuple[str, str], tuple[float, Tariff | None]] = {}
        self._found: dict[tuple[str, str], ModelInfo | None] = {}
        self._lock = threading.Lock()

    async def load(self) -> None:
        """Load the list of prices in a thread; without this the first look-up takes half a second."""
        await asyncio.to_thread(self.tariff, "openai", "gpt-5")

    def cost_usd(self, usage: Usage, provider: str, model: str, *, told: Price | None = None) -> float | None:
        """Return what `usage` costs, or None if the price is not known.

        `provider` is its name by the OpenTelemetry registry; `told` is the price in the models file, which wins.
        """
        tariff = self.tariff(provider, model, told=told)
        return None if tariff is None else tariff.cost_usd(usage)

    def tariff(self, provider: str, model: str, *, told: Price | None = None) -> Tariff | None:
        """Return what the model's tokens cost now, or None if that is not known."""
        if told is not None:
            return Tariff.of(told)
        now = self._now()
        until, tariff = self._known.get((provider, model), (0.0, None))
        if until < now.timestamp():
            tariff = self._look_up(provider, model, now)
            self._known[provider, model] = now.timestamp() + KEPT_S, tariff
        return tariff

    def context_size(self, provider: str, model: str) -> int | None:
        """Return the size of the model's window as genai-prices knows it."""
        found = self._listed(provider, model)
        return found.context_window if found is not None else None

    def _look_up(self, provider: str, model: str, now: datetime) -> Tariff | None:
        own = self._own.get(provider)
        if own is not None:
            return own.get(model) or own.get("*")
        found = self._listed(provider, model)
        return None if found is None else _tariff(found.get_prices(now))

    def _listed(self, provider: str, model: str) -> "ModelInfo | None":
        key = provider, model
        if key not in self._found:
            with self._lock:
                snapshot: Any = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
            try:
                self._found[key] = snapshot.find_provider_model(model, None, NAMES.get(provider, provider), None)[1]
            except LookupError:
                self._found[key] = None
        return self._found[key]


def _tariff(price: "ModelPrice") -> Tariff | None:
    """Return a price of genai-prices as ours; None if it does not say what tokens cost."""
    fields = {name: getattr(price, f"{name}_mtok", None) for name in ("input", "output", "cache_read", "cache_write")}
    if fields["input"] is None:
        return None
    starts = {0, *(tier.start for value in fields.values() for tier in getattr(value, "tiers", ()))}
    steps: list[Step] = []
    for start in sorted(starts):
        at = {name: _at(value, start) for name, value in fields.items()}
        fresh = at["input"] or 0.0
        read = fresh if at["cache_read"] is None else at["cache_read"]
        written = fresh if at["cache_write"] is None else at["cache_write"]
        steps.append(Step(fresh, at["output"] or 0.0, read, written, over=start))
    per_thousand = getattr(price, "requests_kcount", None)
    return Tariff(tuple(steps), float(per_thousand or 0) / 1000)


def _at(value: Any, start: int) -> float | None:
    """Return the price above `start` tokens of prompt."""
    if value is None or isinstance(value, Decimal):
        return None if value is None else float(value)
    found = value.base
    for tier in value.tiers:
        if tier.start <= start:
            found = tier.price
    return float(found)


def _read(path: Path) -> dict[str, dict[str, Tariff]]:
    told: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        provider: {"*": FREE} if entry.get("free") else {model: _own(rows) for model, rows in entry["models"].items()}
        for provider, entry in told.items()
    }


def _own(rows: list[dict[str, float]]) -> Tariff:
    return Tariff(
        tuple(
            Step(
                row["input"],
                row["output"],
                row.get("cache_read", row["input"]),
                row.get("cache_write", row["input"]),
                int(row.get("over", 0)),
                row.get("thinking_output"),
            )
            for row in rows
        )
    )
