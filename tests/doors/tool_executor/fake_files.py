"""A workspace in memory that implements the file half of the port `Cell`."""

import fnmatch
import io
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from services.tool_executor.cell_files import ARCHIVE_BYTES, READ_BYTES, FileFacts, FileRefused, Match, Matches


@dataclass
class FakeFiles:
    """Keeps bytes by path; of two files the one written later counts as changed later."""

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])

    async def put_file(self, path: str, data: bytes) -> None:
        if path.startswith("/") or ".." in path.split("/"):
            raise FileRefused("bad_path", f"{path!r} is not a relative path inside the workspace")
        for folder in PurePosixPath(path).parents:
            if str(folder) in self.files:
                raise FileRefused("not_a_file", f"{str(folder)!r} is not a folder")
        self.files.pop(path, None)
        self.files[path] = data

    async def read_file(self, path: str, *, limit_bytes: int = READ_BYTES) -> bytes:
        facts = await self.stat_file(path)
        if facts.size_bytes > limit_bytes:
            raise FileRefused("too_large", f"{path!r} has {facts.size_bytes} bytes, over the limit of {limit_bytes}")
        return self.files[path]

    async def has_file(self, path: str) -> bool:
        return path in self.files

    async def stat_file(self, path: str) -> FileFacts:
        if path not in self.files:
            raise FileRefused("not_found", f"there is no file {path!r}")
        return FileFacts(path, len(self.files[path]))

    async def list_files(self) -> tuple[FileFacts, ...]:
        return tuple(FileFacts(path, len(data)) for path, data in sorted(self.files.items()))

    async def glob(self, pattern: str) -> tuple[FileFacts, ...]:
        found = [path for path in self.files if fnmatch.fnmatch(path, pattern.replace("**/", "*"))]
        return tuple(FileFacts(path, len(self.files[path])) for path in reversed(found))

    async def grep(self, pattern: str, *, glob: str = "**", context: int = 0, max_matches: int = 200) -> Matches:
        found = [
            Match(file.path, number, line)
            for file in await self.glob(glob)
            for number, line in enumerate(self.files[file.path].decode().splitlines(), 1)
            if re.search(pattern, line)
        ]
        return Matches(tuple(found[:max_matches]), len(found) > max_matches)

    async def edit_file(self, path: str, old: str, new: str, *, replace_all: bool = False) -> int:
        text = (await self.read_file(path)).decode()
        count = text.count(old)
        if count == 0:
            raise FileRefused("not_found", "the text is not there")
        if count > 1 and not replace_all:
            raise FileRefused("not_unique", f"the text is there {count} times")
        await self.put_file(path, text.replace(old, new).encode())
        return count

    async def remove_files(self, paths: Iterable[str]) -> int:
        gone = [name for path in paths for name in self.files if name == path or name.startswith(f"{path}/")]
        for name in gone:
            del self.files[name]
        return len(gone)

    async def archive(self, *, limit_bytes: int = ARCHIVE_BYTES) -> bytes:
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w") as tar:
            for path, data in self.files.items():
                facts = tarfile.TarInfo(path)
                facts.size = len(data)
                tar.addfile(facts, io.BytesIO(data))
        return whole.getvalue()

    async def restore(self, archive: bytes) -> tuple[FileFacts, ...]:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            self.files.clear()
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    self.files[member.name] = content.read()
        return await self.list_files()
