"""What an ask for vectors, sound, text or pictures shows of itself, by the names of the GenAI conventions."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Seen:
    """The span of one ask, and what its metrics are labelled with."""

    telemetry: Telemetry
    span: Span
    where: Attributes

    def answered(self, usage: Usage, model: str) -> None:
        """Note what came of it."""
        self.span.set_attributes({names.RESPONSE_MODEL: model, names.INPUT_TOKENS: usage.input_tokens})
        tokens: Attributes = {**self.where, names.TOKEN_MODALITY: "unknown"}
        self.telemetry.count(names.INFERENCE_INPUT_TOKENS, usage.input_tokens, tokens)
        if usage.output_tokens:
            self.span.set_attribute(names.OUTPUT_TOKENS, usage.output_tokens)
            self.telemetry.count(names.INFERENCE_OUTPUT_TOKENS, usage.output_tokens, tokens)


@contextmanager
def seen(
    telemetry: Telemetry, operation: str, route: Route, more: Mapping[str, AttributeValue | None]
) -> Iterator[Seen]:
    """Run an ask, retries included, inside its span; its duration is recorded however it ends."""
    where: Attributes = {
        names.OPERATION: operation,
        names.PROVIDER: route.provider.name,
        names.REQUEST_MODEL: route.target.model,
    }
    if route.provider.address is not None:
        where[names.SERVER_ADDRESS], where[names.SERVER_PORT] = route.provider.address
    asked = {name: value for name, value in more.items() if value is not None}
    began = time.perf_counter()
    error: Attributes = {}
    try:
        with telemetry.span(
            f"{operation} {route.target.model}", kind=SpanKind.CLIENT, attributes={**where, **asked}
        ) as span:
            yield Seen(telemetry, span, where)
    except BaseException as failure:
        error = {names.ERROR_TYPE: error_type(failure)}
        raise
    finally:
        telemetry.record(names.OPERATION_DURATION, time.perf_counter() - began, {**where, **error})
