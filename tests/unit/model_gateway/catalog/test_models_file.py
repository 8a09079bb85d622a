"""The models file."""

from pathlib import Path

import pytest

from natscope.contracts.errors import CredentialMissing, CredentialRefused, ModelNotFound, SpecInvalid
from natscope.contracts.model import Price
from services.model_gateway.catalog.entries import OpenAIEntry
from services.model_gateway.catalog.models_file import Catalog, Target

SHIPPED = Path(__file__).parents[4] / "deploy" / "models.yaml"
GOOD = """\
providers:
  far:
    kind: openai
    api_key: {env: FAR_KEY}
    base_url: {env: FAR_URL}
aliases:
  best:
    targets:
      - {provider: far, model: big, context_size: 1000}
"""


def _read(folder: Path, text: str, **environment: str) -> Catalog:
    path = folder / "models.yaml"
    path.write_text(text)
    return Catalog.read(path, environment)


class TestShippedFile:
    def test_asks_the_script_without_a_key(self) -> None:
        assert Catalog.read(SHIPPED, {}).targets("default") == [Target("offline", "offline")]

    @pytest.mark.parametrize("empty", ["", "  "])
    def test_takes_an_empty_key_for_none(self, empty: str) -> None:
        assert Catalog.read(SHIPPED, {"OPENAI_API_KEY": empty}).targets("default")[0].provider == "offline"

    def test_asks_the_real_model_with_a_key(self) -> None:
        catalog = Catalog.read(
            SHIPPED, {"OPENAI_API_KEY": "k", "OPENAI_MODEL": "m-1", "OPENAI_BASE_URL": "http://x/v1"}
        )
        entry = catalog.providers["openai"]
        assert isinstance(entry, OpenAIEntry)
        assert catalog.targets("default") == [Target("openai", "m-1")]
        assert catalog.base_url(entry) == "http://x/v1"

    def test_has_an_alias_that_is_always_offline(self) -> None:
        assert Catalog.read(SHIPPED, {"OPENAI_API_KEY": "k"}).targets("offline")[0].provider == "offline"

    def test_lists_its_aliases_in_order(self) -> None:
        infos = Catalog.read(SHIPPED, {}).infos()
        assert [info.alias for info in infos if info.purpose == "chat"] == ["default", "offline"]
        assert {(info.provider, info.ready) for info in infos} == {("scripted", True)}

    def test_is_still_right_with_all_that_is_commented_out(self, tmp_path: Path) -> None:
        lines = SHIPPED.read_text().split("providers:", 1)[1].splitlines()
        shown = [line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line for line in lines]
        catalog = _read(tmp_path, "\n".join(["providers:", *shown]), ANTHROPIC_API_KEY="k", GEMINI_API_KEY_2="k")
        assert {"anthropic", "gemini", "deepseek", "local"} <= set(catalog.providers)
        assert [target.provider for target in catalog.targets("careful")] == ["anthropic", "gemini"]
        assert catalog.rules.of("session", "any").budgets[0].tokens == 200_000


class TestTarget:
    def test_an_unknown_alias_names_the_known_ones(self, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFound, match="'nope'") as caught:
            _read(tmp_path, GOOD, FAR_KEY="k").targets("nope")
        assert "'best'" in (caught.value.remedy or "")

    def test_a_missing_key_is_named_by_its_variable(self, tmp_path: Path) -> None:
        catalog = _read(tmp_path, GOOD)
        with pytest.raises(CredentialMissing, match="FAR_KEY"):
            catalog.targets("best")
        assert [(info.ready, info.remedy) for info in catalog.infos()] == [(False, "set FAR_KEY")]

    def test_a_setting_without_value_or_default_is_named(self, tmp_path: Path) -> None:
        catalog = _read(tmp_path, GOOD, FAR_KEY="k")
        entry = catalog.providers["far"]
        assert isinstance(entry, OpenAIEntry)
        with pytest.raises(SpecInvalid, match="FAR_URL"):
            catalog.base_url(entry)

    def test_a_key_is_never_printed(self, tmp_path: Path) -> None:
        catalog = _read(tmp_path, GOOD, FAR_KEY="very-secret")
        (key,) = catalog.keys("far")
        assert "very-secret" not in repr(key)
        assert (key.env, key.secret.get_secret_value()) == ("FAR_KEY", "very-secret")

    def test_a_key_that_no_header_can_carry_is_refused_by_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(CredentialRefused, match="FAR_KEY") as caught:
            _read(tmp_path, GOOD, FAR_KEY="k\nX-Evil: 1é").targets("best")
        assert "Evil" not in str(caught.value)


