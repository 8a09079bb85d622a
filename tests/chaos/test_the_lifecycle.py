"""A round of the sandbox's lifecycle: the dead leave nothing, and a live session is never left without an answer."""

import contextlib
from pathlib import Path

import docker
import docker.errors
import pytest

from tests.chaos.lifecycle import IMAGE, lifecycle


@pytest.fixture
def image() -> str:
    """The image of the cells."""
    try:
        with contextlib.closing(docker.from_env(timeout=60)) as engine:
            if engine.images.list(IMAGE):
                return IMAGE
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    pytest.skip(f"the engine has no image {IMAGE} (make sandbox-image)")


@pytest.mark.docker
class TestALifecycle:
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("hangs", [False, True], ids=["the engine refuses", "the engine hangs"])
    async def test_has_nothing_but_service_and_typed_errors(
        self, image: str, nats_url: str, tmp_path: Path, hangs: bool
    ) -> None:
        async with lifecycle(nats_url, tmp_path, image) as measured:
            await measured.executor_dies()
            await measured.engine_dies(None, hangs=hangs)
        print(f"\n{measured.times}\n  {dict(measured.told)}")
        assert measured.told.keys() <= {"success", "unknown", "sandbox_unavailable"}
        assert {"success", "sandbox_unavailable"} <= measured.told.keys(), "the control: it was away, and came back"
