"""Metrics carry the units and the buckets of the conventions."""

from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from natscope.telemetry import TelemetrySettings, names, telemetry_for


class TestMetrics:
    def test_come_with_their_unit_and_buckets(self) -> None:
        reader = InMemoryMetricReader()
        telemetry = telemetry_for(
            "test", TelemetrySettings.model_construct(endpoint=None, keep=False), readers=[reader]
        )
        telemetry.record(names.INFERENCE_DURATION, 0.5, {})
        telemetry.count(names.INFERENCE_INPUT_TOKENS, 7, {})
        data = reader.get_metrics_data()
        assert data is not None
        found = {m.name: m for r in data.resource_metrics for scope in r.scope_metrics for m in scope.metrics}
        assert found[names.INFERENCE_DURATION].unit == "s"
        assert found[names.INFERENCE_INPUT_TOKENS].unit == "{token}"
        bounds = found[names.INFERENCE_DURATION].data.data_points[0].explicit_bounds  # pyright: ignore[reportAttributeAccessIssue]
        assert (bounds[0], bounds[-1]) == (0.01, 81.92)