CHAIN = """\
providers:
  far: {kind: openai, api_keys: [{env: FAR_1}, {env: FAR_2}]}
  deep: {kind: openai, dialect: deepseek}
  house: {kind: openai, dialect: ollama}
  script: {kind: scripted}
aliases:
  best:
    on_content_filter: next
    targets:
      - {provider: far, model: big, context_size: 1000, max_output_tokens: 100, modalities: [text, image], weight: 3}
      - {provider: deep, model: wide, price: {input: 1.5, output: 2}}
      - {provider: script, model: offline, stand_in: true}
"""


class TestChain:
    def test_lists_the_targets_whose_key_is_set_in_order(self, tmp_path: Path) -> None:
        targets = _read(tmp_path, CHAIN, FAR_2="k", DEEPSEEK_API_KEY="k").targets("best")
        assert [target.name for target in targets] == ["far/big", "deep/wide"]
        assert targets[0] == Target("far", "big", 1000, 100, ("text", "image"), weight=3)
        assert targets[1].price == Price(input=1.5, output=2)

    def test_passes_over_a_target_without_a_key(self, tmp_path: Path) -> None:
        targets = _read(tmp_path, CHAIN, DEEPSEEK_API_KEY="k").targets("best")
        assert [target.name for target in targets] == ["deep/wide"]

    def test_a_stand_in_is_asked_only_without_any_key(self, tmp_path: Path) -> None:
        assert [target.name for target in _read(tmp_path, CHAIN).targets("best")] == ["script/offline"]

    def test_is_told_with_its_fallbacks(self, tmp_path: Path) -> None:
        (info,) = _read(tmp_path, CHAIN, FAR_1="k", DEEPSEEK_API_KEY="k").infos()
        assert (info.provider, info.model, info.fallbacks) == ("openai", "big", ["deep/wide"])
        assert (info.context_size, info.max_output_tokens, info.modalities) == (1000, 100, ["text", "image"])

    def test_holds_the_policy_of_its_alias(self, tmp_path: Path) -> None:
        assert _read(tmp_path, CHAIN).alias("best").on_content_filter == "next"


class TestProviders:
    def test_has_the_keys_that_are_set_in_order(self, tmp_path: Path) -> None:
        catalog = _read(tmp_path, CHAIN, FAR_2="b", FAR_1="a")
        assert [key.env for key in catalog.keys("far")] == ["FAR_1", "FAR_2"]
        assert [key.env for key in _read(tmp_path, CHAIN, FAR_2="b").keys("far")] == ["FAR_2"]

    def test_is_as_its_dialect_where_nothing_is_said(self, tmp_path: Path) -> None:
        entry = _read(tmp_path, CHAIN).providers["deep"]
        assert isinstance(entry, OpenAIEntry)
        assert (entry.name, entry.base_url, entry.keys) == (
            "deepseek",
            "https://api.deepseek.com",
            ["DEEPSEEK_API_KEY"],
        )

    def test_needs_no_key_if_its_dialect_needs_none(self, tmp_path: Path) -> None:
        catalog = _read(tmp_path, CHAIN.replace("provider: deep", "provider: house"))
        assert [target.name for target in catalog.targets("best")] == ["house/wide"]

    def test_may_differ_from_its_dialect(self, tmp_path: Path) -> None:
        text = CHAIN.replace("dialect: deepseek", "dialect: deepseek, overrides: {stream_usage: false}")
        entry = _read(tmp_path, text).providers["deep"]
        assert isinstance(entry, OpenAIEntry)
        assert not entry.flavour.stream_usage


class TestRules:
    def test_are_read_with_the_file(self, tmp_path: Path) -> None:
        text = CHAIN + "budgets: [{scope: tenant, usd: 5, per: day}]\nlimits: [{scope: provider, concurrency: 4}]\n"
        rules = _read(tmp_path, text).rules
        assert rules.of("tenant", "anybody").budgets[0].usd == 5
        assert rules.of("provider", "far").limits[0].concurrency == 4


