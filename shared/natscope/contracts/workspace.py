"""A session's files, seen from outside: list, read, write, remove, and take the whole along."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from natscope.contracts.blocks import FileBlock, FilePath
from natscope.contracts.contract import Contract, Token
from natscope.contracts.door import AnswerT, AskT, Command


class List(Contract):
    """Ask for the regular files of a session's workspace."""

    session: Token
    pattern: str = "**"
    """A glob over the paths."""


class Entry(Contract):
    """One regular file."""

    path: str
    size_bytes: int
    changed_at: AwareDatetime


class Listed(Contract):
    """The files, by path."""

    files: list[Entry]
    truncated: bool = False
    """True if there are more than one answer holds."""


class Read(Contract):
    """Ask for files as they are now."""

    session: Token
    paths: Annotated[list[FilePath], Field(min_length=1, max_length=256)]


class Contents(Contract):
    """Files with their bytes; above 64 KiB by reference."""

    files: list[FileBlock]


class Write(Contract):
    """Put files into the workspace, each under its name; what is there is replaced."""

    session: Token
    files: Annotated[list[FileBlock], Field(min_length=1, max_length=256)]


class Written(Contract):
    """The files that were written."""

    files: list[Entry]


class Remove(Contract):
    """Remove files, or folders with all that is in them; what is not there is no error."""

    session: Token
    paths: Annotated[list[FilePath], Field(min_length=1, max_length=256)]


class Removed(Contract):
    """How many files went."""

    files: int


class Snapshot(Contract):
    """Keep the whole workspace as one archive."""

    session: Token


class Snapshotted(Contract):
    """The archive: regular files and folders, nothing else."""

    archive: FileBlock
    files: int
    size_bytes: int
    """Of the files, not of the archive."""


class Restore(Contract):
    """Fill a workspace from an archive; what it held before is gone."""

    session: Token
    archive: FileBlock


class Restored(Contract):
    """What the workspace holds now."""

    files: int
    size_bytes: int


LIST = Command(
    template="workspace.list",
    summary="Name the files of a session's workspace.",
    room="tool-executor",
    ask=List,
    answer=Listed,
    deadline_s=30,
)
READ = Command(
    template="workspace.read",
    summary="Give files of a session's workspace; large ones by reference.",
    room="tool-executor",
    ask=Read,
    answer=Contents,
    deadline_s=60,
)
WRITE = Command(
    template="workspace.write",
    summary="Put files into a session's workspace.",
    room="tool-executor",
    ask=Write,
    answer=Written,
    deadline_s=60,
)
REMOVE = Command(
    template="workspace.remove",
    summary="Remove files of a session's workspace.",
    room="tool-executor",
    ask=Remove,
    answer=Removed,
    deadline_s=30,
)
SNAPSHOT = Command(
    template="workspace.snapshot",
    summary="Keep a session's whole workspace as one archive.",
    room="tool-executor",
    ask=Snapshot,
    answer=Snapshotted,
    deadline_s=120,
)
RESTORE = Command(
    template="workspace.restore",
    summary="Fill a session's workspace from an archive.",
    room="tool-executor",
    ask=Restore,
    answer=Restored,
    deadline_s=120,
)


def held(door: Command[AskT, AnswerT]) -> Command[AskT, AnswerT]:
    """Return the same door at the one process that holds a session's cell; executors ask one another there."""
    return Command(
        template=f"{door.template}.{{instance}}",
        summary=f"{door.summary[:-1]}, in the process that holds its cell; executors ask one another.",
        room=door.room,
        ask=door.ask,
        answer=door.answer,
        deadline_s=door.deadline_s,
    )


LIST_HELD = held(LIST)
READ_HELD = held(READ)
WRITE_HELD = held(WRITE)
REMOVE_HELD = held(REMOVE)
SNAPSHOT_HELD = held(SNAPSHOT)
RESTORE_HELD = held(RESTORE)
