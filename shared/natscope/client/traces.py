"""The spans of a task, as far as they are kept near (embedded mode does; elsewhere a collector has them)."""

import asyncio
from dataclasses import dataclass

from natscope.bus.connection import Bus
from natscope.bus.streams import SPAN_SUBJECT, SPANS
from natscope.client import looking
from natscope.contracts import event, task
from natscope.contracts.errors import TaskNotFound
from natscope.telemetry.propagation import extract
from natscope.telemetry.spans import RECORDS, SpanRecord

LOOK_AGAIN_S = 0.1


@dataclass(frozen=True)
class Trace:
    """One trace and those of its spans that are kept."""

    trace_id: str
    spans: list[SpanRecord]

    @property
    def linked(self) -> list[str]:
        """Ids of the traces that this one refers to, each once."""
        return list(dict.fromkeys(link for span in self.spans for link in span.links))

    @property
    def whole(self) -> bool:
        """Whether the parent of every span is there, so that spans are missing at the leaves at most."""
        known = {span.span_id for span in self.spans}
        return bool(self.spans) and all(span.parent_id in known for span in self.spans if span.parent_id)


async def trace_of(bus: Bus, task_id: str, *, patience_s: float = 0.0) -> Trace:
    """Return the trace in which the task was finished, or, if it still runs, in which it began.

    Spans are sent when they end, the outermost last: if some are missing, they are waited for, up to `patience_s`.

    Raises:
        TaskNotFound: nothing is known of the task, or it was not traced.
    """
    trace_id = await _trace_id(bus, task_id)
    if trace_id is None:
        raise TaskNotFound(
            f"there is no trace of task {task_id!r}",
            remedy="`natscope runs` lists the tasks; tracing is off where OTEL_SDK_DISABLED is set",
        )
    found = await trace(bus, trace_id)
    try:
        async with asyncio.timeout(patience_s):
            while not found.whole:
                await asyncio.sleep(LOOK_AGAIN_S)
                found = await trace(bus, trace_id)
    except TimeoutError:
        pass
    return found


async def trace(bus: Bus, trace_id: str) -> Trace:
    """Return the kept spans of a trace, by the time they began."""
    messages = await looking.page(bus, SPANS, f"{SPAN_SUBJECT}.{trace_id}")
    spans = [span for message in messages for span in RECORDS.validate_json(message.data)]
    return Trace(trace_id, sorted(spans, key=lambda span: span.start_ns))


async def _trace_id(bus: Bus, task_id: str) -> str | None:
    for fact in (task.FINISHED, event.HAPPENED):
        found = await looking.last(bus, fact.stream or "", fact.at(task_id))
        context = extract(found.headers) if found else None
        if context:
            return f"{context.trace_id:032x}"
    return None
