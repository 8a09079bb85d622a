"""One task through the real services, and its trace held against the drawing of the house, edge by edge."""

import json
from pathlib import Path

from natscope.contracts.agent import AgentSpec, Team
from natscope.contracts.blocks import plain
from natscope.contracts.task import Submit
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.e2e.collector import Collector, Seen, counted, edges
from tests.e2e.processes import process_house
from tests.loopback.provider import Provider, Request
from tests.loopback.replies import Call, Reply

DRAWING = {
    ("client: publish task.submit.{agent}.{session}", "agent: process task.submit.{agent}.{session}"),
    ("agent: process task.submit.{agent}.{session}", "agent: invoke_agent assistant"),
    ("agent: invoke_agent assistant", "agent: publish model.chat"),
    ("agent: publish model.chat", "model-gateway: process model.chat"),
    ("model-gateway: process model.chat", "model-gateway: chat small-1"),
    ("agent: invoke_agent assistant", "agent: publish tool.call.{tool}"),
    ("agent: publish tool.call.{tool}", "tool-executor: process tool.call.{tool}"),
    ("tool-executor: process tool.call.{tool}", "tool-executor: execute_tool execute_python"),
    ("agent: search_memory", "agent: publish memory.recall"),
    ("agent: publish memory.recall", "memory: process memory.recall"),
    ("agent: invoke_agent assistant", "agent: upsert_memory"),
    ("agent: upsert_memory", "agent: publish memory.append"),
    ("agent: publish memory.append", "memory: process memory.append"),
    ("agent: invoke_agent assistant", "agent: publish task.finished.{task}"),
}


DELEGATED = {
    ("agent: invoke_agent lead", "agent: publish task.submit.{agent}.{session}"),
    ("agent: publish task.submit.{agent}.{session}", "agent: process task.submit.{agent}.{session}"),
    ("agent: process task.submit.{agent}.{session}", "agent: invoke_agent lead"),
    ("agent: process task.submit.{agent}.{session}", "agent: invoke_agent mate"),
    ("agent: process task.submit.{agent}.{session}", "agent: invoke_agent other"),
    ("agent: invoke_agent mate", "agent: publish model.chat"),
    ("agent: invoke_agent mate", "agent: publish tool.call.{tool}"),
    ("agent: publish tool.call.{tool}", "tool-executor: process tool.call.{tool}"),
    ("agent: invoke_agent mate", "agent: publish task.finished.{task}"),
}
SPECS = (
    AgentSpec(name="lead", system_prompt="You lead.", team=Team(agents=["mate"]), agents=["other"]),
    AgentSpec(name="mate", system_prompt="You help.", tools=["task_list"]),
    AgentSpec(name="other", system_prompt="You are another."),
)


def delegates(asked: Request) -> Reply:
    """Answer as the leader, its member or whom it asks besides."""
    said = json.dumps(asked["messages"])
    done = any(message["role"] == "tool" for message in asked["messages"])
    if "You lead." in said:
        both = (
            Call("assign", json.dumps({"agent": "mate", "message": "Look at the list."}), id="a"),
            Call("ask_agent", json.dumps({"agent": "other", "message": "Who are you?"}), id="b"),
        )
        return Reply(text="All of it.") if done else Reply(calls=both)
    return Reply(calls=(Call("task_list"),)) if "You help." in said and not done else Reply(text="Done.")


