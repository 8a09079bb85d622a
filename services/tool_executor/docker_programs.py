"""Containers that hold one program of the operator's, behind the same walls as cells."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.tool_executor.docker_engine import Client, Engine, new_user, walls
from services.tool_executor.docker_settings import DockerSettings

_START = 'guard=$1; shift; command -v python3 >/dev/null && exec python3 -I -S -c "$guard" "$@"; exec "$@"'
"""Has the guard stand over the program where the image has a Python to run it."""


@dataclass(frozen=True)
class ContainedProgram:
    """What is started, and what it may reach."""

    command: Sequence[str]
    env: Mapping[str, str]
    image: str
    """Empty: that of the cells."""
    folder: str
    network: str
    """The engine's network that it is in, `none` for none."""
    binds: Sequence[str]
    """Folders of the engine's host, `/from:/to:ro` or `:rw`."""


async def create_program(
    engine: Engine, settings: DockerSettings, program: ContainedProgram, guard: str, labels: Mapping[str, str]
) -> str:
    """Create a container for `program` and return its id; raises as `Engine.call` does."""
    return await engine.call(lambda client: _create(client, settings, program, guard, labels))


def _create(
    client: Client, settings: DockerSettings, program: ContainedProgram, guard: str, labels: Mapping[str, str]
) -> str:
    """Create the container. Source: Docker Engine API, POST /containers/create."""
    user = new_user()
    host = {**walls(client, settings, user), "NetworkMode": program.network, "Binds": list(program.binds)}
    created = client.api.create_container(
        program.image,
        entrypoint=["/bin/sh", "-c", _START, "start"],
        command=[guard, *program.command],
        environment=dict(program.env),
        name=f"{settings.platform}-program-{secrets.token_hex(6)}",
        hostname="cell",
        user=f"{user}:{user}",
        working_dir=program.folder,
        stdin_open=True,
        network_disabled=program.network == "none",
        labels=dict(labels),
        host_config=host,
    )
    return str(created["Id"])
