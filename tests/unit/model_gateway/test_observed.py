"""What a model call shows of itself: one span, and metrics of whoever answered, by the names of the conventions."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from natscope.contracts.errors import ContentRefused
from natscope.contracts.model import Usage
from natscope.telemetry import TelemetrySettings, names, telemetry_for
from services.model_gateway.observed import Seen, observed
from services.model_gateway.ports import Reply
from services.model_gateway.talking import Said
from services.model_gateway.trying.attempts import Outcome
from services.model_gateway.trying.routes import Route
from tests.unit.model_gateway.fakes import FakeProvider, question
from tests.unit.model_gateway.trying.trip import route

USAGE = Usage(input_tokens=90, output_tokens=40, cache_read_tokens=50, cache_write_tokens=20, reasoning_tokens=30)
COUNTERS = {
    names.INFERENCE_INPUT_TOKENS: 90,
    names.INFERENCE_OUTPUT_TOKENS: 40,
    names.INFERENCE_CACHE_READ_TOKENS: 50,
    names.INFERENCE_CACHE_WRITE_TOKENS: 20,
    names.INFERENCE_REASONING_TOKENS: 30,
}
WHO = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "fake",
    "gen_ai.request.model": "m-1",
    "server.address": "fake.example",
    "server.port": 443,
}
IDS = ("a-session", "a-request", "r-1", "ann")
Point = HistogramDataPoint | NumberDataPoint


class Other(FakeProvider):
    """Whom a call goes to after the first has failed."""

    name = "other"
    address = ("other.example", 8443)


class House:
    """Model calls, and what is measured of them."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._spans = InMemorySpanExporter()
        self.telemetry = telemetry_for(
            "test",
            TelemetrySettings.model_construct(endpoint=None, keep=False, disabled=False),
            processors=[SimpleSpanProcessor(self._spans)],
            readers=[self._reader],
        )
        self.first, self.second = route(FakeProvider()), route(Other(), "second", model="m-2")

    def call(
        self,
        by: Route | None = None,
        *,
        attempts: int = 1,
        first_s: float | None = None,
        error: Exception | None = None,
        usage: Usage = USAGE,
    ) -> None:
        ask = question(session="a-session", request_id="a-request", agent="ann")
        with observed(self.telemetry, ask, self.first) as seen:
            if by is not None:
                self._answer(seen, by, attempts, first_s, usage)
            if error is not None:
                raise error

    def points(self, name: str) -> list[Point]:
        return [point for found, point in self._all() if found == name]

    def point(self, name: str) -> Point:
        (point,) = self.points(name)
        return point

    def labels(self) -> list[str]:
        return [str(value) for _, point in self._all() for value in (point.attributes or {}).values()]

    def attributes(self) -> dict[str, object]:
        (span,) = self._spans.get_finished_spans()
        return dict(span.attributes or {})

    def _answer(self, seen: Seen, by: Route, attempts: int, first_s: float | None, usage: Usage) -> None:
        reply = Reply([], "stop", usage, "m-full", "r-1")
        seen.answered(Outcome(Said(reply, 0.25), by, attempts), first_s=first_s)

    def _all(self) -> Iterator[tuple[str, Point]]:
        data = self._reader.get_metrics_data()
        assert data is not None
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        assert isinstance(point, HistogramDataPoint | NumberDataPoint)
                        yield metric.name, point


@pytest.fixture
def house() -> House:
    return House()


