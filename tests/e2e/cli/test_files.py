"""`natscope files`: a session's files, between its workspace and a folder here."""

from pathlib import Path

from tests.e2e.cli.conftest import Start
from tests.integration.tool_executor.executors import executor


class TestFiles:
    async def test_what_is_put_is_listed_fetched_and_removed(
        self, nats_url: str, natscope: Start, tmp_path: Path
    ) -> None:
        (tmp_path / "in/deep").mkdir(parents=True)
        (tmp_path / "in/a.txt").write_bytes(b"one")
        (tmp_path / "in/deep/b.bin").write_bytes(bytes(100_000))
        async with executor(nats_url):
            put = await (await natscope("files", "put", "s1", "in", "--into", "data", "--json", url=nats_url)).done()
            listed = await (await natscope("files", "ls", "s1", url=nats_url)).done()
            got = await (await natscope("files", "get", "s1", "data/in/deep/b.bin", "--to", "out", url=nats_url)).done()
            gone = await (await natscope("files", "rm", "s1", "data/in/deep", url=nats_url)).done()
            left = await (await natscope("files", "ls", "s1", "--json", url=nats_url)).done()
        assert [line["path"] for line in put.lines] == ["data/in/a.txt", "data/in/deep/b.bin"]
        assert [line.split()[0] for line in listed.out.splitlines()] == ["bytes", "3", "100,000"]
        assert (got.code, (tmp_path / "out/data/in/deep/b.bin").read_bytes()) == (0, bytes(100_000))
        assert gone.out == "1 file removed\n"
        assert [line["path"] for line in left.lines] == ["data/in/a.txt"]

    async def test_a_snapshot_of_one_session_fills_another(
        self, nats_url: str, natscope: Start, tmp_path: Path
    ) -> None:
        (tmp_path / "a.txt").write_bytes(b"one")
        async with executor(nats_url):
            await (await natscope("files", "put", "s1", "a.txt", url=nats_url)).done()
            saved = await (await natscope("files", "snapshot", "s1", "s1.tar", url=nats_url)).done()
            filled = await (await natscope("files", "restore", "s2", "s1.tar", url=nats_url)).done()
            listed = await (await natscope("files", "ls", "s2", "--json", url=nats_url)).done()
        assert saved.out == "s1.tar: 1 file, 3 bytes\n"
        assert filled.out == "1 file, 3 bytes\n"
        assert [line["path"] for line in listed.lines] == ["a.txt"]

    async def test_what_is_wrong_is_one_line_and_an_exit_code(
        self, nats_url: str, natscope: Start, tmp_path: Path
    ) -> None:
        async with executor(nats_url):
            missing = await (await natscope("files", "get", "s1", "a.txt", url=nats_url)).done()
            outside = await (await natscope("files", "get", "s1", "../a.txt", url=nats_url)).done()
            nowhere = await (await natscope("files", "put", "s1", "nobody", url=nats_url)).done()
            (tmp_path / "a.txt").write_bytes(b"one")
            await (await natscope("files", "put", "s2", "a.txt", url=nats_url)).done()
            absent = await (await natscope("files", "get", "s2", "b.txt", url=nats_url)).done()
            none = await (await natscope("files", "ls", "s1", url=nats_url)).done()
        silent = await (await natscope("files", "ls", "s1", url=nats_url)).done()
        assert (missing.code, len(missing.err.splitlines())) == (4, 1)
        assert absent.err.startswith("error: ")
        assert "'b.txt'" in absent.err
        assert "Errno" not in absent.err
        assert outside.err.startswith("error: '../a.txt' is no path inside a workspace (")
        assert none.err == "session 's1' has no files\n"
        assert (outside.code, nowhere.code, silent.code) == (4, 2, 3)