class TestMistakes:
    def test_a_native_provider_without_a_key_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(SpecInvalid, match=r"models.yaml:2: .*say `api_key: {env: NAME}`"):
            _read(
                tmp_path, "providers:\n  far: {kind: anthropic}\naliases: {a: {targets: [{provider: far, model: m}]}}"
            )

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("kind: openai", "kind: opnai", r"models.yaml:3: providers.far.kind: is none of openai, .*scripted"),
            (
                "kind: openai",
                "kind: openai\n    dialect: dutch",
                r"models.yaml:4: providers.far.dialect: .*'dutch'.*deepseek",
            ),
            (
                "kind: openai",
                "kind: openai\n    overrides: {no_such: 1}",
                r"models.yaml:4: providers.far.overrides: .*no_such",
            ),
            ("  far:", "  far away:", r"models.yaml:2: providers.far away"),
            ("model: big", "model: big, price: {inputs: 1}", r"models.yaml:9: .*price.input"),
            ("model: big", "model: big, weight: 0", r"models.yaml:9: aliases.best.targets.0.weight: "),
            ("aliases:", "budgets: [{scope: tenant}]\naliases:", r"models.yaml:6: budgets.0: a budget needs"),
            ("api_key:", "api_keys: [{env: A}]\n    api_key:", r"models.yaml:2: .*either `api_key` or `api_keys`"),
            (
                "{env: FAR_KEY}",
                "sk-in-the-file",
                r"models.yaml:4: providers.far.api_key: a key never stands in the file",
            ),
            ("kind: openai", "dialect: groq", r"models.yaml:2: providers.far.kind: is missing"),
            ("model: big", "model: {default: x}", r"models.yaml:9: aliases.best.targets.0.model.env: is missing"),
            (
                "    targets:",
                "    target:",
                r"models.yaml:8: aliases.best.target: is not known \(did you mean 'targets'",
            ),
            ("model: big", "model: big, price: 3", r"models.yaml:9: .*price: should be a mapping of names to values"),
            ("model: big", "model: 3", r"models.yaml:9: aliases.best.targets.0.model: should be a text, or {env"),
            ("model: big", "model: big, wait: 1", r"models.yaml:9: .*targets.0.wait: is not known .*'weight'.*price"),
            ("aliases:", "budget: []\naliases:", r"models.yaml:6: budget: is not known \(did you mean 'budgets'"),
            (
                "aliases:",
                "limits: [{scope: tenant, requests: 1}]\naliases:",
                r"models.yaml:6: limits.0.requests: .*requests_per_minute",
            ),
            (
                "aliases:",
                "limits:\n  - {scope: provider, name: fra, concurrency: 1}\naliases:",
                r"models.yaml:7: limits.0.name: there is no provider 'fra' \(declared are: far\)",
            ),
            (
                "aliases:",
                "budgets:\n  - {scope: model, name: gpt-5, usd: 1}\naliases:",
                r"models.yaml:7: budgets.0.name: there is no provider 'gpt-5'",
            ),
            (
                "base_url:",
                "base_uri:",
                r"models.yaml:5: providers.far.base_uri: is not known \(did you mean 'base_url'\?",
            ),
            ("provider: far", "provider: near", r"models.yaml:9: aliases.best.targets.0.provider: .*'near'"),
            ("context_size: 1000", "context_size: -1", r"models.yaml:9: aliases.best.targets.0.context_size: "),
            ("  best:", "  best: {}\n  best:", r"models.yaml:8: 'best' is there twice"),
            ("providers:", "providers: [", r"models.yaml:\d+: "),
            (GOOD, "", r"models.yaml:1: file: the file must hold"),
            (GOOD[GOOD.index("aliases") :], "", r"models.yaml:1: aliases: is missing"),
        ],
    )
    def test_are_told_by_line_and_field(self, tmp_path: Path, old: str, new: str, told: str) -> None:
        assert old in GOOD
        with pytest.raises(SpecInvalid, match=told):
            _read(tmp_path, GOOD.replace(old, new))

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SpecInvalid, match=r"nowhere.yaml cannot be read"):
            Catalog.read(tmp_path / "nowhere.yaml", {})

    def test_of_a_key_in_the_file_repeat_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(SpecInvalid) as caught:
            _read(tmp_path, GOOD.replace("{env: FAR_KEY}", "sk-in-the-file"))
        assert "sk-in" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"


class TestCheck:
    """What is only wrong in an environment."""

    def test_says_nothing_of_what_is_right(self, tmp_path: Path) -> None:
        limits = "limits: [{scope: model, name: far/big, concurrency: 1}]\naliases:"
        _read(tmp_path, GOOD.replace("aliases:", limits), FAR_KEY="k", FAR_URL="https://far/v1").check()

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("{env: FAR_URL}", "127.0.0.1:80", r"models.yaml:5: providers.far.base_url: is no address \(begin it with"),
            ("{env: FAR_URL}", "{env: NO_URL}", r"models.yaml:5: providers.far.base_url: NO_URL is not set .*\(set NO"),
            ("model: big", "model: {env: BIG}", r"models.yaml:9: aliases.best.targets.0.model: BIG is not set"),
            (
                "aliases:",
                "limits:\n  - {scope: model, name: far/bug, concurrency: 1}\naliases:",
                r"models.yaml:7: limits.0.name: no alias asks a model 'far/bug' \(use one of far/big",
            ),
        ],
    )
    def test_tells_by_line_and_field(self, tmp_path: Path, old: str, new: str, told: str) -> None:
        catalog = _read(tmp_path, GOOD.replace(old, new), FAR_KEY="k", FAR_URL="https://far/v1")
        with pytest.raises(SpecInvalid, match=told):
            catalog.check()

    def test_leaves_alone_the_address_of_a_provider_whose_key_is_not_set(self, tmp_path: Path) -> None:
        _read(tmp_path, GOOD).check()
