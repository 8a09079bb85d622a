"""What an ask for vectors, sound, text or pictures shows of itself, by the names of the GenAI conventions."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from natscope.contracts.model import Usage
from natscope.telemetry import Telemetry, names
from natscope.telemetry.setup import error_type
from services.model_gateway.trying.routes import Route

Attributes = dict[str, AttributeValue]

EMBEDDINGS = "embeddings"
GENERATE = "generate_content"
"""The convention's name for making anything that is neither a chat nor vectors; `gen_ai.output.type` says what."""


class Seen:
    """What is shown of one ask while it is under way."""

    def __init__(self, telemetry: Telemetry, span: Span, operation: str, route: Route) -> None:
        self._telemetry = telemetry
        self._span = span
        self._operation = operation
        self._usage: Usage | None = None
        self._cost_usd = 0.0
        self.where = _where(operation, route)
        """Who answers, as far as is known; it changes when another provider does."""

    def paid(self, route: Route, usage: Usage, model: str, cost_usd: float | None) -> None:
        """Note what was made by `model`, or one more part of it."""
        self.where = _where(self._operation, route)
        self._usage = (self._usage or Usage()) + usage
        attributes: Attributes = {**self.where, names.RESPONSE_MODEL: model, **_tokens(self._usage)}
        if cost_usd is not None:
            self._cost_usd += cost_usd
            attributes[names.COST] = self._cost_usd
            self._telemetry.count(names.INFERENCE_COST, cost_usd, self.where)
        self._span.set_attributes(attributes)
        self._count(usage)

    def failed(self) -> None:
        """Count an ask that used nothing, unless parts of it were paid."""
        if self._usage is None:
            self._count(Usage())

    def _count(self, usage: Usage) -> None:
        tokens: Attributes = {**self.where, names.TOKEN_MODALITY: "unknown"}
        self._telemetry.count(names.INFERENCE_INPUT_TOKENS, usage.input_tokens, tokens)
        self._telemetry.count(names.INFERENCE_OUTPUT_TOKENS, usage.output_tokens, tokens)


@contextmanager
def seen(
    telemetry: Telemetry, operation: str, route: Route, more: Mapping[str, AttributeValue | None]
) -> Iterator[Seen]:
    """Run an ask, retries included, inside its span; its duration is recorded however it ends."""
    asked = {name: value for name, value in more.items() if value is not None}
    began = time.perf_counter()
    name = f"{operation} {route.target.model}"
    with telemetry.span(name, kind=SpanKind.CLIENT, attributes={**_where(operation, route), **asked}) as span:
        noted = Seen(telemetry, span, operation, route)
        error: Attributes = {}
        try:
            yield noted
        except BaseException as failure:
            error = {names.ERROR_TYPE: error_type(failure)}
            noted.failed()
            raise
        finally:
            telemetry.record(names.OPERATION_DURATION, time.perf_counter() - began, {**noted.where, **error})


def _where(operation: str, route: Route) -> Attributes:
    where: Attributes = {
        names.OPERATION: operation,
        names.PROVIDER: route.provider.name,
        names.REQUEST_MODEL: route.target.model,
    }
    if route.provider.address is not None:
        where[names.SERVER_ADDRESS], where[names.SERVER_PORT] = route.provider.address
    return where


def _tokens(usage: Usage) -> Attributes:
    told: Attributes = {names.INPUT_TOKENS: usage.input_tokens}
    return {**told, names.OUTPUT_TOKENS: usage.output_tokens} if usage.output_tokens else told
