"""Spans as processors get them: parents, attributes, errors, sampling."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from natscope.contracts.errors import ToolNotFound
from natscope.telemetry import Telemetry, TelemetrySettings, names, telemetry_for
from natscope.telemetry.propagation import extract, inject
from natscope.telemetry.recording import current_context
from natscope.telemetry.spans import RECORDS, SpanKeeper


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(kept: InMemorySpanExporter) -> Telemetry:
    return telemetry_for("here", TelemetrySettings(), processors=[SimpleSpanProcessor(kept)])


def by_name(kept: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in kept.get_finished_spans()}


def trace_of(span: ReadableSpan) -> int:
    return span.get_span_context().trace_id  # pyright: ignore[reportOptionalMemberAccess]


class TestSpans:
    def test_an_inner_span_is_a_child_of_the_current_one(
        self, telemetry: Telemetry, kept: InMemorySpanExporter
    ) -> None:
        with telemetry.span("outer") as outer, telemetry.span("inner"):
            telemetry.begin("beside", kind=SpanKind.PRODUCER).end()
        spans = by_name(kept)
        assert spans["outer"].parent is None
        assert spans["inner"].parent == outer.get_span_context()
        assert spans["beside"].parent == spans["inner"].get_span_context()
        assert len({trace_of(span) for span in spans.values()}) == 1
        assert current_context() is None

    def test_a_given_parent_and_a_new_root_override_the_current_span(
        self, telemetry: Telemetry, kept: InMemorySpanExporter
    ) -> None:
        far = SpanContext(7, 9, True, TraceFlags(TraceFlags.SAMPLED))
        with telemetry.span("outer"):
            with telemetry.span("told", parent=far, links=[far]):
                pass
            with telemetry.span("fresh", root=True):
                pass
        spans = by_name(kept)
        assert (spans["told"].parent, trace_of(spans["told"])) == (far, 7)
        assert spans["told"].links[0].context == far
        assert spans["fresh"].parent is None
        assert trace_of(spans["fresh"]) != trace_of(spans["outer"])

    def test_a_span_has_what_it_was_given_until_it_ends(self, telemetry: Telemetry, kept: InMemorySpanExporter) -> None:
        with telemetry.span("one", kind=SpanKind.CLIENT, attributes={"a": 1}) as span:
            span.set_attribute("b", ("x", "y"))
            span.set_attributes({"c": True})
            span.add_event("middle", {"d": 2})
            span.update_name("two")
        span.set_attribute("late", 1)
        span.end()
        (told,) = kept.get_finished_spans()
        assert (told.name, told.kind, told.status.is_unset) == ("two", SpanKind.CLIENT, True)
        assert dict(told.attributes or {}) == {"a": 1, "b": ("x", "y"), "c": True}
        assert [(event.name, dict(event.attributes or {})) for event in told.events] == [("middle", {"d": 2})]
        assert told.start_time is not None
        assert told.end_time is not None
        assert told.start_time <= told.end_time

    def test_an_exception_makes_the_span_an_error_with_our_code(
        self, telemetry: Telemetry, kept: InMemorySpanExporter
    ) -> None:
        with pytest.raises(ToolNotFound), telemetry.span("one"):
            raise ToolNotFound("there is no tool 'x'")
        (told,) = kept.get_finished_spans()
        assert told.status.status_code is StatusCode.ERROR
        assert (told.attributes or {})[names.ERROR_TYPE] == "tool_not_found"
        assert (told.events[0].attributes or {})["exception.type"] == "natscope.contracts.errors.ToolNotFound"

    def test_a_status_that_was_set_to_ok_stays(self, telemetry: Telemetry, kept: InMemorySpanExporter) -> None:
        with telemetry.span("one") as span:
            span.set_status(StatusCode.OK)
            span.set_status(Status(StatusCode.ERROR, "no"))
        assert kept.get_finished_spans()[0].status.status_code is StatusCode.OK


class TestSampling:
    def test_what_the_sender_does_not_sample_is_not_recorded_but_passed_on(
        self, telemetry: Telemetry, kept: InMemorySpanExporter
    ) -> None:
        headers: dict[str, str] = {}
        with telemetry.span("one", parent=SpanContext(7, 9, True, TraceFlags())) as span:
            inject(headers, span)
        assert kept.get_finished_spans() == ()
        told = extract(headers)
        assert told is not None
        assert (told.trace_id, told.trace_flags.sampled) == (7, False)

    def test_a_sampler_that_the_environment_names_decides(
        self, kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        telemetry = telemetry_for("here", TelemetrySettings(), processors=[SimpleSpanProcessor(kept)])
        with telemetry.span("one") as span:
            assert not span.is_recording()
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
        telemetry = telemetry_for("here", TelemetrySettings(), processors=[SimpleSpanProcessor(kept)])
        with telemetry.span("two", parent=SpanContext(7, 9, True, TraceFlags())):
            pass
        assert [span.name for span in kept.get_finished_spans()] == ["two"]

    def test_nothing_is_recorded_where_telemetry_is_off_but_the_context_is_passed_on(self) -> None:
        telemetry = telemetry_for("here", TelemetrySettings.model_validate({"OTEL_SDK_DISABLED": True}))
        far = SpanContext(7, 9, True, TraceFlags(TraceFlags.SAMPLED))
        with telemetry.span("one", parent=far) as span:
            assert span.get_span_context() == far
        with telemetry.span("two") as span:
            assert span is trace.INVALID_SPAN
        telemetry.close()


class TestSpanKeeper:
    async def test_publishes_each_trace_as_records(self) -> None:
        keeper = SpanKeeper()
        telemetry = telemetry_for("here", TelemetrySettings(), processors=[keeper])
        said: list[tuple[str, bytes]] = []

        async def publish(trace_id: str, spans: bytes) -> None:
            said.append((trace_id, spans))

        keeper.start(publish)
        far = SpanContext(7, 9, True, TraceFlags(TraceFlags.SAMPLED))
        with telemetry.span("outer", attributes={"list": ("a", "b"), "n": 1.5}, links=[far]):
            pass
        with pytest.raises(ValueError, match="no"), telemetry.span("other"):
            raise ValueError("no")
        await keeper.stop()
        (outer,), (other,) = (RECORDS.validate_json(spans) for _, spans in said)
        assert (outer.trace_id, outer.service, outer.kind, outer.error) == (said[0][0], "here", "internal", None)
        assert outer.attributes == {"list": ["a", "b"], "n": 1.5}
        assert outer.links == [f"{7:032x}"]
        assert (other.error, other.parent_id, other.links) == ("no", None, [])
