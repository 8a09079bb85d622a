"""The house in containers: built, started under a name of its own, asked, looked into, and removed."""

import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
SERVICES = ("agent", "memory", "model-gateway", "tool-executor")
SOCKET = Path("/var/run/docker.sock")


def compose_command() -> list[str] | None:
    """Return this machine's compose command, or None if it has none."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


class ComposedHouse:
    """One project of compose: its own network, volume, passwords and cells; no fixed port."""

    def __init__(self, compose: list[str]) -> None:
        self.name = f"natscope-stack-{secrets.token_hex(4)}"
        self._compose = [*compose, "-f", "docker-compose.yml", "-f", "deploy/compose.offline.yml"]
        users = ("tool-host", "tool-caller", *SERVICES)
        passwords = {f"NATS_{who.upper().replace('-', '_')}_PASSWORD": f"p{secrets.token_hex(8)}" for who in users}
        ports = {"NATS_PORT": "0", "NATS_MONITOR_PORT": "0"}
        absent = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "OTEL_EXPORTER_OTLP_ENDPOINT"}
        self._environment = {key: value for key, value in os.environ.items() if key not in absent} | {
            "COMPOSE_PROJECT_NAME": self.name,
            "DOCKER_GID": str(SOCKET.stat().st_gid),
            "NATS_ADMIN_PASSWORD": f"p{secrets.token_hex(8)}",
            **passwords,
            **ports,
        }

    def start(self) -> None:
        """Build what is not up to date, start everything, and return when it is healthy."""
        self._run(["deploy/offline/images.sh", *SERVICES])
        self._run([*self._compose, "up", "--detach", "--no-build"])
        self._run(["deploy/wait.sh", *self._compose])

    def stop(self) -> None:
        """Let every service end as it wants to."""
        self._run([*self._compose, "stop", *SERVICES])

    def remove(self) -> None:
        """Remove its containers, cells, network and volume."""
        self._run([*self._compose, "down", "--volumes", "--remove-orphans"])
        cells = self.cells()
        if cells:
            self._run(["docker", "rm", "--force", *cells])

    def cells(self) -> list[str]:
        """Return the ids of the containers that its tool-executor made."""
        return self._run(["docker", "ps", "-aq", "--filter", f"label=natscope.platform={self.name}"]).split()

    def inside_a_cell(self, *command: str) -> str:
        """Run a command in one of its cells and return what it printed."""
        return self._run(["docker", "exec", self.cells()[0], *command])

    @property
    def nats_url(self) -> str:
        """Where a guest of this machine reaches it."""
        return f"nats://{self._run([*self._compose, 'port', 'nats', '4222']).strip()}"

    def container(self, service: str) -> dict[str, Any]:
        """Return what the engine knows of a service's container."""
        project, of = f"label=com.docker.compose.project={self.name}", f"label=com.docker.compose.service={service}"
        id = self._run(["docker", "ps", "-aq", "--filter", project, "--filter", of]).strip()
        return json.loads(self._run(["docker", "inspect", id]))[0]

    def image(self, name: str) -> dict[str, Any]:
        """Return what the engine knows of an image."""
        return json.loads(self._run(["docker", "image", "inspect", name]))[0]

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a service's container and return what it printed."""
        return self._run(["docker", "exec", self.container(service)["Id"], *command])

    def log(self, service: str) -> str:
        """Return what a service has said so far."""
        return self._run([*self._compose, "logs", "--no-color", service])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done.stdout
