"""`natscope mcp` as a process, asked by a client of the official SDK."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import ToolListChangedNotification
from pydantic import SecretStr

from natscope.bus import BusSettings, connect
from natscope.bus.streams import provision
from natscope.client import ToolContext, serve, tool
from natscope.client import open as open_house
from natscope.contracts import event, task
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.message import Message
from tests.e2e.cli.command import Command
from tests.e2e.cli.conftest import Start
from tests.integration.client import fake_agent
from tests.integration.client.fake_agent import ANSWER
from tests.nats_server import NatsServer

PASSWORD = "of-this-test"

OTHER = AgentSpec(name="writer", system_prompt="You write.", description="Writes letters.")


@asynccontextmanager
async def client_of(url: str, *arguments: str, mode: str = "auto") -> AsyncIterator[Client]:
    """Start `natscope mcp` as an MCP client does, and speak with it over its standard input and output."""
    async with Client(command_for(url, *arguments), mode=mode) as client:
        yield client


def command_for(url: str, *arguments: str, **more: str) -> StdioServerParameters:
    """Return what an MCP client starts."""
    path = os.pathsep.join(str(Path(__file__).parents[3] / part) for part in ("shared", "."))
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "natscope.cli", "mcp", *arguments],
        env={"NATS_URL": url, "PYTHONPATH": path, **more},
    )


@asynccontextmanager
async def listening(natscope: Start, url: str, *arguments: str, **more: str) -> AsyncIterator[tuple[Command, str]]:
    """Start `natscope mcp --http 0`; the address is what it says."""
    command = await natscope("mcp", "--http", "0", *arguments, url=url, **more)
    assert command.process.stderr is not None
    async with asyncio.timeout(90):
        line = (await command.process.stderr.readline()).decode()
    yield command, line.removeprefix("MCP at ").partition(";")[0]


@dataclass(frozen=True)
class GuardedHouse:
    """A server under deploy/nats.conf."""

    url: str

    def settings(self, user: str) -> BusSettings:
        """Return how that user reaches it."""
        return BusSettings.model_construct(url=self.url, user=user, password=SecretStr(PASSWORD))

    def credentials(self, user: str) -> dict[str, str]:
        """Return the same for a process."""
        return {"NATS_USER": user, "NATS_PASSWORD": PASSWORD}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[GuardedHouse]:
    """A server on which nobody may do more than its part."""
    config = Path(__file__).parents[3] / "deploy" / "nats.conf"
    passwords = dict.fromkeys(re.findall(r"\$(NATS_\w+_PASSWORD)", config.read_text()), PASSWORD)
    server = NatsServer(tmp_path / "guarded", config=config, env=passwords | {"NATS_SYNC_INTERVAL": "10s"}).start()
    house = GuardedHouse(server.url)
    async with connect("provision", house.settings("admin")) as bus:
        await provision(bus.js)
    yield house
    server.stop()


def said(result: Any) -> str:
    """Return the text of a result."""
    return "\n".join(block.text for block in result.content if block.type == "text")


class TestAnAgent:
    async def test_is_a_tool_that_says_what_it_is_for(self, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url, spec=OTHER), client_of(nats_url) as client:
            tools = (await client.list_tools()).tools
        assert [found.name for found in tools] == ["ask_writer"]
        assert "Writes letters." in (tools[0].description or "")
        assert tools[0].input_schema["required"] == ["task"]

    @pytest.mark.parametrize("mode", ["auto", "legacy"])
    async def test_answers_its_task_and_tells_its_steps(self, nats_url: str, mode: str) -> None:
        heard: list[tuple[float, str | None]] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard.append((progress, message))

        async with fake_agent.fake_agent(nats_url), client_of(nats_url, mode=mode) as client:
            result = await client.call_tool("ask_assistant", {"task": "primes?"}, progress_callback=hear)
        assert (said(result), result.is_error) == (ANSWER, False)
        assert [count for count, _ in heard] == [*range(1, len(heard) + 1)]
        assert [text for _, text in heard][2:5] == ["calls execute_python", "25", "execute_python: success"]

    async def test_goes_on_with_a_conversation_that_is_named(self, nats_url: str) -> None:
        sessions: list[str | None] = []

        async def looks(stage: fake_agent.Stage) -> task.Finished:
            sessions.append(stage.body.session)
            return await fake_agent.echoes(stage)

        async with fake_agent.fake_agent(nats_url, looks), client_of(nats_url) as client:
            first = await client.call_tool("ask_assistant", {"task": "one", "session": "talk"})
            await client.call_tool("ask_assistant", {"task": "two"})
        assert sessions == ["talk", None]
        assert (first.meta or {})["natscope/session"] == "talk"

    async def test_with_a_structured_answer_gives_it_as_a_value_and_as_text(self, nats_url: str) -> None:
        async def counts(stage: fake_agent.Stage) -> task.Finished:
            called = [ToolUseBlock(id="c1", name="finish", input={"rows": 7})]
            said = Message(name=stage.agent, role="assistant", content=[*called])
            await stage.tell(event.ReplyEnd, state="completed", usage=fake_agent.USAGE)
            return stage.finished("completed", text='{"rows": 7}', message=said, output={"rows": 7})

        async with fake_agent.fake_agent(nats_url, counts), client_of(nats_url) as client:
            result = await client.call_tool("ask_assistant", {"task": "x"})
        assert (result.structured_content, said(result), result.is_error) == ({"rows": 7}, '{"rows": 7}', False)

    @pytest.mark.parametrize(
        ("play", "failed", "told"),
        [
            (fake_agent.fails, True, "answered 503"),
            (fake_agent.reaches_a_limit, False, "a limit was reached: max_steps"),
        ],
    )
    async def test_that_comes_to_no_good_end_says_so(
        self, nats_url: str, play: fake_agent.Play, failed: bool, told: str
    ) -> None:
        async with fake_agent.fake_agent(nats_url, play), client_of(nats_url) as client:
            result = await client.call_tool("ask_assistant", {"task": "x"})
        assert result.is_error is failed
        assert told in said(result)

    @pytest.mark.parametrize("arguments", [{}, {"task": " "}, {"task": "x", "session": "a b"}])
    async def test_told_nothing_sensible_answers_what_it_expects(self, nats_url: str, arguments: Any) -> None:
        async with fake_agent.fake_agent(nats_url), client_of(nats_url) as client:
            result = await client.call_tool("ask_assistant", arguments)
        assert result.is_error

    async def test_that_is_not_there_is_a_protocol_error(self, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url), client_of(nats_url) as client:
            with pytest.raises(MCPError, match="ask_assistant"):
                await client.call_tool("ask_nobody", {"task": "x"})

    async def test_that_is_not_chosen_is_not_offered(self, nats_url: str) -> None:
        async with (
            fake_agent.fake_agent(nats_url),
            fake_agent.fake_agent(nats_url, spec=OTHER),
            client_of(nats_url, "--agent", "writer") as client,
        ):
            assert [found.name for found in (await client.list_tools()).tools] == ["ask_writer"]

    async def test_that_is_chosen_and_is_not_there_is_said_and_nothing_is_served(
        self, nats_url: str, natscope: Start
    ) -> None:
        async with fake_agent.fake_agent(nats_url):
            ended = await (await natscope("mcp", "--agent", "assistant", "--agent", "nosuch", url=nats_url)).done()
        assert (ended.code, ended.out) == (4, "")
        assert "no agent 'nosuch'; there are: assistant" in ended.err


class TestACallThatIsNotWanted:
    @staticmethod
    async def _interrupted(nats_url: str, leave: Any) -> list[str]:
        begun, ended = asyncio.Event(), asyncio.Event()
        states: list[str] = []

        async def waits(stage: fake_agent.Stage) -> task.Finished:
            begun.set()
            outcome = await fake_agent.waits_to_be_interrupted(stage)
            states.append(outcome.state)
            ended.set()
            return outcome

        async with fake_agent.fake_agent(nats_url, waits):
            await leave(begun)
            async with asyncio.timeout(90):
                await ended.wait()
        return states

    async def test_any_more_interrupts_its_task(self, nats_url: str) -> None:
        async def leave(begun: asyncio.Event) -> None:
            async with client_of(nats_url) as client:
                call = asyncio.create_task(client.call_tool("ask_assistant", {"task": "x"}))
                await begun.wait()
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                assert [found.name for found in (await client.list_tools()).tools] == ["ask_assistant"]

        assert await self._interrupted(nats_url, leave) == ["interrupted"]

    async def test_because_the_client_has_gone_interrupts_its_task(self, nats_url: str) -> None:
        async def leave(begun: asyncio.Event) -> None:
            async with client_of(nats_url) as client:
                call = asyncio.create_task(client.call_tool("ask_assistant", {"task": "x"}))
                await begun.wait()
            await asyncio.gather(call, return_exceptions=True)

        assert await self._interrupted(nats_url, leave) == ["interrupted"]

    async def test_because_the_server_is_ended_interrupts_its_task(self, nats_url: str, natscope: Start) -> None:
        async def leave(begun: asyncio.Event) -> None:
            async with listening(natscope, nats_url) as (command, url):
                call = asyncio.create_task(_ask_over(url))
                await begun.wait()
                command.process.terminate()
                assert (await command.done()).code == 0
                await asyncio.gather(call, return_exceptions=True)

        assert await self._interrupted(nats_url, leave) == ["interrupted"]


async def _ask_over(url: str) -> Any:
    async with Client(url) as client:
        return await client.call_tool("ask_assistant", {"task": "primes?"})


class TestATool:
    async def test_is_offered_only_if_wanted(self, nats_url: str) -> None:
        @tool(read_only=True)
        async def double(number: int, context: ToolContext) -> int:
            """Double a number."""
            await context.progress("doubling")
            return 2 * number

        heard: list[str | None] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard.append(message)

        async with serve(double, host="shop", settings=BusSettings(url=nats_url)):
            async with client_of(nats_url) as client:
                assert (await client.list_tools()).tools == []
            async with client_of(nats_url, "--tools") as client:
                found = {each.name: each for each in (await client.list_tools()).tools}
                result = await client.call_tool("double", {"number": 21}, progress_callback=hear)
                wrong = await client.call_tool("double", {"number": "many"})
        annotations = found["double"].annotations
        assert annotations is not None
        assert annotations.read_only_hint is True
        assert (said(result), heard) == ("42", ["doubling"])
        assert wrong.is_error


class Told:
    """A client's ear for changes of the tools."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def hear(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.changed.set()

    @asynccontextmanager
    async def of(self, client: Client, mode: str) -> AsyncIterator[None]:
        """Listen as a client of either era does."""
        if mode == "legacy":
            yield
            return

        async def listen() -> None:
            async with client.listen(tools_list_changed=True) as events:
                ready.set()
                async for _ in events:
                    self.changed.set()

        ready = asyncio.Event()
        listening = asyncio.create_task(listen())
        try:
            async with asyncio.timeout(90):
                await ready.wait()
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def within(self, seconds: float) -> bool:
        """Return whether a change is told in time, and forget it."""
        try:
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        except TimeoutError:
            return False
        self.changed.clear()
        return True


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("way", ["pipes", "http"])
class TestAChange:
    @staticmethod
    @asynccontextmanager
    async def _watching(
        natscope: Start, url: str, way: str, mode: str, told: Told, *arguments: str
    ) -> AsyncIterator[Client]:
        async with AsyncExitStack() as stack:
            target: Any = command_for(url, *arguments)
            if way == "http":
                _, target = await stack.enter_async_context(listening(natscope, url, *arguments))
            client = await stack.enter_async_context(Client(target, mode=mode, message_handler=told.hear))
            capability = client.server_capabilities.tools
            assert capability is not None
            assert capability.list_changed is True
            await client.list_tools()
            await stack.enter_async_context(told.of(client, mode))
            yield client

    async def test_of_the_agents_is_told(self, nats_url: str, natscope: Start, way: str, mode: str) -> None:
        told = Told()
        async with (
            fake_agent.fake_agent(nats_url),
            self._watching(natscope, nats_url, way, mode, told) as client,
            open_house(BusSettings(url=nats_url)) as house,
        ):
            await house.apply(OTHER)
            assert await told.within(60)
            assert [found.name for found in (await client.list_tools()).tools] == ["ask_assistant", "ask_writer"]
            await house.apply(OTHER.model_copy(update={"system_prompt": "You write well."}))
            assert not await told.within(1), "what no client sees is not told"
            await house.apply(OTHER.model_copy(update={"description": "Writes long letters."}))
            assert await told.within(60)

    async def test_of_the_tools_is_told(self, nats_url: str, natscope: Start, way: str, mode: str) -> None:
        @tool
        def double(number: int) -> int:
            """Double a number."""
            return 2 * number

        told = Told()
        async with self._watching(natscope, nats_url, way, mode, told, "--tools") as client:
            async with serve(double, host="shop", settings=BusSettings(url=nats_url)):
                assert await told.within(60)
                assert [found.name for found in (await client.list_tools()).tools] == ["double"]
            assert await told.within(60)
            assert (await client.list_tools()).tools == []


