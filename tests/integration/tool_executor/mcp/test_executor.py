"""MCP tools as agents reach them: through NATS and the executor's own ledger."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from natscope.bus import Bus, BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import FileBlock, ToolUseBlock, URLSource, text_of
from natscope.contracts.contract import new_id
from natscope.contracts.errors import ServiceNotRunning, ToolUnavailable
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.tool_executor.app import app
from services.tool_executor.settings import Settings
from tests.loopback.mcp_house import McpHouse, eventually, took

ROOT = Path(__file__).parents[4]


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A guest."""
    async with connect("guest", BusSettings(url=nats_url)) as found:
        yield found


@asynccontextmanager
async def executor(house: McpHouse, url: str) -> AsyncIterator[InMemorySpanExporter]:
    spans = InMemorySpanExporter()
    settings = TelemetrySettings.model_construct(endpoint=None, disabled=False, keep=False)
    telemetry = telemetry_for("tool-executor", settings, processors=[SimpleSpanProcessor(spans)])
    async with app(Settings(backend="none", mcp=house.file), bus=BusSettings(url=url), telemetry=telemetry):
        yield spans


def a_call(name: str, *, id: str | None = None, deltas_to: str | None = None, **arguments: Any) -> tool.Call:
    use = ToolUseBlock(id="c", name=name, input=arguments)
    return tool.Call(call_id=id or new_id(), call=use, session="s", deltas_to=deltas_to)


async def listed(bus: Bus) -> dict[str, tool.ToolSpec]:
    while not (hosts := await bus.ask_all(tool.LIST, tool.List(), wait_s=0.2)):
        pass
    return {spec.name: spec for host in hosts for spec in host.tools if spec.name.startswith("mcp__")}


async def call(bus: Bus, name: str, **more: Any) -> tool.Called:
    asked = a_call(name, **more)
    end = asyncio.get_running_loop().time() + 90
    while True:
        try:
            return await bus.ask(tool.MCP, asked, name)
        except ServiceNotRunning:
            if asyncio.get_running_loop().time() > end:
                raise
            await asyncio.sleep(0.1)


