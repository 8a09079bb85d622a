"""Spans kept close by: finished spans go to a publisher, for `natscope trace` without a collector."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from pydantic import Field, JsonValue, TypeAdapter
from pydantic_core import to_json

from natscope.contracts.contract import Contract

log = logging.getLogger(__name__)

HELD = 20_000
"""Spans that are held at most; what comes on top is lost."""
Publish = Callable[[str, bytes], Awaitable[None]]
"""Takes a trace id in hexadecimal and a JSON array of `SpanRecord`."""


class SpanRecord(Contract):
    """One finished span."""

    trace_id: str
    span_id: str
    parent_id: str | None = None
    name: str
    service: str
    kind: str
    start_ns: int
    end_ns: int
    error: str | None = None
    attributes: dict[str, JsonValue] = Field(default_factory=dict)
    links: list[str] = Field(default_factory=list[str])
    """Trace ids of linked spans in other traces."""


RECORDS = TypeAdapter(list[SpanRecord])


def plain(span: ReadableSpan) -> dict[str, object]:
    """Return what is kept of `span`, field by field as `SpanRecord` reads it."""
    context = span.get_span_context()
    if context is None:
        raise ValueError("a finished span has a context")
    status = span.status
    trace_id = context.trace_id
    return {
        "trace_id": f"{trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "name": span.name,
        "service": span.resource.attributes.get("service.name", ""),
        "kind": span.kind.name.lower(),
        "start_ns": span.start_time,
        "end_ns": span.end_time,
        "error": None if status.is_ok else status.description or "error",
        "attributes": dict(span.attributes or ()),
        "links": [f"{link.context.trace_id:032x}" for link in span.links if link.context.trace_id != trace_id],
    }


class SpanKeeper(SpanProcessor):
    """Collects finished spans and publishes them, trace by trace, every `interval_s`.

    What cannot be published is held until it can be, up to 20,000 spans.
    """

    def __init__(self, *, interval_s: float = 0.2) -> None:
        self._held: list[ReadableSpan] = []
        self._interval_s = interval_s
        self._publish: Publish | None = None
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        if len(self._held) < HELD:
            self._held.append(span)

    def start(self, publish: Publish) -> None:
        """Begin to publish; spans that ended before are published too."""
        self._publish = publish
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Publish what is held and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.flush()

    async def flush(self) -> None:
        """Publish what is held now; if nothing of it is taken, that is said once, and it is tried again the next time.

        What is refused while other spans are taken is refused for what it is, and dropped.
        """
        if self._publish is None:
            return
        held, self._held = self._held, []
        traces: dict[int, list[ReadableSpan]] = defaultdict(list)
        for span in held:
            if (context := span.get_span_context()) is not None:
                traces[context.trace_id].append(span)
        unsaid: list[ReadableSpan] = []
        taken = False
        for trace_id, spans in traces.items():
            for start in range(0, len(spans), 200):
                batch = spans[start : start + 200]
                if await self._said(self._publish, f"{trace_id:032x}", batch):
                    taken = True
                else:
                    unsaid += batch
        if not taken:
            self._held = (unsaid + self._held)[:HELD]
        self._failing = bool(unsaid)

    async def _said(self, publish: Publish, trace_id: str, batch: list[ReadableSpan]) -> bool:
        try:
            await publish(trace_id, to_json([plain(span) for span in batch]))
        except Exception as error:  # noqa: BLE001 - no failure to be seen may stop what is to be seen
            if not self._failing:
                log.warning("spans could not be published", extra={"reason": repr(error)})
            self._failing = True
            return False
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self.flush()
