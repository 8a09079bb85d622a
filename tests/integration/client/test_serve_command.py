"""`natscope serve`: the tools and hooks of a file, from a process that goes on while the file changes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from natscope import client
from natscope.bus import BusSettings
from natscope.contracts import hook, tool
from natscope.contracts.blocks import TextBlock, ToolUseBlock
from tests.nats_server import NatsServer

TOOLS = '''
import natscope

@natscope.tool(idempotent=True)
def {name}(word: str) -> str:
    """Say a word."""
    return word + "{ending}"
'''

HOOK = """
import natscope
from natscope.hooks import Answer

@natscope.hook
async def warden(asked):
    return Answer(do="refuse", reason="{reason}")
"""
AGENT = """
import natscope

@natscope.agent
async def desk(ctx, message):
    return "done"
"""


class Serving:
    """A running `natscope serve`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    async def says(self, text: str) -> None:
        """Return when it has said `text` since the last look."""
        assert self.process.stderr is not None
        async with asyncio.timeout(120):
            while text not in self.said:
                line = await self.process.stderr.readline()
                assert line, f"it ended, and had said: {self.said}"
                self.said += line.decode()
        self.said = self.said.split(text, 1)[1]

    async def end(self, number: int = signal.SIGINT) -> int:
        """Send it a signal and return its exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(120):
            return await self.process.wait()


@asynccontextmanager
async def serving(url: str, *arguments: str, **environment: str) -> AsyncIterator[Serving]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "natscope.cli", "serve", *arguments),
        env={**os.environ, "NATS_URL": url, "OTEL_SDK_DISABLED": "true", **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Serving(process)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def say(house: client.House, name: str, call_id: str) -> str:
    use = ToolUseBlock.model_validate({"id": "c1", "name": name, "input": {"word": "hi"}})
    called = await house.bus.ask(tool.CALL, tool.Call(call_id=call_id, call=use, session="s1"), name)
    (block,) = called.result.output
    assert isinstance(block, TextBlock)
    return block.text


async def warned(house: client.House) -> str:
    """Return what the hook that is served says to a call."""
    about = hook.Asked(point="before_acting", task="t1", agent="a", session="s1", step=1)
    return (await house.bus.ask(hook.ASK, about, "warden")).reason


class TestServe:
    async def test_a_changed_file_is_served_anew_and_a_wrong_one_changes_nothing(
        self, nats_url: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "my_house.py"
        file.write_text(TOOLS.format(name="speak", ending="!") + HOOK.format(reason="not by night") + AGENT)
        async with serving(nats_url, str(file)) as served, client.open(BusSettings(url=nats_url)) as house:
            await served.says("tools serves speak, warden (a hook)")
            await served.says("not served: desk; agents run in the agent service")
            assert (await say(house, "speak", "r-1"), await warned(house)) == ("hi!", "not by night")
            file.write_text(TOOLS.format(name="speak", ending="?") + HOOK.format(reason="not by day"))
            await served.says("tools serves speak, warden (a hook)")
            file.write_text("def (")
            await served.says("cannot be imported: SyntaxError")
            await served.says("what was served before stays in service")
            assert (await say(house, "speak", "r-2"), await warned(house)) == ("hi?", "not by day")
            assert await served.end() == 0
            assert await house.tools() == []

    async def test_a_file_with_nothing_but_an_agent_is_told_where_it_belongs(
        self, nats_url: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "my_agents.py"
        file.write_text(AGENT)
        async with serving(nats_url, "--no-reload", str(file)) as served:
            await served.says("there is no tool or hook")
            await served.says("put it into the agent service's folder of functions (AGENT_FUNCTIONS)")
            assert await served.process.wait() == 4

    async def test_a_file_without_tools_or_no_file_is_said_in_one_line(self, nats_url: str, tmp_path: Path) -> None:
        empty = tmp_path / "empty.py"
        empty.write_text("x = 1\n")
        missing = (tmp_path / "none.py", "there is no such file")
        for file, said in ((empty, "there is no tool or hook"), missing, ("no_such_place", "there is no such module")):
            async with serving(nats_url, "--no-reload", str(file)) as served:
                await served.says(f"error: {file}: {said}")
                assert await served.process.wait() == 4

    async def test_without_nats_it_says_so_and_ends(self, tmp_path: Path) -> None:
        file = tmp_path / "my_tools.py"
        file.write_text(TOOLS.format(name="speak", ending="!"))
        async with serving("nats://127.0.0.1:1", str(file)) as served:
            await served.says("error: no NATS server answers at nats://127.0.0.1:1")
            assert await served.process.wait() == 3

    async def test_its_tools_are_gone_when_it_is_killed_or_its_terminal_is_closed(
        self, nats_url: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "my_tools.py"
        file.write_text(TOOLS.format(name="speak", ending="!"))
        for number in (signal.SIGKILL, signal.SIGHUP):
            async with serving(nats_url, str(file)) as served, client.open(BusSettings(url=nats_url)) as house:
                await served.says("tools serves speak")
                assert await served.end(number) == -number
                assert served.process.stderr is not None
                async with asyncio.timeout(60):
                    assert await served.process.stderr.read() == b""
                assert await house.tools() == []

    async def test_ctrl_c_ends_it_before_it_serves(self, nats_url: str, tmp_path: Path) -> None:
        file = tmp_path / "my_tools.py"
        file.write_text("import sys, time\nsys.stderr.write('begun\\n')\ntime.sleep(60)\n")
        async with serving(nats_url, str(file)) as served:
            await served.says("begun")
            assert await served.end() == 130

    async def test_ctrl_c_ends_it_while_the_house_is_not_ready(self, nats_server: NatsServer, tmp_path: Path) -> None:
        file = tmp_path / "my_tools.py"
        file.write_text(f"import sys\nsys.stderr.write('begun\\n')\n{TOOLS.format(name='speak', ending='!')}")
        async with serving(nats_server.url, "--no-reload", str(file)) as served:
            await served.says("begun")
            await asyncio.sleep(1)
            assert await served.end() == 130

    async def test_in_containers_it_takes_the_user_tool_host(self, admin: BusSettings, tmp_path: Path) -> None:
        file = tmp_path / "my_tools.py"
        file.write_text(TOOLS.format(name="speak", ending="!"))
        who = {"NATS_USER": "tool-host", "NATS_PASSWORD": "of-this-test"}
        async with serving(admin.url, "--no-reload", str(file)) as served:
            await served.says("set NATS_USER and NATS_PASSWORD")
        async with serving(admin.url, "--no-reload", str(file), **who) as served, client.open(admin) as house:
            await served.says("tools serves speak")
            assert await say(house, "speak", "r-3") == "hi!"
            assert await served.end(signal.SIGTERM) == 0

    async def test_a_built_in_tool_cannot_be_served_from_outside(self, admin: BusSettings, tmp_path: Path) -> None:
        file = tmp_path / "my_tools.py"
        file.write_text(TOOLS.format(name="execute_python", ending="!"))
        who = {"NATS_USER": "tool-host", "NATS_PASSWORD": "of-this-test"}
        async with serving(admin.url, "--no-reload", str(file), **who) as served:
            await served.says("error: a tool 'execute_python' is served by 'tool-executor' already")
            assert await served.process.wait() != 0