class TestACallThatIsAnswered:
    def test_is_measured_once_with_the_golden_labels(self, house: House) -> None:
        house.call(house.first)
        point = house.point(names.INFERENCE_DURATION)
        assert isinstance(point, HistogramDataPoint)
        assert (point.count, dict(point.attributes or {})) == (1, WHO)

    @pytest.mark.parametrize(("name", "count"), COUNTERS.items())
    def test_counts_its_tokens_by_kind(self, house: House, name: str, count: int) -> None:
        house.call(house.first)
        house.call(house.first)
        point = house.point(name)
        assert isinstance(point, NumberDataPoint)
        assert point.value == 2 * count
        assert dict(point.attributes or {}) == {**WHO, "gen_ai.token.modality": "unknown"}

    def test_counts_what_it_cost(self, house: House) -> None:
        house.call(house.first)
        point = house.point(names.INFERENCE_COST)
        assert isinstance(point, NumberDataPoint)
        assert point.value == 0.25

    def test_tells_when_its_first_piece_came_if_it_was_streamed(self, house: House) -> None:
        house.call(house.first, first_s=0.125)
        point = house.point(names.INFERENCE_FIRST_CHUNK)
        assert isinstance(point, HistogramDataPoint)
        assert (point.sum, dict(point.attributes or {})) == (0.125, WHO)
        assert house.attributes()["gen_ai.response.time_to_first_chunk"] == 0.125

    def test_tells_of_no_first_piece_if_it_was_not(self, house: House) -> None:
        house.call(house.first)
        assert house.points(names.INFERENCE_FIRST_CHUNK) == []

    def test_shows_on_its_span_what_tokens_were_cached_written_and_thought(self, house: House) -> None:
        house.call(house.first)
        shown = house.attributes()
        assert shown["gen_ai.usage.cache_read.input_tokens"] == 50
        assert shown["gen_ai.usage.cache_write.input_tokens"] == 20
        assert shown["gen_ai.usage.reasoning.output_tokens"] == 30
        assert "error.type" not in shown

    def test_puts_nothing_into_a_label_that_tells_one_call_from_another(self, house: House) -> None:
        house.call(house.first, first_s=0.1)
        labels = house.labels()
        assert "m-1" in labels
        assert not [label for label in labels for id in IDS if id in label]


class TestACallThatAnotherProviderAnswers:
    def test_is_measured_as_one_of_that_provider(self, house: House) -> None:
        house.call(house.second, attempts=2, first_s=0.1)
        theirs = {**WHO, "gen_ai.provider.name": "other", "gen_ai.request.model": "m-2"}
        theirs |= {"server.address": "other.example", "server.port": 8443}
        for name in (names.INFERENCE_DURATION, names.INFERENCE_FIRST_CHUNK, names.INFERENCE_COST):
            assert dict(house.point(name).attributes or {}) == theirs
        assert dict(house.point(names.INFERENCE_OUTPUT_TOKENS).attributes or {}).items() > theirs.items()

    def test_shows_on_its_span_who_it_was_and_how_many_attempts_it_took(self, house: House) -> None:
        house.call(house.second, attempts=2)
        shown = house.attributes()
        assert (shown["gen_ai.provider.name"], shown["natscope.attempts"]) == ("other", 2)
        assert shown["server.address"] == "other.example"


class TestACallThatFails:
    def test_is_measured_with_our_code(self, house: House) -> None:
        with pytest.raises(ContentRefused):
            house.call(error=ContentRefused("no"))
        assert dict(house.point(names.INFERENCE_DURATION).attributes or {}) == {**WHO, "error.type": "content_refused"}
        assert house.attributes()["error.type"] == "content_refused"

    @pytest.mark.parametrize("name", COUNTERS)
    def test_counts_no_tokens_so_that_its_series_begins_with_nothing(self, house: House, name: str) -> None:
        with pytest.raises(ContentRefused):
            house.call(error=ContentRefused("no"))
        point = house.point(name)
        assert isinstance(point, NumberDataPoint)
        assert point.value == 0

    def test_after_it_was_answered_has_still_used_its_tokens(self, house: House) -> None:
        with pytest.raises(ContentRefused):
            house.call(house.second, error=ContentRefused("no"))
        point = house.point(names.INFERENCE_INPUT_TOKENS)
        assert isinstance(point, NumberDataPoint)
        assert (point.value, (point.attributes or {})["gen_ai.provider.name"]) == (90, "other")

    def test_of_another_kind_than_ours_is_named_by_its_class(self, house: House) -> None:
        with pytest.raises(ZeroDivisionError):
            house.call(error=ZeroDivisionError())
        assert (house.point(names.INFERENCE_DURATION).attributes or {})["error.type"] == "ZeroDivisionError"
