"""What tests of chaos need of the machine."""

import contextlib

import docker
import docker.errors
import pytest

from tests.chaos.sandbox_house import IMAGE


@pytest.fixture
def docker_image() -> str:
    """The image of Docker's cells; skips the test where there is none."""
    try:
        with contextlib.closing(docker.from_env(timeout=60)) as engine:
            if engine.images.list(IMAGE):
                return IMAGE
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    pytest.skip(f"the engine has no image {IMAGE} (make sandbox-image)")
