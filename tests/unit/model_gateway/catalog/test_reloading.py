"""The models file, followed while the gateway runs."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from natscope.contracts.errors import SpecInvalid
from services.model_gateway.catalog.models_file import Catalog
from services.model_gateway.catalog.reloading import Models

GOOD = """\
providers:
  fake: {kind: scripted}
aliases:
  default:
    targets: [{provider: fake, model: m-1}]
"""
BETTER = GOOD.replace("m-1", "m-2")
WRONG = GOOD.replace("kind: scripted", "kind: srcipted")


class Follower:
    """Notes the catalogs it hears of."""

    def __init__(self) -> None:
        self.heard: list[Catalog] = []

    async def follow(self, catalog: Catalog) -> None:
        self.heard.append(catalog)


def _model(models: Models) -> str:
    return models.catalog.targets("default")[0].model


class House:
    """A file, what follows it, and who is told."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "models.yaml"
        self.path.write_text(GOOD)
        self.models = Models(self.path, {})
        self.follower = Follower()

    async def write(self, text: str) -> bool:
        """Put another file in its place, as editors do, and look."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)
        return await self.models.look(self.follower.follow)


class TestModels:
    async def test_a_changed_file_is_in_force_at_once(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        assert await house.write(BETTER)
        assert _model(house.models) == "m-2"
        assert house.follower.heard == [house.models.catalog]

    async def test_an_unchanged_file_is_not_read_again(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        before = house.models.catalog
        assert not await house.models.look(house.follower.follow)
        assert house.models.catalog is before
        assert house.follower.heard == []

    async def test_a_file_of_the_same_size_written_in_place_is_seen(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        house.path.write_text(BETTER)
        os.utime(house.path, ns=(0, 0))
        assert await house.models.look()

    async def test_a_wrong_file_changes_nothing_and_is_told_by_line_and_field(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        house = House(tmp_path)
        with caplog.at_level(logging.ERROR):
            assert not await house.write(WRONG)
            assert not await house.models.look(house.follower.follow)
        assert _model(house.models) == "m-1"
        assert house.follower.heard == []
        assert "models.yaml:2: providers.fake" in (house.models.fault or "")
        assert ["stays in force" in record.getMessage() for record in caplog.records] == [True]

    async def test_a_file_that_is_gone_changes_nothing(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        house.path.unlink()
        assert not await house.models.look()
        assert _model(house.models) == "m-1"
        assert "cannot be read" in (house.models.fault or "")

    async def test_a_mended_file_is_in_force_and_the_fault_is_gone(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        await house.write(WRONG)
        assert await house.write(BETTER)
        assert (_model(house.models), house.models.fault) == ("m-2", None)

    async def test_what_is_wrong_only_in_this_environment_changes_nothing_either(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        assert not await house.write(GOOD.replace("model: m-1", "model: {env: NOT_SET_ANYWHERE}"))
        assert "NOT_SET_ANYWHERE" in (house.models.fault or "")

    def test_a_wrong_file_at_the_start_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "models.yaml"
        path.write_text(WRONG)
        with pytest.raises(SpecInvalid, match=r"models\.yaml:2"):
            Models(path, {})

    async def test_the_environment_is_that_of_the_start(self, tmp_path: Path) -> None:
        path = tmp_path / "models.yaml"
        path.write_text(GOOD.replace("m-1", "{env: NAME, default: none}"))
        environment = {"NAME": "before"}
        models = Models(path, environment)
        environment["NAME"] = "after"
        os.utime(path, ns=(0, 0))
        assert await models.look()
        assert _model(models) == "before"

    async def test_is_looked_at_every_so_often(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        heard = asyncio.Event()

        async def follow(catalog: Catalog) -> None:
            heard.set()

        async with house.models.followed(follow, every_s=0.01), asyncio.timeout(60):
            house.path.write_text(BETTER)
            os.utime(house.path, ns=(0, 0))
            await heard.wait()
        assert _model(house.models) == "m-2"
