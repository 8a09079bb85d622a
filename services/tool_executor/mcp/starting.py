"""Works out what a declared server is started with, and starts it: its command, environment and cell."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from natscope.contracts.errors import ToolUnavailable
from services.tool_executor.bubblewrap_cells import find_program
from services.tool_executor.docker_programs import ContainedProgram
from services.tool_executor.mcp.entries import Environment, FromEnvironment, ProgramEntry, Value, Walls
from services.tool_executor.mcp.programs import Program, Speaking, running

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt")
CONFIGURATION = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ssl", "/etc/pki", "/etc/localtime", "/etc/ld.so.cache",
    "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/passwd", "/etc/group",
)  # fmt: skip
NETWORK = ("/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf")
HOME = "/home/tool"
WORKSPACE = "/workspace"
"""Where a program in a container is at home."""


class Containers(Protocol):
    """Runs programs in containers."""

    def running(self, program: ContainedProgram) -> AbstractAsyncContextManager[Speaking]:
        """Run `program` for as long as the body runs.

        Raises:
            ToolUnavailable: it cannot be started.
        """
        ...


def started(
    entry: ProgramEntry, environment: Environment, containers: Containers | None
) -> AbstractAsyncContextManager[Speaking]:
    """Return what runs the entry's program where it is to run.

    Raises:
        CredentialMissing: a variable is not set and has no default.
        ToolUnavailable: there is no such place here.
    """
    if entry.cell is None or entry.cell.engine != "docker":
        return running(program_of(entry, environment))
    if containers is None:
        raise ToolUnavailable("a server that is to run in a container needs a Docker engine")
    return containers.running(_contained(entry, entry.cell, environment))


def text_of(value: Value, environment: Environment) -> str:
    """Return a text of the file.

    Raises:
        CredentialMissing: its variable is not set and has no default.
    """
    return value.value(environment) if isinstance(value, FromEnvironment) else value


def program_of(entry: ProgramEntry, environment: Environment) -> Program:
    """Return what is to be started.

    Raises:
        CredentialMissing: a variable is not set and has no default.
        ToolUnavailable: it is to run in a cell, and there is no bubblewrap.
    """
    command = [entry.command, *(text_of(value, environment) for value in entry.args)]
    env = {name: text_of(value, environment) for name, value in entry.env.items()}
    if entry.cell is None:
        return Program(command, env, entry.folder)
    return Program([*_cell(entry.cell, entry.folder), *command], {**env, "HOME": HOME, "TMPDIR": "/tmp"})  # noqa: S108


def _contained(entry: ProgramEntry, walls: Walls, environment: Environment) -> ContainedProgram:
    network = walls.network if isinstance(walls.network, str) else "bridge" if walls.network else "none"
    return ContainedProgram(
        command=[entry.command, *(text_of(value, environment) for value in entry.args)],
        env={"HOME": WORKSPACE, **{name: text_of(value, environment) for name, value in entry.env.items()}},
        image=walls.image or "",
        folder=entry.folder or WORKSPACE,
        network=network,
        binds=[*(f"{path}:{path}:ro" for path in walls.read), *(f"{path}:{path}:rw" for path in walls.write)],
    )


def _cell(walls: Walls, folder: str | None) -> list[str]:
    """Return bubblewrap's arguments, up to the command. Source: bwrap(1)."""
    program = find_program()
    if program is None:
        raise ToolUnavailable("a server that is to run in a cell needs bubblewrap", remedy="install bubblewrap")
    arguments = [
        *(str(program), "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--hostname", "cell"),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", HOME),  # noqa: S108
    ]
    if walls.network:
        arguments += ["--share-net", *_shown(NETWORK)]
    arguments += _shown((*SYSTEM, *CONFIGURATION, *walls.read))
    for path in walls.write:
        arguments += ["--bind", path, path]
    return [*arguments, "--chdir", folder or HOME, "--"]


def _shown(paths: tuple[str, ...]) -> list[str]:
    return [argument for path in paths for argument in ("--ro-bind-try", path, path)]
