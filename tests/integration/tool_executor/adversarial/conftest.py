"""Cells and unhardened containers, each shared by all attacks of a module."""

import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import docker
import pytest
import pytest_asyncio

from services.tool_executor.backends import choose_backend
from services.tool_executor.settings import Settings
from tests.integration.tool_executor.adversarial.walls import House, Unhardened

CAPABILITIES = [f"--cap-add={name}" for name in ("SYS_ADMIN", "SYS_PTRACE", "SYS_RAWIO", "SYSLOG")]
"""With no filter of system calls, these let the kernel itself judge each call."""


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[pytest.param("docker", marks=pytest.mark.docker), "bubblewrap"]
)
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """One backend with one cell for all attacks of a module."""
    platform = f"test-{uuid.uuid4().hex[:8]}"
    settings = Settings(backend=request.param, platform=platform)
    if request.param == "docker":
        settings = settings.model_copy(update={"image": request.getfixturevalue("image")})
    backend = await choose_backend(settings, instance=f"instance-{uuid.uuid4().hex}")
    assert backend.name == request.param
    yield House(backend)
    await backend.close()


@pytest.fixture(scope="module")
def unhardened(
    engine: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Unhardened]]:
    """Gives the control of each kind, made once."""
    made: dict[str, Unhardened] = {}

    def _give(kind: str) -> Unhardened:
        trusted = kind == "trusted"
        key = "trusted" if trusted else "plain"
        if key not in made:
            shared = tmp_path_factory.mktemp("control")
            trust = [*CAPABILITIES, "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined"]
            options = ["--label=natscope.test=control", "--user=0:0", "--entrypoint=sleep"]
            options += [f"--volume={shared}:/control", *(trust if trusted else ())]
            create = ["docker", "create", *options, image, "infinity"]
            id = subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()
            made[key] = Unhardened(id, "0:0", shared)
            subprocess.run(["docker", "start", id], check=True, capture_output=True)
        found = made[key]
        return Unhardened(found.id, "1000:1000", found.shared) if kind == "nobody" else found

    yield _give
    for each in made.values():
        engine.containers.get(each.id).remove(force=True)
