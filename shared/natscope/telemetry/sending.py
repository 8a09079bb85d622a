"""Sends spans and metrics to a collector, over OTLP and HTTP."""

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def spans(endpoint: str) -> SpanProcessor:
    """Return what sends spans to the collector at `endpoint`, a second after they ended."""
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    return BatchSpanProcessor(exporter, schedule_delay_millis=1000)


def metrics(endpoint: str) -> MetricReader:
    """Return what sends metrics to the collector at `endpoint`, every minute unless the environment says otherwise."""
    return PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{endpoint.rstrip('/')}/v1/metrics"))
