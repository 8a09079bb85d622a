"""Files go in and out, and programs run, as the suites of other sandboxes expect it of theirs."""

import asyncio
import io
import tarfile
from datetime import timedelta

import pytest

from services.tool_executor.cells import Cell, FileRefused, Program, RunLimits
from tests.integration.tool_executor.conformance.running import run

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTENTS = {
    "text": b"great #content\nwith 'quotes' and $(substitutions)\n",
    "text of any language": "✨☽ größe 测量 🚀".encode(),
    "bytes that are no text": b"\xc3\x28\x00\xff",
    "nothing": b"",
    "five megabytes": b"\xc3" * 5_000_000,
}
NAMES = {
    "spaces": "file with spaces.txt",
    "letters of any language": "größe 测量 ✨.txt",
    "a dash in front": "-rf",
    "folders above it": "a/b/c/deep.txt",
    "quotes and dollars": 'it\'s $HOME "quoted".txt',
    "a line's end": "two\nlines",
}
REFUSED = {
    "what is not there": ("absent/at/all.txt", "not_found"),
    "a name that is none": ("https:/en.wikipedia.org/wiki/Bart%C5%82omiej", "not_found"),
    "a folder": ("folder", "not_a_file"),
    "what nobody may read": ("secret", "os_error"),
    "more than was asked for": ("folder/large", "too_large"),
}


class TestFilesOfAWorkspace:
    @pytest.mark.parametrize("content", CONTENTS)
    async def test_keep(self, walled: Cell, content: str) -> None:
        await walled.put_file("kept", CONTENTS[content])
        assert await walled.read_file("kept") == CONTENTS[content]
        await walled.put_file("kept", b"other")
        assert await walled.read_file("kept") == b"other"

    @pytest.mark.parametrize("name", NAMES)
    async def test_may_be_named_with(self, walled: Cell, name: str) -> None:
        await walled.put_file(NAMES[name], b"1")
        seen = await run(walled, f"print(open({NAMES[name]!r}).read())")
        assert seen.stdout.text == "1\n"
        assert NAMES[name] in [file.path for file in await walled.list_files()]
        assert await walled.remove_files([NAMES[name].split("/")[0]]) == 1

    @pytest.mark.parametrize("refused", REFUSED)
    async def test_are_not_read_and_named_in_the_refusal_where_it_is(self, walled: Cell, refused: str) -> None:
        path, code = REFUSED[refused]
        await walled.remove_files(["secret"])
        await walled.put_file("folder/large", bytes(2048))
        await run(walled, "echo hidden > secret; chmod a-r secret", language="shell")
        with pytest.raises(FileRefused) as refusal:
            await walled.read_file(path, limit_bytes=1024)
        assert refusal.value.code == code
        assert repr(path) in str(refusal.value)

    async def test_are_not_written_over_against_their_mode(self, walled: Cell) -> None:
        await walled.put_file("fixed", b"stays")
        await run(walled, "chmod a-w fixed", language="shell")
        with pytest.raises(FileRefused, match="fixed"):
            await walled.put_file("fixed", b"goes")
        assert await walled.read_file("fixed") == b"stays"

    async def test_leave_no_half_of_one_that_there_is_no_room_for(self, walled: Cell) -> None:
        with pytest.raises(FileRefused, match="No space left") as refusal:
            await walled.put_file("huge", bytes(70_000_000))
        assert refusal.value.code == "no_room"
        assert not await walled.has_file("huge")
        await walled.put_file("small", b"fits")


class TestTheOutputFolder:
    async def test_is_there_from_the_start_and_after_a_restore(self, fresh: Cell) -> None:
        for name in ("first", "second"):
            put = await run(fresh, f"echo {name} > output/{name}", language="shell")
            assert [each.path for each in put.artifacts] == [f"output/{name}"], put.stderr.text
            await fresh.restore(_tar())


def _tar() -> bytes:
    """Return an archive without anything in it."""
    data = io.BytesIO()
    tarfile.open(fileobj=data, mode="w").close()
    return data.getvalue()


class TestACommand:
    async def test_tells_its_streams_apart(self, walled: Cell) -> None:
        outcome = await run(walled, "echo foo; echo bar; echo baz >&2; exit 3", language="shell")
        assert (outcome.stdout.text, outcome.stderr.text, outcome.exit_code) == ("foo\nbar\n", "baz\n", 3)

    @pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126), ("exit 300", 44)])
    async def test_ends_with_the_shell_s_code_of(self, walled: Cell, command: str, code: int) -> None:
        outcome = await run(walled, command, language="shell")
        assert outcome.exit_code == code
        assert code == 44 or command in outcome.stderr.text

    async def test_begins_in_the_workspace_whatever_the_one_before_did(self, walled: Cell) -> None:
        await run(walled, "mkdir -p sub && cd sub && export WORD=1", language="shell")
        assert (await run(walled, "pwd; echo ${WORD:-none}", language="shell")).stdout.text == "/workspace\nnone\n"

    @pytest.mark.parametrize(
        "left", ["chmod 0 /workspace", "rm -rf /workspace", "chmod 0 output; rm -rf / 2>/dev/null"]
    )
    async def test_works_whatever_the_one_before_left_of_the_workspace(self, walled: Cell, left: str) -> None:
        await run(walled, left, language="shell")
        again = await run(walled, "pwd && mkdir -p output && echo kept > kept && cat kept", language="shell")
        assert (again.stdout.text, again.exit_code) == ("/workspace\nkept\n", 0)

    async def test_finds_the_tools_of_every_day(self, walled: Cell) -> None:
        tools = "sh bash python3 ps grep sed awk find sort tar gzip head tail wc cut tr xargs env"
        outcome = await run(
            walled, f"for tool in {tools}; do command -v $tool >/dev/null || echo $tool; done", language="shell"
        )
        assert outcome.stdout.text == ""

    async def test_may_use_all_that_bash_knows(self, walled: Cell) -> None:
        source = "set -o pipefail; a=(1 2); [[ ab == a* ]] && echo ${a[1]}; cat <<< here; yes | head -1"
        outcome = await run(walled, source, language="shell")
        assert (outcome.stdout.text, outcome.exit_code) == ("2\nhere\ny\n", 141)

    async def test_ends_in_time_with_all_that_it_began(self, walled: Cell) -> None:
        outcome = await run(
            walled, "nohup sleep 63.25 & sleep 63.25", language="shell", wall_clock=timedelta(seconds=0.5)
        )
        assert outcome.timed_out
        assert (await run(walled, "pgrep -fc '[s]leep 63.25'", language="shell")).stdout.text == "0\n"

    async def test_is_quick_to_be_followed(self, walled: Cell) -> None:
        told = [(await run(walled, f"echo {number}", language="shell")).stdout.text for number in range(50)]
        assert told == [f"{number}\n" for number in range(50)]

    async def test_waits_for_its_turn(self, walled: Cell) -> None:
        programs = [Program("python", f"open('log', 'a').write('{n}'); print({n})") for n in range(20)]
        outcomes = await asyncio.gather(*(walled.run(program, RunLimits()) for program in programs))
        assert [outcome.stdout.text for outcome in outcomes] == [f"{n}\n" for n in range(20)]
        assert len(await walled.read_file("log")) == sum(len(str(n)) for n in range(20))

    async def test_speaks_utf_8(self, walled: Cell) -> None:
        source = (
            "import locale, os, sys; print(locale.getpreferredencoding(False), sys.getfilesystemencoding(), 'größe ✓')"
        )
        assert (await run(walled, source)).stdout.text == "UTF-8 utf-8 größe ✓\n"
