"""Accounts: one client for each key, kept over changes of the models file that do not concern it."""

from pathlib import Path

import pytest

from natscope.contracts.errors import SpecInvalid
from services.model_gateway.accounts import KeptAccounts
from services.model_gateway.catalog.entries import AnyEntry
from services.model_gateway.catalog.models_file import Catalog, Key
from tests.unit.model_gateway.fakes import FakeProvider

MODELS = """\
providers:
  far: {kind: openai, api_keys: [{env: KEY_1}, {env: KEY_2}, {env: KEY_3}]}
  near: {kind: scripted}
aliases:
  best:
    targets: [{provider: far, model: big}]
"""
KEYS = {"KEY_1": "sk-one-0123456789", "KEY_3": "sk-three-0123456789"}


class House:
    """Accounts whose clients are fakes."""

    def __init__(self, folder: Path, text: str = MODELS, **environment: str) -> None:
        self._path = folder / "models.yaml"
        self._environment = environment or KEYS
        self.made: list[FakeProvider] = []
        self.keys: list[str | None] = []
        self.accounts = KeptAccounts(self.catalog(text), make=self._make)

    def catalog(self, text: str) -> Catalog:
        self._path.write_text(text)
        return Catalog.read(self._path, self._environment)

    def _make(self, catalog: Catalog, entry: AnyEntry, key: Key | None) -> FakeProvider:
        self.made.append(FakeProvider())
        self.keys.append(key.secret.get_secret_value() if key else None)
        return self.made[-1]


class TestAccounts:
    def test_there_is_one_for_each_key_that_is_set_in_order(self, tmp_path: Path) -> None:
        assert [account.key for account in House(tmp_path).accounts.of("far")] == ["KEY_1", "KEY_3"]

    def test_a_provider_without_keys_has_one(self, tmp_path: Path) -> None:
        assert [account.key for account in House(tmp_path).accounts.of("near")] == [None]

    def test_a_client_is_made_when_it_is_first_asked_and_kept(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        first, second = house.accounts.of("far")
        assert house.made == []
        assert second.provider is second.provider
        assert house.keys == [KEYS["KEY_3"]]
        assert first.provider is not second.provider

    def test_an_id_tells_keys_apart_and_does_not_tell_them(self, tmp_path: Path) -> None:
        one, three = House(tmp_path).accounts.of("far")
        again, _ = House(tmp_path).accounts.of("far")
        assert (one.id == again.id, one.id == three.id) == (True, False)
        assert "one" not in one.id

    def test_a_fresh_key_in_the_same_variable_is_another_account(self, tmp_path: Path) -> None:
        (before,) = House(tmp_path, KEY_1="sk-old").accounts.of("far")
        (after,) = House(tmp_path, KEY_1="sk-new").accounts.of("far")
        assert before.id != after.id


class TestFollowing:
    async def test_what_is_not_changed_keeps_its_client(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        provider = house.accounts.of("far")[0].provider
        await house.accounts.follow(house.catalog(MODELS.replace("near:", "nearby:")))
        assert house.accounts.of("far")[0].provider is provider
        assert not house.made[0].closed

    @pytest.mark.parametrize(
        "changed", [MODELS.replace("openai,", "openai, base_url: 'http://x/v1',"), MODELS.replace("far", "farther")]
    )
    async def test_what_is_changed_or_gone_is_closed(self, tmp_path: Path, changed: str) -> None:
        house = House(tmp_path)
        _ = house.accounts.of("far")[0].provider
        await house.accounts.follow(house.catalog(changed))
        assert house.made[0].closed

    async def test_but_only_after_its_calls(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        account = house.accounts.of("far")[0]
        async with account.held():
            provider = account.provider
            await house.accounts.follow(house.catalog(MODELS.replace("openai,", "openai, stall_s: 7,")))
            assert (provider is account.provider, house.made[0].closed) == (True, False)
        assert house.made[0].closed

    async def test_a_call_that_began_before_and_asks_after_still_can(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        account = house.accounts.of("far")[0]
        await house.accounts.follow(house.catalog(MODELS.replace("openai,", "openai, stall_s: 7,")))
        async with account.held():
            late = account.provider
            assert late is house.made[-1]
            assert not house.made[-1].closed
        assert house.made[-1].closed

    async def test_close_closes_all_that_were_made(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        for account in house.accounts.of("far"):
            _ = account.provider
        await house.accounts.close()
        assert [provider.closed for provider in house.made] == [True, True]


class TestPreparing:
    async def test_makes_what_any_alias_asks_and_nothing_else(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        await house.accounts.prepare()
        assert house.keys == list(KEYS.values())

    async def test_makes_nothing_without_a_key(self, tmp_path: Path) -> None:
        house = House(tmp_path, OTHER="k")
        await house.accounts.prepare()
        assert house.made == []

    async def test_leaves_what_cannot_be_made_to_whoever_asks_it(self, tmp_path: Path) -> None:
        path = tmp_path / "models.yaml"
        path.write_text(
            MODELS.replace("kind: scripted", "kind: scripted, script: nowhere.yaml").replace(
                "provider: far", "provider: near"
            )
        )
        accounts = KeptAccounts(Catalog.read(path, KEYS))
        await accounts.prepare()
        with pytest.raises(SpecInvalid):
            _ = accounts.of("near")[0].provider


class TestClients:
    def test_a_script_is_looked_for_beside_the_models_file(self, tmp_path: Path) -> None:
        path = tmp_path / "models.yaml"
        path.write_text(MODELS.replace("kind: scripted", "kind: scripted, script: nowhere.yaml"))
        with pytest.raises(SpecInvalid, match=str(tmp_path / "nowhere.yaml")):
            _ = KeptAccounts(Catalog.read(path, KEYS)).of("near")[0].provider

    def test_a_client_speaks_the_dialect_of_its_provider(self, tmp_path: Path) -> None:
        path = tmp_path / "models.yaml"
        path.write_text(MODELS.replace("openai,", "openai, dialect: deepseek,"))
        assert KeptAccounts(Catalog.read(path, KEYS)).of("far")[0].provider.name == "deepseek"