class TestUnderTheHousesOwnPermissions:
    async def test_a_tool_is_called_by_the_user_who_may(self, guarded: GuardedHouse) -> None:
        @tool
        def double(number: int) -> int:
            """Double a number."""
            return 2 * number

        told = Told()
        async with AsyncExitStack() as stack:
            caller = command_for(guarded.url, "--tools", **guarded.credentials("tool-caller"))
            client = await stack.enter_async_context(Client(caller, mode="legacy", message_handler=told.hear))
            assert (await client.list_tools()).tools == []
            await stack.enter_async_context(serve(double, host="shop", settings=guarded.settings("tool-host")))
            assert await told.within(60)
            assert said(await client.call_tool("double", {"number": 21})) == "42"

    async def test_a_guest_is_told_that_it_may_not(self, guarded: GuardedHouse, natscope: Start) -> None:
        ended = await (await natscope("mcp", "--tools", url=guarded.url)).done()
        assert ended.code != 0
        assert "NATS_USER=tool-caller" in ended.err

    async def test_an_agent_answers_the_same_user_and_a_guest(self, guarded: GuardedHouse) -> None:
        async with fake_agent.fake_agent(guarded.url, settings=guarded.settings("admin")):
            for who in ({}, guarded.credentials("tool-caller")):
                async with Client(command_for(guarded.url, **who)) as client:
                    assert said(await client.call_tool("ask_assistant", {"task": "primes?"})) == ANSWER


