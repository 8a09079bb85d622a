"""What an operator can set about the tool executor."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from natscope.contracts.contract import Duration
from services.tool_executor.cells import CellLimits

_ROOT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Read once at start from `TOOL_EXECUTOR_*`."""

    model_config = SettingsConfigDict(env_prefix="TOOL_EXECUTOR_", frozen=True, extra="ignore")

    backend: Literal["auto", "docker", "bubblewrap", "monty", "none"] = "auto"
    """`auto`: Docker where an engine answers and has the image, else bubblewrap, else monty (a part of Python, no
    shell, no files), else every call is refused."""
    image: str = "natscope-sandbox:dev"
    """The cells' image; `make sandbox-image` builds it."""
    runtime: str | None = None
    """The engine's runtime for cells, e.g. `runsc`. None: the engine's default. With one set, `auto` is Docker or none,
    and a cell is made at the start to see that it works."""
    doorsteps: Path | Literal["auto", "none"] = "auto"
    """A folder that the engine sees under the same path, or as a volume of the container that this process is in:
    cells' workers dial in at sockets there, which takes less time than the engine's stream. `auto`: the one for
    temporary files, unless the engine is on another machine or this process in a container. `none`, or an engine that
    does not see it: its stream."""
    platform: str = "natscope"
    """Written on every cell, so that houses on one engine tell theirs apart."""
    sandbox_dir: Path = _ROOT / "sandbox"
    """Where the worker and the seccomp profile are."""

    mcp: Path = _ROOT / "deploy" / "mcp.yaml"
    """Which MCP servers' tools are served; read again whenever it changes. No file is no server."""

    deadline: Duration = timedelta(seconds=30)
    """Wall clock of a call that names none."""
    deadline_ceiling: Duration = timedelta(seconds=300)
    output_bytes: int = Field(default=64 << 10, ge=256)
    """Kept of each output stream of a call that names no limit; half from its start, half from its end."""
    output_bytes_ceiling: int = Field(default=1 << 20, ge=256, le=1 << 20)

    memory_bytes: int = Field(default=512 << 20, ge=64 << 20)
    """Of one cell; its workspace and temporary folder count."""
    cpus: float = Field(default=1.0, gt=0)
    processes: int = Field(default=128, ge=8)
    """Of one cell, threads included."""
    open_files: int = Field(default=256, ge=32)
    disk_bytes: int = Field(default=64 << 20, ge=1 << 20)
    """Of a workspace; the temporary folder has as much again."""
    files: int = Field(default=4096, ge=64)
    """Files and folders of a workspace; the temporary folder has as many again."""

    keep_temporary: bool = True
    """Keep what a program leaves in `/tmp` for the session's next, as the workspace is; False: each finds it empty."""

    idle_after: Duration = timedelta(minutes=15)
    """A session's cell that was not used for so long is removed with its files."""
    max_cells: int = Field(default=32, ge=1)
    """Cells in use at a time; when all are busy, further sessions are refused (`overloaded`), one-shot calls wait."""
    pool: int = Field(default=4, ge=0)
    """Cells that stand ready for a session's first call or a one-shot call, besides `max_cells`. 0: made when asked."""
    one_shot_wait: Duration = timedelta(seconds=30)
    """How long a one-shot call waits for a cell before it is refused (`overloaded`)."""
    recycle_after_runs: int | None = Field(default=None, ge=1)
    """A session gets a new cell after so many calls. Its files and variables are gone then, without a word to the
    model: for agents that keep nothing. None: never."""
    recycle_after: Duration | None = None
    """The same by age of the cell. None: never."""
    workers: int = Field(default=64, ge=1)
    """Calls in progress at a time."""

    fetch_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts that `fetch_url` may fetch from, by commas: `example.org`, `*.example.org` for all below it, `*` for every
    public one. None: there is no such tool."""
    fetch_private: bool = False
    """Let it reach listed hosts that are not public."""
    fetch_bytes: int = Field(default=4 << 20, ge=1024, le=64 << 20)
    """Of one page or file."""

    install_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts that programs in cells may reach with `pip install`, by commas: `example.org` is its port 443,
    `example.org:8443` another, `*.example.org` all below it. None: cells reach nothing."""
    install_index: str | None = None
    """The index that pip asks. None: its own."""
    install_private: bool = False
    """Let them reach listed hosts that are not public."""

    @field_validator("fetch_hosts", "install_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def cell_limits(self) -> CellLimits:
        """What one cell may use."""
        return CellLimits(
            memory_bytes=self.memory_bytes,
            cpus=self.cpus,
            processes=self.processes,
            open_files=self.open_files,
            file_bytes=self.disk_bytes,
            disk_bytes=self.disk_bytes,
            files=self.files,
        )

    @property
    def orphan_exits_after(self) -> timedelta:
        """How long a worker waits for a word before it ends its own cell, should nobody else."""
        return 2 * self.idle_after + timedelta(minutes=1)
