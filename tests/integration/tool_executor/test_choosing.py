"""Which backend is chosen, and what is said about it."""

import logging
import uuid
from pathlib import Path

import pytest

from natscope.contracts.errors import SandboxUnavailable
from services.tool_executor.backends import choose_backend
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
