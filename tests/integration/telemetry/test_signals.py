"""Traces, metrics and logs as they leave a process."""

import json
import logging
from asyncio import to_thread

import pytest
from opentelemetry.trace import SpanKind

from natscope.contracts.errors import ModelNotFound
from natscope.telemetry import TelemetrySettings, names, telemetry_for
from natscope.telemetry.logs import JsonFormatter
from tests.e2e.collector import Collector


def _settings(endpoint: str | None) -> TelemetrySettings:
    return TelemetrySettings.model_construct(endpoint=endpoint, disabled=False, keep=False, log_level="INFO")


class TestASpan:
    async def test_reaches_the_collector_with_its_parent_kind_and_attributes(self) -> None:
        async with Collector() as collector:
            telemetry = telemetry_for("memory", _settings(collector.endpoint))
            with telemetry.span("outer"), telemetry.span("inner", kind=SpanKind.CLIENT, attributes={"n": 1, "s": "x"}):
                pass
            await to_thread(telemetry.close)
            inner, outer = collector.spans
            assert (inner.name, inner.kind, inner.attributes) == ("inner", "client", {"n": 1, "s": "x"})
            assert (inner.parent_id, inner.trace_id) == (outer.span_id, outer.trace_id)
            assert outer.parent_id == ""

    async def test_that_fails_carries_our_code_and_is_an_error(self) -> None:
        async with Collector() as collector:
            telemetry = telemetry_for("memory", _settings(collector.endpoint))
            with pytest.raises(ModelNotFound), telemetry.span("failing"):
                raise ModelNotFound("no alias 'x'")
            with telemetry.span("fine"):
                pass
            await to_thread(telemetry.close)
            failing, fine = collector.spans
            assert (failing.failed, failing.attributes[names.ERROR_TYPE]) == (True, "model_not_found")
            assert (fine.failed, names.ERROR_TYPE in fine.attributes) == (False, False)

    def test_costs_nothing_and_breaks_nothing_when_telemetry_is_off(self) -> None:
        telemetry = telemetry_for("memory", TelemetrySettings.model_construct(endpoint=None, disabled=True))
        with telemetry.span("outer") as span:
            assert not span.is_recording()


class TestMetrics:
    async def test_reach_the_collector_at_the_latest_when_the_process_ends(self) -> None:
        async with Collector() as collector:
            telemetry = telemetry_for("memory", _settings(collector.endpoint))
            telemetry.record(names.PROCESS_DURATION, 0.1, {names.MESSAGING_SYSTEM: "nats"})
            telemetry.count(names.SENT_MESSAGES, 1, {names.MESSAGING_SYSTEM: "nats"})
            await to_thread(telemetry.close)
            assert {names.PROCESS_DURATION, names.SENT_MESSAGES} <= collector.metrics


class TestALogLine:
    def test_is_one_json_object_with_its_fields_and_the_ids_of_its_trace(self) -> None:
        telemetry = telemetry_for("memory", _settings(None))
        record = logging.makeLogRecord({"msg": "tool finished", "levelname": "INFO", "tool": "bash", "exit_code": 0})
        with telemetry.span("work") as span:
            line = json.loads(JsonFormatter("memory").format(record))
        assert (line["event"], line["tool"], line["exit_code"], line["service"]) == (
            "tool finished",
            "bash",
            0,
            "memory",
        )
        assert line["trace_id"] == f"{span.get_span_context().trace_id:032x}"
