"""`list_files`, `glob` and `grep`: finding things in the session's workspace."""

import re
from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from services.tool_executor.cell_files import Match, Matches
from services.tool_executor.cells import Cell
from services.tool_executor.tools.arguments import Arguments
from services.tool_executor.tools.built_in import built_in
from services.tool_executor.tools.files import done, inside
from services.tool_executor.tools.port import Place, Result

MOST = 10_000

_SPECIAL = re.compile(r"[*?\[{]")

Folder = Annotated[str, Field(min_length=1, max_length=1024, description="Folder of the workspace to look in.")]
Limit = Annotated[int, Field(ge=1, le=MOST, description="At most so many.")]


class ListArguments(Arguments):
    """Arguments of `list_files`."""

    path: Folder = "."
    limit: Limit = 1000


class GlobArguments(Arguments):
    """Arguments of `glob`."""

    pattern: Annotated[str, Field(min_length=1, max_length=1024, description="E.g. `*.csv` or `src/**/*.{js,ts}`.")]
    path: Folder = "."
    limit: Limit = 200


class GrepArguments(Arguments):
    """Arguments of `grep`."""

    pattern: Annotated[str, Field(min_length=1, max_length=4096, description="A regular expression of Python.")]
    path: Annotated[str, Field(min_length=1, max_length=1024, description="File or folder to look in.")] = "."
    glob: Annotated[str, Field(min_length=1, max_length=1024, description="Only files like this, e.g. `*.py`.")] = "**"
    output: Annotated[
        Literal["lines", "files", "counts"], Field(description="Lines found, or their files, or how many per file.")
    ] = "lines"
    context: Annotated[int, Field(ge=0, le=20, description="Lines shown before and after each.")] = 0
    ignore_case: bool = False
    limit: Limit = 200


async def _list(arguments: ListArguments, place: Place) -> Result:
    folder = _folder(arguments.path)
    async with place.workspace() as workspace:
        found = [file for file in await workspace.cell.list_files() if f"{file.path}/".startswith(folder)]
    return _told([f"{file.size_bytes:>10}  {file.path}" for file in found], arguments.limit, place)


async def _glob(arguments: GlobArguments, place: Place) -> Result:
    async with place.workspace() as workspace:
        found = await workspace.cell.glob(_named(_folder(arguments.path)) + inside(arguments.pattern))
    return _told([file.path for file in found], arguments.limit, place)


async def _grep(arguments: GrepArguments, place: Place) -> Result:
    pattern = f"(?i:{arguments.pattern})" if arguments.ignore_case else arguments.pattern
    most = arguments.limit if arguments.output == "lines" else MOST
    async with place.workspace() as workspace:
        glob = await _within(workspace.cell, arguments)
        found = await workspace.cell.grep(pattern, glob=glob, context=arguments.context, max_matches=most)
    if arguments.output == "lines":
        return _told(_lines(found), len(found.found) * (3 + 2 * arguments.context), place, more=found.truncated)
    counts = Counter(match.path for match in found.found)
    names = [path if arguments.output == "files" else f"{path}: {count}" for path, count in counts.items()]
    return _told(names, arguments.limit, place, more=found.truncated)


async def _within(cell: Cell, arguments: GrepArguments) -> str:
    """Return the glob of the files to look in: the one that is named, or those like `glob` at any depth of a folder."""
    path = inside(arguments.path)
    if path not in (".", "") and await cell.has_file(path):
        return _named(path)
    glob = inside(arguments.glob)
    return _named(_folder(arguments.path)) + (glob if "/" in glob or glob == "**" else f"**/{glob}")


def _folder(path: str) -> str:
    path = inside(path).rstrip("/")
    return "" if path in ("", ".", "/workspace") else f"{path}/"


def _named(path: str) -> str:
    """Return the pattern of that very path, whatever letters are in it."""
    return _SPECIAL.sub(r"[\g<0>]", path)


def _lines(found: Matches) -> list[str]:
    return [line for match in found.found for line in _shown(match)]


def _shown(match: Match) -> list[str]:
    """Return a line as `path:number:text`, and those around it as `path-number-text`."""
    first = match.line - len(match.before)
    before = [f"{match.path}-{number}-{text}" for number, text in enumerate(match.before, first)]
    after = [f"{match.path}-{number}-{text}" for number, text in enumerate(match.after, match.line + 1)]
    around = ["--"] if before or after else []
    return [*before, f"{match.path}:{match.line}:{match.text}", *after, *around]


def _told(lines: list[str], limit: int, place: Place, *, more: bool = False) -> Result:
    """Return as many lines as were asked for and there is room for, and say how many there are."""
    shown: list[str] = []
    room = place.limits.output_bytes
    for line in lines[:limit]:
        room -= len(line.encode("utf-8", "surrogatepass")) + 1
        if room < 0:
            break
        shown.append(line)
    text = "\n".join(shown) if lines else "[nothing found]"
    if more or len(shown) < len(lines):
        text += f"\n[there are more than these {len(shown)} lines; narrow the search]"
    return done(text, place, found=len(lines))


LIST = built_in(
    "list_files",
    "List the files of the session's workspace, or of a folder in it, with their sizes in bytes.",
    ListArguments,
    _list,
    reads=True,
)
GLOB = built_in(
    "glob",
    "Find files of the session's workspace by name; the last changed come first. `*` stays within a folder, `**` does"
    " not.",
    GlobArguments,
    _glob,
    reads=True,
)
GREP = built_in(
    "grep",
    "Find lines in text files of the session's workspace by a regular expression.",
    GrepArguments,
    _grep,
    reads=True,
)
