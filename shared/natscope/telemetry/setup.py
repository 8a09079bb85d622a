"""The one place where tracer and meter providers are built."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.metrics import Counter, Histogram, Meter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext, SpanKind
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from natscope.contracts.contract import new_id
from natscope.telemetry import names
from natscope.telemetry.recording import Attributes, Current, Recorder, current_context, unrecorded
from natscope.telemetry.recording import error_type as error_type
from natscope.telemetry.recording import fail as fail
from natscope.telemetry.recording import fail_with as fail_with
from natscope.telemetry.spans import SpanKeeper

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader

VERSION = "0.1.0"


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
    chat_log: str = Field(default="", validation_alias="NATSCOPE_CHAT_LOG")
    """Where the dialogue is written, a line a message: `-` for standard output, a file to append to, or both.
    It holds what people say, so by default it is written nowhere."""


class Telemetry:
    """One service's tracer and meter."""

    keeper: SpanKeeper | None = None
    """Holds the spans that are to be kept in NATS; whoever opens the connection starts and stops it."""

    def __init__(
        self, service: str, instance: str, recorder: Recorder | None, meters: "MeterProvider | None" = None
    ) -> None:
        """Without `recorder` no span is made, without `meters` nothing is measured."""
        self.service = service
        self.instance = instance
        self._recorder = recorder
        self._start = unrecorded if recorder is None else recorder.start
        self._meters = meters
        self._meter: Meter | None = meters.get_meter("natscope", VERSION) if meters else None
        self._histograms: dict[str, Histogram] = {}
        self._counters: dict[str, Counter] = {}

    def span(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: SpanContext | None = None,
        links: Sequence[SpanContext] = (),
        root: bool = False,
    ) -> Current:
        """Run the body inside a span that is current; an exception makes it ERROR with our code as `error.type`.

        `parent` overrides the current span; `root` begins a new trace.
        """
        above = None if root else parent or current_context()
        return Current(self._start(name, kind, attributes or {}, parent=above, links=links))

    def begin(self, name: str, *, kind: SpanKind, attributes: Attributes | None = None) -> Span:
        """Start a span that is a child of the current one and does not become current; the caller ends it."""
        return self._start(name, kind, attributes or {}, parent=current_context())

    def record(self, name: str, value: float, attributes: Attributes) -> None:
        """Record `value` in the histogram `name`."""
        if self._meter is not None:
            found = self._histograms.get(name)
            if found is None:
                found = self._histograms[name] = self._meter.create_histogram(
                    name,
                    unit=names.UNITS.get(name, ""),
                    explicit_bucket_boundaries_advisory=names.BUCKETS.get(name),
                )
            found.record(value, attributes)

    def count(self, name: str, value: float, attributes: Attributes) -> None:
        """Add `value` to the counter `name`."""
        if self._meter is not None:
            found = self._counters.get(name)
            if found is None:
                found = self._counters[name] = self._meter.create_counter(name, unit=names.UNITS.get(name, ""))
            found.add(value, attributes)

    def close(self) -> None:
        """Send what is still held and stop. Blocks for at most a few seconds; call it off the event loop."""
        if self._recorder is not None:
            self._recorder.close()
        if self._meters is not None:
            self._meters.shutdown()


def telemetry_for(
    service: str,
    settings: TelemetrySettings | None = None,
    *,
    processors: Sequence[SpanProcessor] = (),
    readers: "Sequence[MetricReader]" = (),
) -> Telemetry:
    """Build the telemetry of one service.

    `processors` get its spans, `readers` its metrics, besides the collector that `settings` names.
    """
    settings = settings or TelemetrySettings()
    instance = new_id()
    if settings.disabled:
        return Telemetry(service, instance, None)
    resource = Resource.create({"service.name": service, "service.version": VERSION, "service.instance.id": instance})
    recorder = Recorder(resource, InstrumentationScope("natscope", VERSION))
    for processor in processors:
        recorder.add(processor)
    readers = list(readers)
    if settings.endpoint is None:
        local = Telemetry(service, instance, recorder, _meters(readers, resource))
        if settings.keep and not processors:
            local.keeper = SpanKeeper()
            recorder.add(local.keeper)
        return local
    # Imported here because a process that sends nothing needs not spend a tenth of a second and 10 MB on it.
    from natscope.telemetry import sending as sent

    recorder.add(sent.spans(settings.endpoint))
    if os.environ.get("OTEL_METRICS_EXPORTER", "otlp") != "none":
        readers.append(sent.metrics(settings.endpoint))
    return Telemetry(service, instance, recorder, _meters(readers, resource))


def _meters(readers: "Sequence[MetricReader]", resource: Resource) -> "MeterProvider | None":
    if not readers:
        return None
    from opentelemetry.sdk.metrics import MeterProvider

    return MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
