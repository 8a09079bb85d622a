"""An OTLP/HTTP collector for tests: keeps every span it is sent, with its service, and the names of metrics."""

import gzip
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class Seen:
    """One span as it was exported."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    kind: str
    failed: bool
    attributes: dict[str, object] = field(hash=False)

    @property
    def label(self) -> str:
        """Service and span name, as the drawing of the house writes them."""
        return f"{self.service}: {self.name}"


class Collector:
    """Listens on a free port of 127.0.0.1; `endpoint` is what OTEL_EXPORTER_OTLP_ENDPOINT takes."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.metrics: set[str] = set()
        self._runner: web.ServerRunner | None = None
        self.endpoint = ""

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._take, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if request.path.endswith("/v1/metrics"):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    self.metrics.update(metric.name for metric in scope.metrics)
            return web.Response()
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for scope in resource.scope_spans:
                self.spans.extend(_seen(service, span) for span in scope.spans)
        return web.Response()


def edges(spans: list[Seen]) -> set[tuple[str, str]]:
    """Return every parent → child pair by label."""
    by_id = {span.span_id: span for span in spans}
    return {(by_id[span.parent_id].label, span.label) for span in spans if span.parent_id in by_id}


def counted(spans: list[Seen]) -> dict[str, int]:
    """Return how often each label occurs."""
    counts: dict[str, int] = defaultdict(int)
    for span in spans:
        counts[span.label] += 1
    return counts


def _seen(service: str, span: Span) -> Seen:
    return Seen(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        service=service,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        attributes={each.key: _value(each.value) for each in span.attributes},
    )


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
