"""What is known of models without being told."""

import pytest
from genai_prices.data_snapshot import get_snapshot

from natscope.contracts.model import ModelInfo
from services.model_gateway.accounting.prices import Prices
from services.model_gateway.catalog.cards import UNKNOWN, card, shown


class TestACard:
    @pytest.mark.parametrize(
        ("model", "context_size", "takes"),
        [
            ("gpt-5-mini-2025-08-07", 400_000, ("text", "image", "file")),
            ("gpt-4o-2024-08-06", 128_000, ("text", "image", "file")),
            ("openai/gpt-4.1-nano", 1_047_576, ("text", "image", "file")),
            ("claude-sonnet-4-5-20250929", 200_000, ("text", "image", "file")),
            ("gemini-2.5-flash", 1_048_576, ("text", "image", "audio", "video", "file")),
            ("o3-mini", 200_000, ("text",)),
            ("qwen3-vl-plus", None, ("text", "image", "video")),
        ],
    )
    def test_is_found_by_the_providers_name(self, model: str, context_size: int | None, takes: tuple[str, ...]) -> None:
        found = card(model)
        assert (found.context_size, found.modalities) == (context_size, takes)

    def test_has_the_window_that_the_list_of_prices_has(self) -> None:
        other: list[tuple[str, int, int]] = []
        for provider in get_snapshot().providers:
            for model in provider.models if provider.id in ("openai", "anthropic", "google") else ():
                ours, theirs = card(model.id).context_size, model.context_window
                if ours and theirs and abs(ours / theirs - 1) > 0.06:
                    other.append((model.id, ours, theirs))
        assert other == []

    @pytest.mark.parametrize("model", ["", "my-own-model", "gpt-4o-mini-tts", "gemini-embedding-001"])
    def test_of_what_is_not_known_says_nothing(self, model: str) -> None:
        assert card(model) == UNKNOWN

    def test_is_shown_with_the_price_and_window_of_the_list_of_prices(self) -> None:
        info = ModelInfo(alias="fast", provider="moonshot_ai", model="kimi-k2.5")
        [seen] = shown([info], Prices())
        assert seen.context_size == 262_144
        assert seen.price is not None
        assert seen.price.input > 0
