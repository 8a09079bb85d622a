"""Whether programs may install packages: the hosts that their proxy lets them reach, and what pip is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from natscope.addresses import Address, is_public
from services.tool_executor.gate import Gate
from services.tool_executor.settings import Settings

PORT = 3128
"""Of the proxy, on the cell's own loopback."""
PACKAGES = "/workspace/.packages"
"""Where packages go: with the session's files."""


@dataclass(frozen=True)
class Installing:
    """What the operator allows."""

    gate: Gate
    index: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Installing | None":
        """Return what `settings` allow; None, unless they list hosts."""
        if not settings.install_hosts:
            return None
        gate = Gate(settings.install_hosts, may_reach=_anything if settings.install_private else is_public)
        return cls(gate, settings.install_index)

    def for_worker(self) -> Mapping[str, Any]:
        """Return what the worker of a cell is told. Source: pip, "Configuration", environment variables."""
        environment = {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_NO_INPUT": "1",
            "PIP_PROXY": f"http://127.0.0.1:{PORT}",
            "PIP_TARGET": PACKAGES,
            "PYTHONPATH": PACKAGES,
        }
        if self.index is not None:
            environment["PIP_INDEX_URL"] = self.index
        return {"tunnel_port": PORT, "packages": PACKAGES, "environment": environment}


def installing_of(installing: Installing | None) -> Mapping[str, Any]:
    """Return what a worker is told, which is nothing where nothing is allowed."""
    return installing.for_worker() if installing else {}


def gate_of(installing: Installing | None) -> Gate | None:
    """Return the way out of a cell, if there is one."""
    return installing.gate if installing else None


def _anything(_: Address) -> bool:
    return True
