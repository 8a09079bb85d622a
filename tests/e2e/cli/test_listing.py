"""`natscope apply`, `agents`, `tools`, `models`, `usage`, `runs` and `trace`."""

from pathlib import Path

from natscope import client
from natscope.bus import BusSettings, Doors, open_room
from natscope.contracts import model, tool
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.e2e.cli.conftest import Start
from tests.integration.client import fake_agent

AGENT = "name: {name}\nsystem_prompt: You answer.\ntools: [execute_python]\n"


class TestApply:
    async def test_it_says_what_was_created_changed_and_left(
        self, nats_url: str, natscope: Start, tmp_path: Path
    ) -> None:
        for name in ("ann", "bob"):
            (tmp_path / f"{name}.yaml").write_text(AGENT.format(name=name))
        first = await (await natscope("apply", ".", "--json", url=nats_url)).done()
        (tmp_path / "ann.yaml").write_text(AGENT.format(name="ann") + "model: fast\n")
        second = await (await natscope("apply", ".", url=nats_url)).done()
        assert [line["change"] for line in first.lines] == ["created", "created"]
        assert [line.split() for line in second.out.splitlines()[1:]] == [["ann", "changed"], ["bob", "unchanged"]]
        listed = await (await natscope("agents", "--json", url=nats_url)).done()
        assert [(line["name"], line["model"]) for line in listed.lines] == [("ann", "fast"), ("bob", "default")]


class TestTables:
    async def test_tools_models_and_usage_are_what_the_services_say(self, nats_url: str, natscope: Start) -> None:
        silent = telemetry_for("x", TelemetrySettings.model_construct(endpoint=None, disabled=True))
        async with open_room("model-gateway", settings=BusSettings(url=nats_url), telemetry=silent) as room:
            doors = Doors(room.bus)

            @doors.answers(tool.LIST, queue="")
            async def tools(body: tool.List) -> tool.Listed:
                spec = tool.ToolSpec(name="execute_python", description="Runs Python.\nAnd more.", parameters={})
                return tool.Listed(host="tool-executor", instance="i", tools=[spec], backend="docker")

            @doors.answers(model.LIST)
            async def models(body: model.List) -> model.Listed:
                ready = model.ModelInfo(alias="default", provider="openai", model="gpt-5", ready=False, remedy="set it")
                return model.Listed(models=[ready], fault="models.yaml:3: aliases: must not be empty")

            @doors.answers(model.USAGE)
            async def usage(body: model.AskUsage) -> model.UsageTold:
                return model.UsageTold(accounts=[model.Account(scope=body.scope, name=body.name or "all", calls=7)])

            await room.serve(doors)
            listed = await (await natscope("tools", url=nats_url)).done()
            known = await (await natscope("models", url=nats_url)).done()
            one = await (await natscope("usage", "--session", "s-1", "--json", url=nats_url)).done()
            every = await (await natscope("usage", "--by", "agent", url=nats_url)).done()
            both = await (await natscope("usage", "--agent", "ann", "--model", "x/y", url=nats_url)).done()
        assert listed.out.splitlines()[1].split(maxsplit=3) == [
            "execute_python",
            "tool-executor",
            "docker",
            "Runs Python.",
        ]
        assert known.out.splitlines()[1].split(maxsplit=6) == ["default", "chat", "openai/gpt-5", *"???", "no: set it"]
        assert "models.yaml:3: aliases: must not be empty" in known.err
        assert [(line["scope"], line["name"], line["calls"]) for line in one.lines] == [("session", "s-1", 7)]
        assert [line.split()[:2] for line in every.out.splitlines()] == [["agent", "calls"], ["all", "7"]]
        assert (both.code, "either --agent or --model" in both.err) == (2, True)


class TestRuns:
    async def test_finished_ones_newest_first_and_the_unfinished_before_them(
        self, nats_url: str, natscope: Start
    ) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(BusSettings(url=nats_url)) as house:
            await (await house.submit("assistant", "one", task_id="t1")).result(10)
            await (await house.submit("assistant", "two", task_id="t2")).result(10)
        async with client.open(BusSettings(url=nats_url)) as house:
            await house.submit("assistant", "three", task_id="t3", session="s1")
        ended = await (await natscope("runs", "--json", url=nats_url)).done()
        table = await (await natscope("runs", "-n", "1", url=nats_url)).done()
        assert [(line["task_id"], line["state"]) for line in ended.lines] == [
            ("t3", "unfinished"),
            ("t2", "completed"),
            ("t1", "completed"),
        ]
        assert [line.split()[0] for line in table.out.splitlines()] == ["task", "t3", "t2"]


class TestTrace:
    async def test_where_the_services_spans_are_not_kept_it_says_where_they_are(
        self, nats_url: str, natscope: Start
    ) -> None:
        async with fake_agent.fake_agent(nats_url):
            await (await natscope("ask", "assistant", "?", "--task-id", "t1", "--no-stream", url=nats_url)).done()
            ended = await (await natscope("trace", "t1", url=nats_url)).done()
        assert ended.code == 0
        assert "are not kept here" in ended.out
        assert "/trace/" in ended.out