class TestTheTraceOfATask:
    async def test_has_every_edge_of_the_drawing_and_no_second_trace(self, tmp_path: Path) -> None:
        async with Collector() as collector, Provider() as provider:
            provider.queue(Reply(calls=(Call("execute_python", '{"code": "print(6 * 7)"}'),)), Reply(text="It is 42."))
            telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=collector.endpoint))
            async with process_house(
                tmp_path, telemetry=telemetry, environment=_environment(collector, provider)
            ) as house:
                task = Submit(content=plain("What is 6 times 7?"), session="s1")
                trace = await house.submit(task)
                outcomes = await house.outcomes(task.task_id)
                assert [outcome.text for outcome in outcomes] == ["It is 42."], house.logs()
            telemetry.close()
            spans = [span for span in collector.spans if span.trace_id == trace]
            assert edges(spans) >= DRAWING
            counts = counted(spans)
            assert counts["model-gateway: chat small-1"] == 2
            assert counts["tool-executor: execute_tool execute_python"] == 1
            assert _without_ids(spans, task)
            assert not [span.label for span in spans if span.failed]

    async def test_holds_all_that_agents_have_each_other_do(self, tmp_path: Path) -> None:
        async with Collector() as collector, Provider(delegates) as provider:
            telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=collector.endpoint))
            async with process_house(
                tmp_path, telemetry=telemetry, environment=_environment(collector, provider)
            ) as house:
                await house.apply(*SPECS)
                task = Submit(content=plain("Have it done."))
                trace = await house.submit(task, "lead")
                outcomes = await house.outcomes(task.task_id)
                assert [outcome.text for outcome in outcomes] == ["All of it."], house.logs()
            telemetry.close()
            spans = [span for span in collector.spans if span.trace_id == trace]
            assert edges(spans) >= DELEGATED
            counts = counted(spans)
            assert counts["agent: invoke_agent mate"] == counts["agent: invoke_agent other"] == 1
            assert counts["model-gateway: chat small-1"] == provider.total == 5
            work = ("invoke_agent", "chat", "execute_tool")
            assert {span.trace_id for span in collector.spans if span.name.startswith(work)} == {trace}

    async def test_tells_tokens_and_no_content(self, tmp_path: Path) -> None:
        async with Collector() as collector, Provider() as provider:
            provider.queue(Reply(text="secret answer", tokens=(11, 7)))
            telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=collector.endpoint))
            async with process_house(
                tmp_path, telemetry=telemetry, environment=_environment(collector, provider)
            ) as house:
                task = Submit(content=plain("secret question"), session="s1")
                trace = await house.submit(task)
                await house.outcomes(task.task_id)
            spans = [span for span in collector.spans if span.trace_id == trace]
            chat = next(span for span in spans if span.name == "chat small-1")
            assert chat.kind == "client"
            assert chat.attributes["gen_ai.operation.name"] == "chat"
            assert chat.attributes["gen_ai.provider.name"] == "openai"
            assert chat.attributes["gen_ai.usage.input_tokens"] == 11
            assert chat.attributes["gen_ai.usage.output_tokens"] == 7
            assert chat.attributes["gen_ai.conversation.id"] == "s1"
            assert "secret" not in repr([span.attributes for span in collector.spans])

    async def test_shows_a_failing_tool_as_an_error(self, tmp_path: Path) -> None:
        async with Collector() as collector, Provider() as provider:
            provider.queue(Reply(calls=(Call("execute_python", '{"code": "1/0"}'),)), Reply(text="It failed."))
            telemetry = telemetry_for("client", TelemetrySettings.model_construct(endpoint=collector.endpoint))
            async with process_house(
                tmp_path, telemetry=telemetry, environment=_environment(collector, provider)
            ) as house:
                task = Submit(content=plain("Divide"), session="s1")
                trace = await house.submit(task)
                await house.outcomes(task.task_id)
            spans = [span for span in collector.spans if span.trace_id == trace]
            assert [span.failed for span in spans if span.name == "execute_tool execute_python"] == [True]
            assert [span.failed for span in spans if span.name == "invoke_agent assistant"] == [False]


def _environment(collector: Collector, provider: Provider) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_METRICS_EXPORTER": "none",
        "OPENAI_API_KEY": "any",
        "OPENAI_BASE_URL": provider.url,
        "OPENAI_MODEL": "small-1",
    }


def _without_ids(spans: list[Seen], task: Submit) -> bool:
    return not any(task.task_id in span.name or "s1" in span.name.split() for span in spans)