class TestAnMcpTool:
    async def test_is_listed_with_its_hints_and_called(self, house: McpHouse, nats_url: str, bus: Bus) -> None:
        async with executor(house.real(), nats_url):
            called = await call(bus, "mcp__s__add", a=2, b=3)
            specs = await listed(bus)
        assert (called.result.state, text_of(called.result.output), called.backend) == ("success", "5", None)
        assert (specs["mcp__s__add"].read_only, specs["mcp__s__add"].idempotent) == (True, True)
        assert (specs["mcp__s__note"].read_only, specs["mcp__s__note"].idempotent) == (False, False)

    async def test_tells_its_progress_to_whoever_wants_it(self, house: McpHouse, nats_url: str, bus: Bus) -> None:
        heard: list[tool.Progress] = []

        async def hear(message: Any) -> None:
            heard.append(tool.Progress.model_validate_json(message.data))

        async with executor(house.real(), nats_url):
            inbox = bus.nc.new_inbox()
            await bus.nc.subscribe(inbox, cb=hear)
            await call(bus, "mcp__s__count", to=2, deltas_to=inbox)
            assert await eventually(lambda: len(heard) == 2)
        assert [(each.stream, each.sequence, each.text) for each in heard] == [
            ("progress", 0, "1/2 at 1"),
            ("progress", 1, "2/2 at 2"),
        ]

    async def test_gives_heavy_media_by_reference(self, house: McpHouse, nats_url: str, bus: Bus) -> None:
        async with executor(house.real(), nats_url):
            result = (await call(bus, "mcp__s__media", size=100_000)).result
            files = [block for block in result.output if isinstance(block, FileBlock)]
            assert isinstance(files[0].source, URLSource)
            assert await bus.blobs.bytes_of(files[0]) == b"\x07" * 100_000

    async def test_acts_once_however_often_it_is_asked(self, house: McpHouse, nats_url: str, bus: Bus) -> None:
        async with executor(house.real(), nats_url):
            answers = [await call(bus, "mcp__s__note", id="same", text="once") for _ in range(3)]
        assert [answer.replayed for answer in answers] == [False, True, True]
        assert house.lines == ["once|nobody|"]

    async def test_whose_server_is_gone_is_an_error_that_may_be_tried_again(
        self, house: McpHouse, nats_url: str, bus: Bus
    ) -> None:
        async with executor(house.bare("once", session="per_call"), nats_url):
            error, _ = await took(call(bus, "mcp__s__note"))
        assert isinstance(error, ToolUnavailable)

    async def test_is_one_span_below_the_execution(self, house: McpHouse, nats_url: str, bus: Bus) -> None:
        async with executor(house.real(), nats_url) as spans:
            traceparent = text_of((await call(bus, "mcp__s__trace")).result.output)
            found = {span.name: span for span in spans.get_finished_spans()}
        inner, outer = found["tools/call trace"], found["execute_tool mcp__s__trace"]
        assert inner.parent is not None
        assert outer.context is not None
        assert inner.context is not None
        assert inner.parent.span_id == outer.context.span_id
        assert traceparent.split("-")[2] == f"{inner.context.span_id:016x}"
        assert dict(inner.attributes or {}) == {
            "mcp.method.name": "tools/call",
            "natscope.mcp.server": "s",
            "gen_ai.tool.name": "trace",
            "network.transport": "pipe",
        }

    async def test_comes_and_goes_with_its_file_and_it_is_told(self, house: McpHouse, nats_url: str, bus: Bus) -> None:
        async with executor(house.write(), nats_url):
            told = await bus.nc.subscribe(tool.CHANGED.wildcard)
            await bus.nc.flush()
            assert await listed(bus) == {}
            house.bare()
            await told.next_msg(timeout=60)
            assert "mcp__s__ping" in await listed(bus)
            house.bare(enabled=False)
            await told.next_msg(timeout=60)
            assert await listed(bus) == {}


class TestTheDeathOfTheExecutor:
    @staticmethod
    @contextmanager
    def _an_executor(house: McpHouse, url: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run an executor as a process of its own, which has ended afterwards whatever the body does."""
        start = {"NATS_URL": url, "TOOL_EXECUTOR_MCP": str(house.file), "TOOL_EXECUTOR_BACKEND": "none"}
        process = house.start(sys.executable, "-m", "services.tool_executor", cwd=ROOT, **start)
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()

    async def _killed_during(self, house: McpHouse, url: str, bus: Bus, name: str, **arguments: Any) -> tool.Called:
        """Kill the executor while the call runs, start another, and ask again under the same id."""
        asked = asyncio.create_task(call(bus, name, id="same", **arguments))
        try:
            with self._an_executor(house, url) as first:
                assert await eventually(lambda: bool(house.lines), 90)
                first.kill()
            with self._an_executor(house, url):
                await asyncio.gather(asked, return_exceptions=True) if asked.done() else asked.cancel()
                return await call(bus, name, id="same", **arguments)
        finally:
            asked.cancel()

    async def test_leaves_a_call_unknown_that_is_never_made_again(
        self, house: McpHouse, nats_url: str, bus: Bus
    ) -> None:
        house.real()
        called = await self._killed_during(house, nats_url, bus, "mcp__s__note_slowly", text="x", seconds=20)
        assert (called.result.state, house.lines) == ("unknown", ["x"])

    async def test_has_an_idempotent_call_made_again(self, house: McpHouse, nats_url: str, bus: Bus) -> None:
        """The control: the same death, but the tool may run twice."""
        house.real(tools={"note_slowly": {"idempotent": True}})
        called = await self._killed_during(house, nats_url, bus, "mcp__s__note_slowly", text="x", seconds=3)
        assert (called.result.state, house.lines) == ("success", ["x", "x"])