class TestOverHttp:
    async def test_agents_answer_there_too(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url), listening(natscope, nats_url) as (command, url):
            assert url.startswith("http://127.0.0.1:")
            assert said(await _ask_over(url)) == ANSWER
            command.interrupt()
            assert (await command.done()).code == 0

    async def test_with_a_token_nobody_comes_in_without_it(self, nats_url: str, natscope: Start) -> None:
        async with (
            fake_agent.fake_agent(nats_url),
            listening(natscope, nats_url, NATSCOPE_MCP_TOKEN="t") as (_, url),
            httpx2.AsyncClient() as http,
        ):
            codes = [
                (await http.post(url, json={}, headers=headers)).status_code
                for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer t"})
            ]
        assert codes[:2] == [401, 401]
        assert codes[2] != 401

    async def test_beyond_this_machine_it_needs_a_token(self, nats_url: str, natscope: Start) -> None:
        ended = await (await natscope("mcp", "--http", "0", "--host", "0.0.0.0", url=nats_url)).done()
        assert ended.code == 4
        assert "NATSCOPE_MCP_TOKEN" in ended.err

    async def test_at_a_port_that_is_taken_it_says_so(self, nats_url: str, natscope: Start) -> None:
        async with listening(natscope, nats_url) as (_, url):
            port = url.rpartition(":")[2].partition("/")[0]
            ended = await (await natscope("mcp", "--http", port, url=nats_url)).done()
        assert (ended.code, f":{port} cannot be listened at" in ended.err) == (4, True)


class TestOverPipes:
    async def test_it_ends_when_it_is_told_to_though_its_client_stays(self, nats_url: str, natscope: Start) -> None:
        command = await natscope("mcp", url=nats_url)
        assert command.process.stdin is not None
        command.process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        assert "jsonrpc" in await command.line("jsonrpc")
        command.process.terminate()
        async with asyncio.timeout(90):
            assert await command.process.wait() == 0


class TestWithoutTheHouse:
    async def test_it_says_that_no_server_answers(self, natscope: Start) -> None:
        ended = await (await natscope("mcp")).done()
        assert (ended.code, ended.out) == (3, "")
        assert "no NATS server answers" in ended.err

    async def test_without_the_sdk_it_says_what_to_install(self, natscope: Start, tmp_path: Path) -> None:
        (tmp_path / "mcp_types.py").write_text("raise ModuleNotFoundError('none', name='mcp_types')\n")
        ended = await (await natscope("mcp", PYTHONPATH=str(tmp_path))).done()
        assert (ended.code, ended.out) == (4, "")
        assert "pip install 'natscope[mcp]'" in ended.err
