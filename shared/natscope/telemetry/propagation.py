"""The trace context in message headers: W3C `traceparent` and `tracestate`, in lower case, never in the body."""

import re
from collections.abc import Mapping, MutableMapping

from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, TraceState

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")


def inject(headers: MutableMapping[str, str], span: Span) -> None:
    """Write `span`'s context into `headers`, unless the caller has put one there.

    Source: W3C Trace Context, section 3.2, https://www.w3.org/TR/trace-context/#traceparent-header
    """
    context = span.get_span_context()
    if "traceparent" in headers or not context.is_valid:
        return
    headers["traceparent"] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    if context.trace_state:
        headers["tracestate"] = context.trace_state.to_header()


def extract(headers: Mapping[str, str] | None) -> SpanContext | None:
    """Return the context in `headers`, or None if there is none or it cannot be read."""
    value = (headers or {}).get("traceparent")
    found = _TRACEPARENT.match(value) if value else None
    if not found:
        return None
    state = (headers or {}).get("tracestate")
    context = SpanContext(
        trace_id=int(found[1], 16),
        span_id=int(found[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found[3], 16)),
        trace_state=TraceState.from_header([state]) if state else TraceState(),
    )
    return context if context.is_valid else None


def remote(context: SpanContext) -> Span:
    """Return a span that stands for `context`, to be the parent of another."""
    return NonRecordingSpan(context)
