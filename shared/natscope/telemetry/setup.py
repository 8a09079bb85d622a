"""The one place where tracer and meter providers are built."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Counter, Histogram, Meter, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from natscope.contracts.contract import new_id
from natscope.contracts.errors import NatscopeError
from natscope.telemetry import names
from natscope.telemetry.propagation import remote
from natscope.telemetry.spans import SpanKeeper

VERSION = "0.1.0"

Attributes = Mapping[str, AttributeValue]


class TelemetrySettings(BaseSettings):
    """Where traces and metrics go. The names are OpenTelemetry's own."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Base address of an OTLP/HTTP collector, e.g. `http://localhost:4318`. None: nothing leaves the process."""
    keep: bool = Field(default=False, validation_alias="NATSCOPE_KEEP_SPANS")
    """True: without a collector, a service keeps its spans in the stream SPANS, where `natscope trace` finds them."""
    disabled: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED")
    """True: no span is made at all."""
    log_level: str = Field(default="INFO", validation_alias="NATSCOPE_LOG_LEVEL")


class Telemetry:
    """One service's tracer and meter."""

    keeper: SpanKeeper | None = None
    """Holds the spans that are to be kept in NATS; whoever opens the connection starts and stops it."""

    def __init__(self, service: str, instance: str, provider: trace.TracerProvider, meter: Meter, *, metrics: bool):
        self.service = service
        self.instance = instance
        self._provider = provider
        self._tracer = provider.get_tracer("natscope", VERSION)
        self._meter = meter
        self._metrics = metrics
        self._histograms: dict[str, Histogram] = {}
        self._counters: dict[str, Counter] = {}

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: SpanContext | None = None,
        links: Sequence[SpanContext] = (),
        root: bool = False,
    ) -> Iterator[Span]:
        """Run the body inside a span that is current; an exception makes it ERROR with our code as `error.type`.

        `parent` overrides the current span; `root` begins a new trace.
        """
        context = trace.set_span_in_context(remote(parent)) if parent else Context() if root else None
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=attributes,
            links=[Link(link) for link in links] if links else None,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                fail(span, error)
                raise

    def begin(self, name: str, *, kind: SpanKind, attributes: Attributes | None = None) -> Span:
        """Start a span that is a child of the current one and does not become current; the caller ends it."""
        return self._tracer.start_span(name, kind=kind, attributes=attributes)

    def record(self, name: str, value: float, attributes: Attributes) -> None:
        """Record `value` in the histogram `name`."""
        if self._metrics:
            found = self._histograms.get(name)
            if found is None:
                found = self._histograms[name] = self._meter.create_histogram(
                    name, explicit_bucket_boundaries_advisory=names.BUCKETS.get(name)
                )
            found.record(value, attributes)

    def count(self, name: str, value: int, attributes: Attributes) -> None:
        """Add `value` to the counter `name`."""
        if self._metrics:
            found = self._counters.get(name)
            if found is None:
                found = self._counters[name] = self._meter.create_counter(name)
            found.add(value, attributes)

    def close(self) -> None:
        """Send what is still held and stop. Blocks for at most a few seconds; call it off the event loop."""
        if isinstance(self._provider, TracerProvider):
            self._provider.shutdown()


def error_type(error: BaseException) -> str:
    """Return the low-cardinality kind of `error`: our code, else the exception's class."""
    return error.code if isinstance(error, NatscopeError) else type(error).__name__


def fail(span: Span, error: BaseException) -> None:
    """Mark `span` as failed by `error`."""
    if span.is_recording():
        span.set_attribute(names.ERROR_TYPE, error_type(error))
        span.set_status(Status(StatusCode.ERROR, str(error)))
        span.record_exception(error)


def fail_with(span: Span, kind: str, description: str = "") -> None:
    """Mark `span` as failed for a reason that is no exception, e.g. a result in state `error`."""
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR, description or kind))


def telemetry_for(
    service: str, settings: TelemetrySettings | None = None, *, processors: Sequence[SpanProcessor] = ()
) -> Telemetry:
    """Build the telemetry of one service; `processors` get its spans besides the collector that `settings` names."""
    settings = settings or TelemetrySettings()
    instance = new_id()
    if settings.disabled:
        return Telemetry(
            service, instance, trace.NoOpTracerProvider(), NoOpMeterProvider().get_meter("natscope"), metrics=False
        )
    resource = Resource.create({"service.name": service, "service.version": VERSION, "service.instance.id": instance})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    if settings.endpoint is None:
        local = Telemetry(service, instance, provider, NoOpMeterProvider().get_meter("natscope"), metrics=False)
        if settings.keep and not processors:
            local.keeper = SpanKeeper()
            provider.add_span_processor(local.keeper)
        return local
    base = settings.endpoint.rstrip("/")
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{base}/v1/traces"), schedule_delay_millis=1000)
    )
    wants_metrics = os.environ.get("OTEL_METRICS_EXPORTER", "otlp") != "none"
    if not wants_metrics:
        return Telemetry(service, instance, provider, NoOpMeterProvider().get_meter("natscope"), metrics=False)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics"))
    meters = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
    return Telemetry(service, instance, provider, cast("Meter", meters.get_meter("natscope", VERSION)), metrics=True)
