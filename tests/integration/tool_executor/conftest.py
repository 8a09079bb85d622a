"""Cells made of the real thing: a Docker engine where one answers, bubblewrap where namespaces are allowed."""

import hashlib
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import docker
import docker.errors
import pytest

from services.tool_executor.backends import choose_backend
from services.tool_executor.cells import Backend, Cell, Language, Outcome, Program, RunLimits
from services.tool_executor.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
BASE = "natscope-base:dev"

TRUSTED = [
    *("SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_BOOT", "SYS_RAWIO", "SYS_PACCT", "DAC_READ_SEARCH"),
    *("SYS_CHROOT", "SYSLOG"),
]
"""Capabilities that, with no seccomp filter, let the kernel itself judge each call."""

Run = Callable[..., Awaitable[Outcome]]
Plain = Callable[..., tuple[int, str]]


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The engine that answers here."""
    try:
        client = docker.from_env(timeout=60)
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The cells' image, built from what is in sandbox/ now."""
    files = sorted(path for path in (ROOT / "sandbox").rglob("*") if path.is_file() and path.suffix != ".pyc")
    content = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    tag = f"natscope-sandbox:test-{content}"
    if engine.images.list(tag):
        return tag
    if not engine.images.list(BASE):
        subprocess.run([str(ROOT / "deploy/offline/base.sh")], check=True)
    built = _docker("build", "-q", "--build-arg", f"BASE_IMAGE={BASE}", "-t", tag, str(ROOT / "sandbox"))
    assert built.returncode == 0, built.stderr
    return tag


@pytest.fixture
def platform() -> str:
    """A house of its own, so that tests at the same engine leave each other's cells alone."""
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "bubblewrap"])
def settings(request: pytest.FixtureRequest, platform: str) -> Settings:
    """The service's defaults, once for each backend."""
    if request.param == "docker":
        return Settings(backend="docker", image=request.getfixturevalue("image"), platform=platform)
    if sys.platform != "linux":
        pytest.skip("bubblewrap needs Linux")
    return Settings(backend="bubblewrap", platform=platform)


@pytest.fixture
async def backend(settings: Settings) -> AsyncIterator[Backend]:
    """A backend, closed with all its cells afterwards."""
    chosen = await choose_backend(settings, instance=f"instance-{uuid.uuid4().hex}")
    assert chosen.name == settings.backend
    yield chosen
    await chosen.close()


@pytest.fixture
async def cell(backend: Backend) -> Cell:
    """A new cell."""
    return await backend.open_cell("session-1")


@pytest.fixture
def run(cell: Cell) -> Run:
    """Runs a program in the cell."""

    async def _run(
        source: str, *, language: Language = "python", seconds: float = 60, output_bytes: int = 64 << 10
    ) -> Outcome:
        limits = RunLimits(wall_clock=timedelta(seconds=seconds), output_bytes=output_bytes)
        return await cell.run(Program(language, source), limits)

    return _run


@pytest.fixture
def plain(engine: docker.DockerClient, image: str) -> Plain:
    """Runs Python in a container as the engine makes it by default, as root: the control of each defence."""

    def _plain(source: str, *, seconds: int = 90, trusted: bool = False) -> tuple[int, str]:
        container = engine.containers.create(
            image,
            ["-c", source],
            entrypoint="python3",
            user="0:0",
            cap_add=TRUSTED if trusted else [],
            security_opt=["seccomp=unconfined"] if trusted else [],
            labels={"natscope.test": "control"},
        )
        try:
            container.start()
            status = container.wait(timeout=seconds)
            return int(status["StatusCode"]), container.logs().decode("utf-8", "replace")
        finally:
            container.remove(force=True)

    return _plain
