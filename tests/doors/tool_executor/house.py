"""The executor without its bus and without real cells."""

from collections.abc import Iterable
from datetime import timedelta

from natscope.contracts import tool
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.tool_executor.calls import Calls, Means
from services.tool_executor.sessions import Sessions
from services.tool_executor.settings import Settings
from services.tool_executor.tools.catalog import built_in_tools
from services.tool_executor.tools.toolbox import AnyTool, Toolbox
from tests.doors.tool_executor.fakes import FakeBackend, FakeElsewhere, FakeMedia, FakeOnce, FakeSay

SILENT = TelemetrySettings.model_construct(endpoint=None, disabled=True)


class House:
    """The service without its bus and without real cells."""

    def __init__(
        self,
        backend: FakeBackend | None = None,
        settings: Settings | None = None,
        tools: Iterable[AnyTool] = (),
    ) -> None:
        settings = settings or Settings(idle_after=timedelta(seconds=60), max_cells=2)
        self.backend, self.once, self.say = backend or FakeBackend(), FakeOnce(), FakeSay()
        self.elsewhere = FakeElsewhere()
        self.uses = 0
        self.media = FakeMedia({"a.csv": b"1,2"})
        self.sessions = Sessions(self.backend, max_cells=settings.max_cells, idle_after=settings.idle_after)
        self.toolbox = Toolbox([*built_in_tools(), *tools])
        telemetry = telemetry_for("tool-executor", SILENT)
        means = Means(self.once, self.media, self.say, telemetry, self.elsewhere)
        self.calls = Calls(settings, self.toolbox, self.sessions, means, backend="fake")

    async def use(self, name: str, *, session: str = "s1", **arguments: object) -> ToolResultBlock:
        call = ToolUseBlock.model_validate({"id": "c1", "name": name, "input": arguments})
        self.uses += 1
        return (await self.calls.carry_out(tool.Call(call_id=f"use-{self.uses}", call=call, session=session))).result

    async def python(self, code: str, *, session: str = "s1", id: str = "", **more: object) -> tool.Called:
        call = ToolUseBlock(id="c1", name="execute_python", input={"code": code})
        asked = {"call_id": id or f"{session}-{len(self.once.kept)}", "call": call, "session": session, **more}
        return await self.calls.carry_out(tool.Call.model_validate(asked))

    async def raw(self, block: ToolUseBlock) -> tool.Called:
        return await self.calls.carry_out(tool.Call(call_id="raw", call=block, session="s1"))
