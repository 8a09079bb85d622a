"""Which backend is chosen, and what is said about it."""

import logging
import shutil
import uuid
from pathlib import Path
from typing import Literal

import docker
import pytest

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.backends import choose_backend
from services.tool_executor.docker_cells import PLATFORM
from services.tool_executor.settings import Settings


class TestChoosing:
    @pytest.mark.docker
    async def test_docker_comes_first(self, image: str, platform: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        backend = await choose_backend(Settings(image=image, platform=platform), instance="me")
        assert (backend.name, backend.does_not_limit) == ("docker", ())
        assert [record.__dict__["backend"] for record in caplog.records if record.message == "backend chosen"] == [
            "docker"
        ]
        await backend.close()

    @pytest.mark.docker
    async def test_without_the_image_it_is_bubblewrap_and_the_log_says_how_to_get_it(
        self, engine: object, platform: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = Settings(image=f"natscope-sandbox:{uuid.uuid4().hex}", platform=platform)
        backend = await choose_backend(settings, instance="me")
        assert backend.name == "bubblewrap"
        assert any("CPU" in what for what in backend.does_not_limit)
        (record,) = [record for record in caplog.records if record.message == "backend chosen"]
        assert "make sandbox-image" in str(record.__dict__["passed_over"])
        await backend.close()

    @pytest.mark.docker
    async def test_a_runtime_that_is_asked_for_is_what_cells_run_in(
        self, engine: docker.DockerClient, image: str, platform: str
    ) -> None:
        backend = await choose_backend(Settings(image=image, platform=platform, runtime="runc"), instance="me")
        assert backend.name == "docker"
        await backend.open_cell("s1")
        (container,) = engine.containers.list(filters={"label": f"{PLATFORM}={platform}"})
        assert container.attrs["HostConfig"]["Runtime"] == "runc"
        await backend.close()

    @pytest.mark.docker
    async def test_a_runtime_that_only_the_engine_can_judge_is_tried(self, image: str, platform: str) -> None:
        runtime = "io.containerd.no-such.v1"
        backend = await choose_backend(Settings(image=image, platform=platform, runtime=runtime), instance="me")
        with pytest.raises(SandboxUnavailable, match=runtime):
            await backend.open_cell("s1")

    @pytest.mark.docker
    @pytest.mark.parametrize("choice", ["auto", "docker"])
    async def test_a_runtime_that_the_engine_does_not_have_is_named_and_replaced_by_nothing_weaker(
        self, image: str, choice: Literal["auto", "docker"]
    ) -> None:
        settings = Settings(backend=choice, image=image, runtime="no-such-runtime")
        backend = await choose_backend(settings, instance="me")
        assert backend.name == "none"
        with pytest.raises(SandboxUnavailable, match=r"no runtime 'no-such-runtime', but .*runc"):
            await backend.open_cell("s1")

    async def test_cells_in_which_not_even_an_empty_program_runs_are_none(self, tmp_path: Path) -> None:
        broken = Path(shutil.copytree(Settings().sandbox_dir, tmp_path / "sandbox"))
        with (broken / "worker" / "hardening.py").open("a") as hardening:
            hardening.write("\n\ndef limit_resources(limits):\n    raise OSError('no limits here')\n")
        backend = await choose_backend(Settings(backend="bubblewrap", sandbox_dir=broken), instance="me")
        assert backend.name == "none"
        with pytest.raises(SandboxUnavailable, match="an empty program fails"):
            await backend.open_cell("s1")

    async def test_without_an_engine_it_is_bubblewrap(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
        backend = await choose_backend(Settings(), instance="me")
        assert backend.name == "bubblewrap"
        await backend.close()

    async def test_without_either_every_call_is_refused_with_the_reasons(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
        backend = await choose_backend(Settings(backend="docker"), instance="me")
        assert backend.name == "none"
        with pytest.raises(SandboxUnavailable, match="engine refused") as caught:
            await backend.open_cell("s1")
        assert "make sandbox-image" in str(caught.value)
        await backend.close()
