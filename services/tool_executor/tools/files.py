"""`read_file`, `write_file` and `edit_file`: single files of the session's workspace."""

from typing import Annotated

from pydantic import Field

from natscope.contracts.blocks import TextBlock
from services.tool_executor.cells import FileRefused
from services.tool_executor.tools.arguments import Arguments
from services.tool_executor.tools.attaching import MEDIA_BYTES, block_of, is_media, media_type_of
from services.tool_executor.tools.built_in import built_in
from services.tool_executor.tools.port import Place, Result

LINES = 2000
LINE_LETTERS = 2000
"""Of one line; what is over is cut and said."""
_ROOT = "/workspace/"

FilePath = Annotated[
    str, Field(min_length=1, max_length=1024, description="Path in the workspace, e.g. `data/table.csv`.")
]


class ReadArguments(Arguments):
    """Arguments of `read_file`."""

    path: FilePath
    offset: Annotated[int, Field(ge=1, description="The first line wanted; counts from 1.")] = 1
    limit: Annotated[int, Field(ge=1, le=100_000, description="How many lines.")] = LINES
    line_numbers: Annotated[bool, Field(description="Whether each line begins with its number and a tab.")] = True


class WriteArguments(Arguments):
    """Arguments of `write_file`."""

    path: FilePath
    content: Annotated[str, Field(max_length=8 << 20, description="The whole text of the file.")]


class EditArguments(Arguments):
    """Arguments of `edit_file`."""

    path: FilePath
    old_string: Annotated[str, Field(min_length=1, description="Text to replace, exactly as it is, spaces and all.")]
    new_string: Annotated[str, Field(description="Text to put in its place.")]
    replace_all: Annotated[bool, Field(description="Replace it everywhere; else it must be there once.")] = False


def inside(path: str) -> str:
    """Return a path as the cell takes it: relative to the workspace, by which name programs know it as well."""
    path = path.removeprefix(_ROOT)
    while path.startswith("./"):
        path = path[2:]
    return path


def done(text: str, place: Place, **facts: str | int) -> Result:
    """Return a result of a few words."""
    return Result([TextBlock(text=text)], metadata={"backend": place.backend, **facts})


async def _read(arguments: ReadArguments, place: Place) -> Result:
    path = inside(arguments.path)
    async with place.workspace() as workspace:
        data = await workspace.cell.read_file(path)
    facts = {"path": path, "size_bytes": len(data)}
    if is_media(media_type_of(path, data)):
        if len(data) > MEDIA_BYTES:
            raise FileRefused("too_large", f"{path!r} has {len(data)} bytes; media of up to {MEDIA_BYTES} are shown")
        return Result([await block_of(path, data, place.media)], metadata={"backend": place.backend, **facts})
    return done(_lines(_text(path, data), arguments, place.limits.output_bytes), place, **facts)


async def _write(arguments: WriteArguments, place: Place) -> Result:
    path, data = inside(arguments.path), arguments.content.encode("utf-8", "surrogatepass")
    async with place.workspace() as workspace:
        await workspace.cell.put_file(path, data)
    return done(f"[wrote {len(data)} bytes to {path}]", place, path=path, size_bytes=len(data))


async def _edit(arguments: EditArguments, place: Place) -> Result:
    path = inside(arguments.path)
    async with place.workspace() as workspace:
        count = await workspace.cell.edit_file(
            path, arguments.old_string, arguments.new_string, replace_all=arguments.replace_all
        )
    return done(f"[replaced {count} {'place' if count == 1 else 'places'} in {path}]", place, path=path, replaced=count)


def _text(path: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise FileRefused("not_text", f"{path!r} is no text; its {len(data)} bytes are there for programs to read")
    return text


def _lines(text: str, wanted: ReadArguments, room: int) -> str:
    """Return the lines wanted, as many of them as there is room for, and say what else there is."""
    lines = text.splitlines()
    if not lines:
        return "[the file is empty]"
    if wanted.offset > len(lines):
        return f"[the file has {len(lines)} lines; line {wanted.offset} is behind its end]"
    shown: list[str] = []
    for number, line in enumerate(lines[wanted.offset - 1 : wanted.offset - 1 + wanted.limit], wanted.offset):
        cut = line if len(line) <= LINE_LETTERS else f"{line[:LINE_LETTERS]}[… {len(line) - LINE_LETTERS} more]"
        entry = f"{number}\t{cut}" if wanted.line_numbers else cut
        room -= len(entry.encode("utf-8", "surrogatepass")) + 1
        if room < 0 and shown:
            break
        shown.append(entry)
    last = wanted.offset + len(shown) - 1
    if last < len(lines):
        shown.append(f"[lines {wanted.offset} to {last} of {len(lines)}; go on with offset={last + 1}]")
    return "\n".join(shown)


READ = built_in(
    "read_file",
    "Read a file of the session's workspace: text with line numbers, from any line on; pictures, sound and video are"
    " shown as such.",
    ReadArguments,
    _read,
    reads=True,
)
WRITE = built_in(
    "write_file",
    "Write a text file into the session's workspace. Folders are made as needed; a file that is there is replaced.",
    WriteArguments,
    _write,
)
EDIT = built_in(
    "edit_file",
    "Replace a text in a file of the session's workspace by another, exactly. Nothing is changed if the text is not"
    " there, or is there more than once without `replace_all`. Read the file first.",
    EditArguments,
    _edit,
)
