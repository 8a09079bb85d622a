"""What a call costs."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from genai_prices import Usage as Counted
from genai_prices import calc_price

from natscope.contracts.model import Price, Usage
from services.model_gateway.accounting.prices import NAMES, Prices

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""Some prices depend on the date, and on the time of day."""
PRICES = Prices(now=lambda: AT)
USAGE = Usage(input_tokens=300_000, output_tokens=2_000, cache_read_tokens=100_000, cache_write_tokens=1_000)


class TestAPrice:
    @pytest.mark.parametrize(
        ("provider", "model"),
        [
            ("openai", "gpt-4o-mini"),
            ("openai", "gpt-5-mini-2025-08-07"),
            ("azure.ai.openai", "gpt-4o"),
            ("anthropic", "claude-sonnet-4-5-20250929"),
            ("gcp.gemini", "gemini-2.5-pro"),
            ("gcp.vertex_ai", "gemini-2.5-flash"),
            ("deepseek", "deepseek-chat"),
            ("x_ai", "grok-4-0709"),
            ("moonshot_ai", "kimi-k2.5"),
            ("perplexity", "sonar"),
            ("openrouter", "anthropic/claude-4.5-sonnet-20250929"),
        ],
    )
    @pytest.mark.parametrize("usage", [USAGE, Usage(input_tokens=1_000, output_tokens=10)])
    def test_is_that_of_genai_prices(self, provider: str, model: str, usage: Usage) -> None:
        counted = Counted(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        )
        place = NAMES.get(provider, provider)
        expected = calc_price(counted, model, provider_id=place, genai_request_timestamp=AT).total_price
        assert PRICES.cost_usd(usage, provider, model) == pytest.approx(float(expected))

    def test_counts_cached_tokens_once(self) -> None:
        told = Price(input=10, output=100, cache_read=1, cache_write=20)
        usage = Usage(input_tokens=1_000_000, cache_read_tokens=600_000, cache_write_tokens=100_000)
        assert PRICES.cost_usd(usage, "any", "any", told=told) == pytest.approx(3 + 0.6 + 2)

    def test_of_cached_tokens_is_that_of_input_unless_told(self) -> None:
        usage = Usage(input_tokens=1_000_000, cache_read_tokens=600_000, output_tokens=1_000_000)
        assert PRICES.cost_usd(usage, "any", "any", told=Price(input=10, output=1)) == pytest.approx(11)

    def test_in_the_models_file_wins(self) -> None:
        assert PRICES.cost_usd(USAGE, "openai", "gpt-5", told=Price(input=0)) == 0

    def test_goes_up_with_the_length_of_the_prompt_and_with_thinking(self) -> None:
        short, long = Usage(input_tokens=256_000, output_tokens=1_000), Usage(input_tokens=256_001, output_tokens=1_000)
        thought = Usage(input_tokens=1_000, output_tokens=1_000, reasoning_tokens=900)
        assert PRICES.cost_usd(short, "dashscope", "qwen-plus") == pytest.approx(0.1024 + 0.0012)
        assert PRICES.cost_usd(long, "dashscope", "qwen-plus") == pytest.approx(0.3072012 + 0.0036)
        assert PRICES.cost_usd(thought, "dashscope", "qwen-plus") == pytest.approx(0.0004 + 0.004)

    @pytest.mark.parametrize(
        ("provider", "model"),
        [("openai", "no-such-model"), ("nobody", "gpt-4o"), ("dashscope", "qwen-unheard-of"), ("openai", "")],
    )
    def test_that_is_not_known_is_not_guessed(self, provider: str, model: str) -> None:
        assert PRICES.cost_usd(USAGE, provider, model) is None

    @pytest.mark.parametrize("provider", ["scripted", "ollama", "vllm"])
    def test_of_what_runs_on_ones_own_machine_is_nothing(self, provider: str) -> None:
        assert PRICES.cost_usd(USAGE, provider, "anything") == 0

    def test_is_not_loaded_before_it_is_asked_for(self) -> None:
        program = "import sys; import services.model_gateway.accounting.prices; print('genai_prices' in sys.modules)"
        told = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4]
        )
        assert told.stdout.strip() == "False"
