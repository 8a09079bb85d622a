"""What an ask for vectors, sound, text or pictures shows of itself: of whoever made it, and what it used in the end."""

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from natscope.contracts.model import Usage
from natscope.telemetry import TelemetrySettings, names, telemetry_for
from services.model_gateway.making_seen import EMBEDDINGS, seen
from tests.unit.model_gateway.fakes import FakeProvider
from tests.unit.model_gateway.trying.trip import route

WHO = {
    "gen_ai.operation.name": "embeddings",
    "gen_ai.provider.name": "fake",
    "gen_ai.request.model": "m-1",
    "server.address": "fake.example",
    "server.port": 443,
}


class Other(FakeProvider):
    """Whom an ask goes to after the first has failed."""

    name = "other"
    address = ("other.example", 8443)


THEIRS = {
    **WHO,
    "gen_ai.provider.name": "other",
    "gen_ai.request.model": "m-2",
    "server.address": "other.example",
    "server.port": 8443,
}


class House:
    """Asks, and what is measured of them."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._spans = InMemorySpanExporter()
        self._telemetry = telemetry_for(
            "test",
            TelemetrySettings.model_construct(endpoint=None, keep=False, disabled=False),
            processors=[SimpleSpanProcessor(self._spans)],
            readers=[self._reader],
        )
        self.first, self.second = route(FakeProvider()), route(Other(), "second", model="m-2")

    def ask(self, *parts: Usage, elsewhere: bool = False, error: Exception | None = None) -> None:
        with seen(self._telemetry, EMBEDDINGS, self.first, {}) as noted:
            for usage in parts:
                noted.paid(self.second if elsewhere else self.first, usage, "m-full", 0.25)
            if error is not None:
                raise error

    @property
    def span(self) -> dict[str, object]:
        (span,) = self._spans.get_finished_spans()
        return dict(span.attributes or {})

    def points(self, name: str) -> list[tuple[float, dict[str, object]]]:
        """Return what was counted under `name`, and for whom; of a duration how many there are."""
        data = self._reader.get_metrics_data()
        assert data is not None
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == name]
        return [
            (point.value if isinstance(point, NumberDataPoint) else point.count, dict(point.attributes or {}))
            for metric in metrics
            for point in metric.data.data_points
        ]


@pytest.fixture
def house() -> House:
    return House()


class TestAnAskThatAnotherProviderAnswers:
    def test_is_measured_as_one_of_that_provider(self, house: House) -> None:
        house.ask(Usage(input_tokens=5), elsewhere=True)
        assert house.points(names.OPERATION_DURATION) == [(1, THEIRS)]
        assert house.points(names.INFERENCE_INPUT_TOKENS) == [(5, {**THEIRS, "gen_ai.token.modality": "unknown"})]
        assert house.points(names.INFERENCE_COST) == [(0.25, THEIRS)]
        assert house.span.items() >= THEIRS.items()

    def test_is_told_from_one_that_the_first_answers(self, house: House) -> None:
        house.ask(Usage(input_tokens=5))
        assert house.points(names.OPERATION_DURATION) == [(1, WHO)]
        assert house.span.items() >= WHO.items()


class TestAnAskInParts:
    def test_counts_all_of_them(self, house: House) -> None:
        house.ask(Usage(input_tokens=5), Usage(input_tokens=7, output_tokens=1))
        assert [count for count, _ in house.points(names.INFERENCE_INPUT_TOKENS)] == [12]
        assert (house.span["gen_ai.usage.input_tokens"], house.span["gen_ai.usage.output_tokens"]) == (12, 1)
        assert house.span[names.COST] == 0.5

    def test_that_fails_has_still_used_what_was_paid(self, house: House) -> None:
        with pytest.raises(ZeroDivisionError):
            house.ask(Usage(input_tokens=5), elsewhere=True, error=ZeroDivisionError())
        assert [count for count, _ in house.points(names.INFERENCE_INPUT_TOKENS)] == [5]
        assert house.points(names.OPERATION_DURATION) == [(1, {**THEIRS, "error.type": "ZeroDivisionError"})]

    @pytest.mark.parametrize("name", [names.INFERENCE_INPUT_TOKENS, names.INFERENCE_OUTPUT_TOKENS])
    def test_that_fails_before_any_was_paid_counts_nothing_so_that_its_series_begins(
        self, house: House, name: str
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            house.ask(error=ZeroDivisionError())
        assert house.points(name) == [(0, {**WHO, "gen_ai.token.modality": "unknown"})]
