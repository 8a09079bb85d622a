"""What may stand in the MCP file: servers, how each is reached, and what of their tools is offered."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from natscope.contracts.errors import CredentialMissing

Environment = Mapping[str, str]
Seconds = Annotated[float, Field(gt=0, le=3600)]
ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*$", max_length=32)]
"""Part of its tools' names, so without `__`, which parts them."""


class Entry(BaseModel):
    """Anything in the file: what it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FromEnvironment(Entry):
    """A value that an environment variable sets. Secrets stand in the environment only."""

    env: str
    default: str | None = None
    prefix: str = ""
    """Stands before the variable's value, e.g. `Bearer `."""
    secret: bool | None = None
    """Whether it is kept out of what the server says. None: so it is for headers, and where the variable's name speaks
    of a key, token, secret, password, credential, authorization or cookie."""

    def value(self, environment: Environment) -> str:
        """Return the text.

        Raises:
            CredentialMissing: the variable is not set and has no default.
        """
        found = environment.get(self.env, "").strip() or self.default
        if found is None:
            raise CredentialMissing(f"{self.env} is not set", remedy=f"set {self.env}")
        return self.prefix + found


Value = FromEnvironment | str


Preset = Annotated[FromEnvironment | JsonValue, Field(union_mode="left_to_right")]


class ToolEntry(Entry):
    """What the operator says of one tool, over what its server says."""

    description: str | None = None
    preset: dict[str, Preset] = Field(default_factory=dict[str, Preset])
    """Arguments that are always given so; the model neither sees nor sets them."""
    hidden: list[str] = Field(default_factory=list)
    """Arguments that the model does not see and that are left to the server."""
    read_only: bool | None = None
    idempotent: bool | None = None
    concurrent: bool | None = None
    deadline_s: Seconds | None = None


class ServerEntry(Entry):
    """What every server has."""

    enabled: bool = True
    session: Literal["lasting", "per_call"] = "lasting"
    """`lasting`: one session for all calls, kept up and opened again when it is lost · `per_call`: one for each."""
    protocol: Literal["auto", "handshake"] = "auto"
    """`handshake`: begin with `initialize` without asking first whether the server knows the protocol of 2026."""
    start_s: Seconds = 30.0
    """The longest wait until it is connected and has named its tools."""
    deadline_s: Seconds = 60.0
    """How long a call may take that names no deadline."""
    refresh_s: Seconds = 300.0
    """How often a server with a session per call is asked for its tools."""
    offer: list[str] = Field(default_factory=lambda: ["*"])
    """Which of its tools are offered: names or patterns."""
    withhold: list[str] = Field(default_factory=list)
    """Which of those are not."""
    believe_hints: bool = True
    """False: what the server says of its tools (read-only, idempotent) does not count; see `tools` to say it oneself.

    Source: MCP, "Tools", https://modelcontextprotocol.io/specification/2025-11-25/server/tools#tool-annotations
    """
    tools: dict[str, ToolEntry] = Field(default_factory=dict)
    """By the server's own names."""

    def offers(self, tool: str) -> bool:
        """Return whether the tool of that name is offered."""
        wanted = any(fnmatchcase(tool, pattern) for pattern in self.offer)
        return wanted and not any(fnmatchcase(tool, pattern) for pattern in self.withhold)

    def tool(self, name: str) -> ToolEntry:
        """Return what the operator says of a tool."""
        return self.tools.get(name) or ToolEntry()


class Walls(Entry):
    """What a program in a cell of its own may reach besides its own empty home and the machine's programs."""

    engine: Literal["bubblewrap", "docker"] = "bubblewrap"
    """`docker`: in a container with the walls and limits of a cell of Docker's, whatever backend the cells have."""
    image: str | None = None
    """The container's; it must hold the program and a shell. None: that of the cells."""
    network: bool | Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = False
    """False: none · True: this machine's, or the engine's default one · a name: that network of the engine's."""
    read: list[str] = Field(default_factory=list)
    """Folders it may read; of the engine's host, for a container."""
    write: list[str] = Field(default_factory=list)
    """Folders it may change."""

    @model_validator(mode="after")
    def _fits_its_engine(self) -> "Walls":
        if self.engine == "bubblewrap" and (self.image or isinstance(self.network, str)):
            raise ValueError("`image` and a named `network` are for `engine: docker`")
        if any(":" in path or not path.startswith("/") for path in (*self.read, *self.write)):
            raise ValueError("`read` and `write` name folders by absolute paths without `:`")
        return self


class ProgramEntry(ServerEntry):
    """A program that speaks over its standard input and output."""

    kind: Literal["stdio"] = "stdio"
    command: Annotated[str, Field(min_length=1)]
    args: list[Value] = Field(default_factory=list[Value])
    env: dict[str, Value] = Field(default_factory=dict[str, Value])
    """Its environment besides HOME, LANG, PATH, TERM, TMPDIR and USER; nothing else of ours is passed on."""
    folder: str | None = None
    """Where it is started."""
    cell: Walls | None = None
    """If there is one, it runs under bubblewrap or in a container, and reaches nothing else."""


class AddressEntry(ServerEntry):
    """A server on the network."""

    kind: Literal["http", "sse"] = "http"
    """`http`: streamable HTTP · `sse`: the older transport."""
    url: Value
    headers: dict[str, Value] = Field(default_factory=dict[str, Value])


AnyEntry = ProgramEntry | AddressEntry


def _guessed(value: object) -> object:
    """Return a server with its `kind`, where what else is said leaves no doubt."""
    if isinstance(value, dict) and "kind" not in value and ("command" in value or "url" in value):
        return {**value, "kind": "stdio" if "command" in value else "http"}
    return value


class File(Entry):
    """The whole file."""

    servers: dict[ServerName, Annotated[AnyEntry, Field(discriminator="kind")]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _with_kinds(cls, value: object) -> object:
        if value is None:
            return {}
        if isinstance(value, dict) and isinstance(value.get("servers"), dict):
            return {**value, "servers": {name: _guessed(entry) for name, entry in value["servers"].items()}}
        if isinstance(value, dict) and value.get("servers", ...) is None:
            return {**value, "servers": {}}
        return value
