"""Spans while they are open: OpenTelemetry's API over plain fields, at a quarter of what the SDK's own span costs.

Left out is what natscope does not use: locks (a span belongs to one task), and the cleaning and limiting of attributes
(ours are typed and few). A span that has ended goes to the SDK's span processors.
"""

import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from time import time_ns
from types import TracebackType

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    Event,
    ReadableSpan,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AnyValue

from natscope.contracts.errors import NatscopeError
from natscope.telemetry import names

Attributes = Mapping[str, AnyValue]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)


class Recorder:
    """Makes spans by the rules of an SDK's provider, and hands them to its processors when they end."""

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self.processor = SynchronousMultiSpanProcessor()
        self._provider = TracerProvider(resource=resource, active_span_processor=self.processor, shutdown_on_exit=False)
        self._sampler = self._provider.sampler
        self._ids = self._provider.id_generator
        self.resource = resource
        self.scope = scope

    def add(self, processor: SpanProcessor) -> None:
        """Hand spans to `processor` too."""
        self._provider.add_span_processor(processor)

    def close(self) -> None:
        """Send what the processors hold, and stop them."""
        self._provider.shutdown()

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        parent: SpanContext | None,
        links: Sequence[SpanContext] = (),
    ) -> Span:
        """Begin a span below `parent`; None begins a new trace."""
        if parent is None:
            trace_id, flags, state = self._ids.generate_trace_id(), _SAMPLED, None
        else:
            trace_id, flags, state = parent.trace_id, parent.trace_flags, parent.trace_state
        recorded = flags.sampled
        if self._sampler is not DEFAULT_ON:
            above = trace.set_span_in_context(NonRecordingSpan(parent) if parent else trace.INVALID_SPAN)
            decision = self._sampler.should_sample(above, trace_id, name, kind, attributes).decision
            recorded = decision.is_recording()
            flags = TraceFlags((flags & ~TraceFlags.SAMPLED) | decision.is_sampled())
        context = SpanContext(trace_id, self._ids.generate_span_id(), False, flags, state)
        if not recorded:
            return NonRecordingSpan(context)
        return _Open(self, name, context, kind=kind, attributes=attributes, parent=parent, links=links)


class _Open(Span, ReadableSpan):
    """A span that is being recorded; after its end it changes no more."""

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        context: SpanContext,
        *,
        kind: SpanKind,
        attributes: Attributes,
        parent: SpanContext | None,
        links: Sequence[SpanContext],
    ) -> None:
        self._told: dict[str, AnyValue] = dict(attributes)
        self._happened: list[Event] = []
        self._linked = [Link(link) for link in links]
        self._place = context
        self._processor = recorder.processor
        ReadableSpan.__init__(
            self,
            name,
            context,
            parent,
            resource=recorder.resource,
            attributes=self._told,
            events=self._happened,
            links=self._linked,
            kind=kind,
            start_time=time_ns(),
            instrumentation_scope=recorder.scope,
        )

    def end(self, end_time: int | None = None) -> None:
        if self._end_time is None:
            self._end_time = end_time or time_ns()
            self._processor.on_end(self)

    def get_span_context(self) -> SpanContext:
        return self._place

    def is_recording(self) -> bool:
        return self._end_time is None

    def set_attribute(self, key: str, value: AnyValue) -> None:
        if self._end_time is None:
            self._told[key] = value

    def set_attributes(self, attributes: Attributes) -> None:
        if self._end_time is None:
            self._told.update(attributes)

    def add_event(self, name: str, attributes: Attributes | None = None, timestamp: int | None = None) -> None:
        if self._end_time is None:
            self._happened.append(Event(name, attributes, timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes | None = None) -> None:
        if self._end_time is None:
            self._linked.append(Link(context, attributes))

    def update_name(self, name: str) -> None:
        if self._end_time is None:
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status. What is OK stays so, and nothing becomes unset again."""
        wanted = status if isinstance(status, Status) else Status(status, description)
        if self._end_time is None and self._status.status_code is not StatusCode.OK and not wanted.is_unset:
            self._status = wanted

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        kind = type(exception)
        told: dict[str, AnyValue] = {
            "exception.type": kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}",
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", {**told, **(attributes or {})}, timestamp)


def unrecorded(
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    *,
    parent: SpanContext | None,
    links: Sequence[SpanContext] = (),
) -> Span:
    """Return a span that records nothing and passes its parent on; used in place of `Recorder.start`."""
    return NonRecordingSpan(parent) if parent else trace.INVALID_SPAN


def current_context() -> SpanContext | None:
    """Return where the current span is, if there is one."""
    context = trace.get_current_span().get_span_context()
    return context if context.is_valid else None


class Current(AbstractContextManager[Span]):
    """Makes a span the current one while the body runs, marks it if the body raises, and ends it."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token = attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        detach(self._token)
        if error is not None:
            fail(self._span, error)
        self._span.end()


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
