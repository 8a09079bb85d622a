"""The dialects of chat completions."""

import pytest

from natscope.contracts.errors import SpecInvalid
from services.model_gateway.wires.dialects import Dialect, dialect, names


class TestDialects:
    @pytest.mark.parametrize("name", names())
    def test_each_can_be_read_and_says_where_its_facts_come_from(self, name: str) -> None:
        found = dialect(name)
        assert all(source.startswith("https://") for source in found.sources)
        assert found.base_url is None or found.base_url.startswith("http")
        assert found.thinking.levels.keys() <= {"off", "low", "medium", "high"}

    def test_without_a_word_it_is_that_of_openai(self) -> None:
        plain, openai = Dialect(), dialect()
        assert (plain.base_url, plain.max_tokens_field, plain.output) == (
            openai.base_url,
            openai.max_tokens_field,
            openai.output,
        )

    @pytest.mark.parametrize("name", ["ollama", "vllm", "lmstudio"])
    def test_what_runs_at_home_needs_no_key(self, name: str) -> None:
        assert dialect(name).key is None

    def test_one_that_is_like_another_has_its_facts(self) -> None:
        azure = dialect("azure")
        assert azure.base_url is None
        assert azure.without_sampling == dialect("openai").without_sampling

    def test_facts_can_be_changed_one_by_one(self) -> None:
        found = dialect("deepseek", {"max_tokens_field": "max_completion_tokens", "media": {"image": True}})
        assert found.max_tokens_field == "max_completion_tokens"
        assert found.takes == {"text", "image"}
        assert found.thinking == dialect("deepseek").thinking

    def test_an_unknown_name_names_the_known_ones(self) -> None:
        with pytest.raises(SpecInvalid, match="klingon") as caught:
            dialect("klingon")
        assert "dashscope" in str(caught.value)

    def test_an_unknown_fact_is_named(self) -> None:
        with pytest.raises(SpecInvalid, match="colour"):
            dialect("openai", {"colour": "blue"})

    @pytest.mark.parametrize("name", ["n", "model", "stream"])
    def test_what_the_gateway_says_itself_is_added_to_no_request(self, name: str) -> None:
        with pytest.raises(SpecInvalid, match=f"body: {name}: the gateway says this itself"):
            dialect("openai", {"body": {name: 2}})
        assert dialect("openai", {"body": {"top_k": 2}}).body == {"top_k": 2}

    @pytest.mark.parametrize(
        ("model", "samples"),
        [("gpt-4o", True), ("o3-mini", False), ("gpt-5-mini", False), ("gpt-5-chat-latest", True)],
    )
    def test_some_models_cannot_be_told_a_temperature(self, model: str, samples: bool) -> None:
        assert dialect("openai").samples(model) is samples
