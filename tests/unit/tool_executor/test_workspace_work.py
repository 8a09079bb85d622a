"""What the worker does to a workspace for the executor, on a plain folder."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.worker import chores
from sandbox.worker.globs import BadGlob, Glob
from sandbox.worker.staging import Staging
from sandbox.worker.workspace import Refused, Workspace

Build = Callable[[tarfile.TarFile], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with another folder beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def _work(root: Path, kind: str, **order: Any) -> bytes:
    said = bytearray()
    chores.work(kind, order, said.extend, root=str(root))
    return bytes(said)


def _restore(root: Path, archive: bytes) -> None:
    staging = Staging(str(root))
    staging.add(0, archive)
    held = staging.take()
    assert held is not None
    try:
        chores.work(chores.RESTORE, {}, bytearray().extend, root=str(root), archive=held)
    finally:
        os.close(held)


def _tar(build: Build) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(mode="w", fileobj=stream, format=tarfile.PAX_FORMAT) as tar:
        build(tar)
    return stream.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", data: bytes = b"") -> Build:
    def build(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, target, len(data)
        tar.addfile(member, io.BytesIO(data))

    return build


class TestGlob:
    @pytest.mark.parametrize(
        ("pattern", "path", "fits"),
        [
            ("*", "a", True),
            ("*", "a/b", False),
            ("**", "a/b/c", True),
            ("**/*.py", "a.py", True),
            ("**/*.py", "x/y/a.py", True),
            ("a/**/b", "a/b", True),
            ("a/**", "a", False),
            ("a/**", "a/x/y", True),
            ("?[ab]", "xa", True),
            ("?[!ab]", "xa", False),
            ("A", "a", False),
            ("?[^ab]", "xa", False),
            ("?[^ab]", "xc", True),
            ("**/*.{py,js}", "x/a.js", True),
            ("**/*.{py,js}", "x/a.ts", False),
            ("{a,b/{c,d}}/*", "b/d/x", True),
            ("{a,b/{c,d}}/*", "b/x", False),
            ("{a/**,b}/c", "a/x/y/c", True),
            ("a{,.py}", "a", True),
            ("{a}", "{a}", True),
            ("{a,b", "{a,b", True),
            ("[{]a,b}", "{a,b}", True),
            ("[{]a,b}", "a", False),
            ("[[]id[]]", "[id]", True),
        ],
    )
    def test_what_fits(self, pattern: str, path: str, fits: bool) -> None:
        assert Glob(pattern).fits(path) is fits

    @pytest.mark.parametrize(
        "pattern", ["", "/a", "../a", "a//b", "a/", "nul\0", "a" * 5000, "a/{b,..}/c", "{a,b}" * 6, "{" * 4000]
    )
    def test_what_is_no_pattern(self, pattern: str) -> None:
        with pytest.raises(BadGlob):
            Glob(pattern)

    @given(
        st.lists(st.sampled_from(["**", "*", "a", "a*", "?b"]), min_size=1, max_size=4),
        st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=4),
    )
    def test_it_agrees_with_a_plain_recursive_reading(self, pattern: list[str], path: list[str]) -> None:
        def reads(parts: list[str], names: list[str]) -> bool:
            if not parts:
                return not names
            if parts[0] == "**":
                return reads(parts[1:], names) or (bool(names) and reads(parts, names[1:]))
            return bool(names) and Path(names[0]).match(parts[0]) and reads(parts[1:], names[1:])

        whole = [*pattern, "*"] if pattern[-1] == "**" else pattern
        assert Glob("/".join(pattern)).fits("/".join(path)) is reads(whole, path)

    def test_a_pattern_made_to_explode_is_answered_at_once(self) -> None:
        assert not Glob("/".join(["**", "a*a*a*a*a*a*b"] * 200)).fits("/".join(["a" * 100] * 200))


class TestEditing:
    def test_text_is_replaced_and_the_mode_kept(self, root: Path) -> None:
        (root / "a").write_text("one two")
        (root / "a").chmod(0o751)
        assert Workspace(str(root)).edit("a", b"two", "zwölf".encode(), everywhere=False) == 1
        assert (root / "a").read_text() == "one zwölf"
        assert (root / "a").stat().st_mode & 0o777 == 0o751
        assert os.listdir(root) == ["a"]

    @pytest.mark.parametrize(
        ("content", "old", "new", "code"),
        [
            (b"aa", b"a", b"b", "not_unique"),
            (b"aa", b"x", b"b", "not_found"),
            (b"aa", b"", b"b", "not_found"),
            (b"\xff a", b"a", b"b", "not_text"),
            (b"ab", b"a", b"\xed\xa0\x80", "not_text"),
            (b"a" * (16 << 20) + b"b", b"b", b"", "too_large"),
        ],
    )
    def test_a_refusal_leaves_the_file_as_it_was(
        self, root: Path, content: bytes, old: bytes, new: bytes, code: str
    ) -> None:
        (root / "a").write_bytes(content)
        with pytest.raises(Refused) as caught:
            Workspace(str(root)).edit("a", old, new, everywhere=False)
        assert caught.value.code == code
        assert (root / "a").read_bytes() == content

    def test_a_growth_beyond_the_limit_is_refused_before_it_is_made(self, root: Path) -> None:
        (root / "a").write_bytes(b"a" * (1 << 20))
        with pytest.raises(Refused) as caught:
            Workspace(str(root)).edit("a", b"a", b"b" * (1 << 19), everywhere=True)
        assert caught.value.code == "too_large"

    def test_a_link_is_not_edited_through(self, root: Path) -> None:
        (root / "file").symlink_to("../outside/kept")
        (root / "folder").symlink_to("../outside")
        for path in ("file", "folder/kept"):
            with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
                Workspace(str(root)).edit(path, b"kept", b"lost", everywhere=False)
        assert (root / "file").read_text() == "kept"


class TestRemoving:
    def test_folders_go_with_all_in_them_and_links_go_alone(self, root: Path) -> None:
        (root / "d/e/f").mkdir(parents=True)
        for name in ("d/1", "d/e/2", "d/e/f/3"):
            (root / name).touch()
        (root / "d/link").symlink_to("../../outside")
        assert Workspace(str(root)).remove(["d", "not there"]) == 4
        assert os.listdir(root) == []
        assert (root.parent / "outside/kept").exists()

    def test_nothing_is_removed_through_a_link(self, root: Path) -> None:
        (root / "folder").symlink_to("../outside")
        assert Workspace(str(root)).remove(["folder/kept"]) == 0
        assert (root.parent / "outside/kept").exists()

    def test_one_bad_path_saves_all(self, root: Path) -> None:
        (root / "a").touch()
        with pytest.raises(Refused):
            Workspace(str(root)).remove(["a", "../outside"])
        assert (root / "a").exists()


class TestSearching:
    def test_lines_are_found_with_those_around_them(self, root: Path) -> None:
        (root / "b").write_text("1\n2 hit\n3\n4 hit\n5\n")
        (root / "a").write_bytes(b"\0 hit")
        found = json.loads(_work(root, "grep", pattern="hit", glob="**", context=1, max=9))
        assert not found["truncated"]
        assert found["found"] == [
            {"path": "b", "line": 2, "text": "2 hit", "before": ["1"], "after": ["3"]},
            {"path": "b", "line": 4, "text": "4 hit", "before": ["3"], "after": ["5"]},
        ]

    def test_the_most_that_was_asked_for_keeps_its_context(self, root: Path) -> None:
        (root / "b").write_text("hit\nhit\nend\n")
        found = json.loads(_work(root, "grep", pattern="hit", glob="*", context=2, max=1))
        assert found["truncated"]
        assert found["found"] == [{"path": "b", "line": 1, "text": "hit", "before": [], "after": ["hit", "end"]}]

    def test_a_long_line_is_cut(self, root: Path) -> None:
        (root / "b").write_text("x" * 5000)
        assert len(json.loads(_work(root, "grep", pattern="x", glob="*", context=0, max=1))["found"][0]["text"]) == 2000

    def test_a_result_stays_within_what_a_run_may_say(self, root: Path) -> None:
        (root / "b").write_text(("\1" * 2000 + "\n") * 5000)
        said = _work(root, "grep", pattern="\1", glob="*", context=50, max=5000)
        assert len(said) < 4 << 20
        assert json.loads(said)["truncated"]

    @pytest.mark.parametrize("order", [{"pattern": "(", "glob": "**"}, {"pattern": "a", "glob": "../*"}])
    def test_a_bad_pattern(self, root: Path, order: dict[str, str]) -> None:
        with pytest.raises(Refused) as caught:
            _work(root, "grep", **order, context=0, max=1)
        assert caught.value.code == "bad_pattern"


class TestArchiving:
    def test_what_is_packed_comes_back(self, root: Path, tmp_path: Path) -> None:
        (root / "d/empty").mkdir(parents=True)
        (root / "output").mkdir()
        (root / "d/größe").write_bytes(b"x" * 70_000)
        (root / "run").write_text("#!")
        (root / "run").chmod(0o755)
        (root / "link").symlink_to("run")
        os.mkfifo(root / "pipe")
        for age, name in enumerate(("d/größe", "d/empty", "d", "output", "run")):
            os.utime(root / name, (age * 1000, age * 1000))
        archive = _work(root, "archive", limit_bytes=1 << 20)
        other = tmp_path / "other"
        other.mkdir()
        (other / "before").touch()
        _restore(other, archive)
        names = sorted(str(path.relative_to(other)) for path in other.rglob("*"))
        assert names == ["d", "d/empty", "d/größe", "output", "run"]
        assert (other / "d/größe").read_bytes() == b"x" * 70_000
        assert (other / "run").stat().st_mode & 0o777 == 0o755
        assert [(other / name).stat().st_mtime for name in ("d/größe", "d/empty", "d")] == [0, 1000, 2000]
        assert _work(other, "archive", limit_bytes=1 << 20) == archive

    @pytest.mark.parametrize("limit", [99_999, 100_100])
    def test_over_the_limit(self, root: Path, limit: int) -> None:
        (root / "a").write_bytes(bytes(100_000))
        with pytest.raises(Refused) as caught:
            _work(root, "archive", limit_bytes=limit)
        assert caught.value.code == "too_large"

    def test_an_empty_workspace_is_an_archive_too_and_has_its_output_folder_again(self, root: Path) -> None:
        archive = _work(root, "archive", limit_bytes=1 << 20)
        (root / "a").touch()
        _restore(root, archive)
        assert os.listdir(root) == ["output"]


def _through_a_link(tar: tarfile.TarFile) -> None:
    _member("d", tarfile.SYMTYPE, "../outside")(tar)
    _member("d/kept", data=b"lost")(tar)


def _through_a_file(tar: tarfile.TarFile) -> None:
    _member("d", data=b"1")(tar)
    _member("d/x", data=b"2")(tar)


def _twice(tar: tarfile.TarFile) -> None:
    _member("d", data=b"1")(tar)
    _member("./d", data=b"2")(tar)


def _with_a_hole(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("holes")
    member.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": "1000000000", "GNU.sparse.name": "holes"}
    tar.addfile(member)


_HOSTILE = {
    "a link": _tar(_member("l", tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link": _tar(_member("l", tarfile.LNKTYPE, "../outside/kept")),
    "a device": _tar(_member("l", tarfile.CHRTYPE)),
    "a pipe": _tar(_member("l", tarfile.FIFOTYPE)),
    "up": _tar(_member("../outside/kept", data=b"lost")),
    "up from below": _tar(_member("a/../../outside/kept", data=b"lost")),
    "absolute": _tar(_member("/natscope-absolute", data=b"lost")),
    "through a link": _tar(_through_a_link),
    "through a file": _tar(_through_a_file),
    "twice": _tar(_twice),
    "a hole": _tar(_with_a_hole),
    "cut off": _tar(_member("a", data=bytes(5000)))[:2048],
    "no end": _tar(_member("a", data=bytes(512)))[:1024],
    "something after the end": _tar(_member("a")) + b"x" * 512,
    "no tar": b"x" * 5000,
    "nothing": b"",
}


class TestHostileArchives:
    @pytest.mark.parametrize("archive", _HOSTILE.values(), ids=_HOSTILE)
    def test_one_is_refused_and_the_workspace_is_as_it_was(self, root: Path, archive: bytes) -> None:
        (root / "before").write_text("before")
        with pytest.raises(Refused) as caught:
            _restore(root, archive)
        assert caught.value.code == "bad_archive"
        assert os.listdir(root) == ["before"]
        assert (root.parent / "outside/kept").read_text() == "kept"

    @pytest.mark.parametrize("name", ["up", "through a link"])
    def test_without_the_checks_they_lead_out(self, root: Path, name: str) -> None:
        with tarfile.open(fileobj=io.BytesIO(_HOSTILE[name])) as tar:
            tar.extractall(root, filter="fully_trusted")
        assert (root.parent / "outside/kept").read_text() == "lost"

    def test_a_compressed_one_is_none(self, root: Path) -> None:
        stream = io.BytesIO()
        with tarfile.open(mode="w:gz", fileobj=stream) as tar:
            _member("a", data=bytes(1 << 20))(tar)
        with pytest.raises(Refused) as caught:
            _restore(root, stream.getvalue())
        assert caught.value.code == "bad_archive"


class TestStaging:
    def test_a_piece_out_of_turn_is_refused(self, root: Path) -> None:
        with pytest.raises(Refused):
            Staging(str(root)).add(5, b"x")

    def test_offset_zero_starts_anew(self, root: Path) -> None:
        staging = Staging(str(root))
        assert staging.add(0, b"first") == 5
        assert staging.add(0, b"2") == 1
        staging.clear()
        assert staging.take() is None
