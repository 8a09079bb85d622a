"""`natscope ask` at a terminal, whose user is asked about the calls that wait for a person."""

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from natscope.contracts import model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolUseBlock
from tests.integration.agent.house import SPEC, House, call, house, reply
from tests.integration.agent.test_asking_agents import asks, lead, results
from tests.integration.agent.test_needs_human import SUM, helped, is_down
from tests.integration.agent.test_waiting import says_only, says_then

CALL = ToolUseBlock(id="c1", name="add", input={"a": 1, "b": 2}, raw_input='{"a": 1, "b": 2}')
ASKING = AgentSpec.model_validate(SPEC.model_dump() | {"permissions": {"rules": [{"tool": "add", "behaviour": "ask"}]}})


class Terminal:
    """Somebody who reads a terminal and types."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.seen = ""
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._pieces.put_nowait(data)

    async def shows(self, text: str) -> None:
        """Return when `text` is there, and has not been waited for before."""
        async with asyncio.timeout(60):
            while text not in self.seen:
                data = await self._pieces.get()
                assert data, f"it ended, and showed: {self.seen}"
                self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        self.seen = self.seen.split(text, 1)[1]

    def type(self, line: str) -> None:
        os.write(self._descriptor, line.encode() + b"\n")

    async def ends(self) -> int:
        async with asyncio.timeout(60):
            return await self.process.wait()


@asynccontextmanager
async def asking(here: House, *arguments: str) -> AsyncGenerator[Terminal]:
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "NATS_URL": here.settings.url,
        "OTEL_SDK_DISABLED": "true",
        "COLUMNS": "300",
        "TERM": "dumb",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "natscope.cli", "ask", "assistant", "Add them.", *arguments),
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    terminal = Terminal(process, ours)
    try:
        yield terminal
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        os.close(ours)


class TestWhoeverAsksAtATerminal:
    async def test_is_asked_whether_a_call_may_be_made(self, nats_url: str) -> None:
        async with house(nats_url, ASKING) as here:
            here.mind = says_then(CALL)
            async with asking(here) as terminal:
                await terminal.shows("Enter: later > ")
                assert here.called == []
                terminal.type("y")
                await terminal.shows("✓ completed")
                assert await terminal.ends() == 0
        assert len(here.called) == 1

    async def test_may_change_the_arguments_and_is_told_if_they_are_none(self, nats_url: str) -> None:
        async with house(nats_url, ASKING) as here:
            here.mind = says_then(CALL)
            async with asking(here) as terminal:
                await terminal.shows("Enter: later > ")
                terminal.type("{no")
                await terminal.shows("no JSON object")
                await terminal.shows("Enter: later > ")
                terminal.type('{"a": 3, "b": 4}')
                await terminal.shows("✓ completed")
        assert [call.call.input for call in here.called] == [{"a": 3, "b": 4}]

    async def test_denies_by_saying_why(self, nats_url: str) -> None:
        async with house(nats_url, ASKING) as here:
            here.mind = says_then(CALL)
            async with asking(here) as terminal:
                await terminal.shows("Enter: later > ")
                terminal.type("not on a Friday")
                await terminal.shows("The call was denied: not on a Friday")
                await terminal.shows("✓ completed")
        assert here.called == []

    async def test_answers_what_the_agent_asks(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external, here.mind = True, says_then(CALL)
            async with asking(here) as terminal:
                await terminal.shows("the answer, Enter: later > ")
                terminal.type("forty-two")
                await terminal.shows("forty-two\n")
                await terminal.shows("✓ completed")

    async def test_has_what_nobody_could_mend_tried_again(self, nats_url: str) -> None:
        async with house(nats_url, helped()) as here:
            here.mind = is_down
            async with asking(here) as terminal:
                await terminal.shows("answered 503")
                await terminal.shows("[r]etry, [a]bort, or the answer in the model's place, Enter: later > ")
                here.mind = says_only
                terminal.type("r")
                await terminal.shows("✓ completed")

    async def test_gives_the_answer_that_the_agent_declares_and_is_told_what_does_not_fit(self, nats_url: str) -> None:
        spec = AgentSpec.model_validate(helped().model_dump() | {"output": {"json_schema": SUM}})
        async with house(nats_url, spec) as here:
            here.mind = is_down
            async with asking(here) as terminal:
                await terminal.shows("answer --tool finish")
                for wrong in ("It is 4.", '{"sum": "four"}'):
                    await terminal.shows("Enter: later > ")
                    terminal.type(wrong)
                    await terminal.shows("is no answer of the agent's")
                await terminal.shows("Enter: later > ")
                terminal.type('{"sum": 4}')
                await terminal.shows("✓ completed")

    async def test_is_asked_about_the_calls_of_whom_the_agent_asks(self, nats_url: str) -> None:
        careful = {**ASKING.model_dump(), "name": "careful"}
        async with house(nats_url, lead("careful"), AgentSpec.model_validate(careful)) as here:

            async def mind(asked: model.Chat) -> model.Chatted:
                if results(asked):
                    return reply("done")
                return call(asks("careful", "Go.") if asked.agent == "assistant" else CALL)

            here.mind = mind
            async with asking(here) as terminal:
                await terminal.shows("careful (task ")
                await terminal.shows("Enter: later > ")
                terminal.type("y")
                await terminal.shows("✓ completed")
        assert len(here.called) == 1

    async def test_may_leave_it_to_others(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.external, here.mind = True, says_then(CALL)
            async with asking(here, "--task-id", "left") as terminal:
                await terminal.shows("the answer, Enter: later > ")
                terminal.type("")
                await terminal.shows("natscope decide left")
