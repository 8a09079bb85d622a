"""Works out what a declared server is started with: its command, environment and cell."""

from natscope.contracts.errors import ToolUnavailable
from services.tool_executor.bubblewrap_cells import find_program
from services.tool_executor.mcp.entries import Environment, FromEnvironment, ProgramEntry, Value, Walls
from services.tool_executor.mcp.programs import Program

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt")
CONFIGURATION = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ssl", "/etc/pki", "/etc/localtime", "/etc/ld.so.cache",
    "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/passwd", "/etc/group",
)  # fmt: skip
NETWORK = ("/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf")
HOME = "/home/tool"


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
