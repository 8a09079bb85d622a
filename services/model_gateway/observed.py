"""What a model call shows of itself: its span and its metrics, by the names of the GenAI conventions."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from natscope.contracts.model import Chat, Usage
from natscope.telemetry import Telemetry, names
from natscope.telemetry.setup import error_type
from services.model_gateway.catalog.models_file import Target
from services.model_gateway.ports import Provider, Reply

Attributes = dict[str, AttributeValue]


@contextmanager
def chat_span(telemetry: Telemetry, ask: Chat, target: Target, provider: Provider) -> Iterator[Span]:
    """Run a model call, retries included, inside its span; its duration is recorded however it ends."""
    where = _where(target, provider)
    began = time.perf_counter()
    try:
        with telemetry.span(f"chat {target.model}", kind=SpanKind.CLIENT, attributes={**where, **_asked(ask)}) as span:
            yield span
    except BaseException as error:
        telemetry.record(
            names.INFERENCE_DURATION, time.perf_counter() - began, {**where, names.ERROR_TYPE: error_type(error)}
        )
        raise
    telemetry.record(names.INFERENCE_DURATION, time.perf_counter() - began, where)


def answered(
    telemetry: Telemetry, span: Span, reply: Reply, *, target: Target, provider: Provider, first_s: float | None
) -> None:
    """Note what came of a call; `first_s` is when its first piece came, if it was streamed."""
    usage = reply.usage
    attributes: Attributes = {
        names.RESPONSE_MODEL: reply.model,
        names.RESPONSE_FINISH_REASONS: (reply.finish_reason,),
        names.INPUT_TOKENS: usage.input_tokens,
        names.OUTPUT_TOKENS: usage.output_tokens,
        **_details(usage),
    }
    if reply.response_id is not None:
        attributes[names.RESPONSE_ID] = reply.response_id
    where = _where(target, provider)
    if first_s is not None:
        attributes[names.TIME_TO_FIRST_CHUNK] = first_s
        telemetry.record(names.INFERENCE_FIRST_CHUNK, first_s, where)
    span.set_attributes(attributes)
    tokens: Attributes = {**where, names.TOKEN_MODALITY: "unknown"}
    telemetry.count(names.INFERENCE_INPUT_TOKENS, usage.input_tokens, tokens)
    telemetry.count(names.INFERENCE_OUTPUT_TOKENS, usage.output_tokens, tokens)


def _where(target: Target, provider: Provider) -> Attributes:
    where: Attributes = {
        names.OPERATION: "chat",
        names.PROVIDER: provider.name,
        names.REQUEST_MODEL: target.model,
    }
    if provider.address is not None:
        where[names.SERVER_ADDRESS], where[names.SERVER_PORT] = provider.address
    return where


def _asked(ask: Chat) -> Attributes:
    wanted = ask.generation
    asked = {
        names.CONVERSATION: ask.session,
        names.REQUEST_STREAM: True if ask.deltas_to else None,
        names.REQUEST_TEMPERATURE: wanted.temperature,
        names.REQUEST_TOP_P: wanted.top_p,
        names.REQUEST_MAX_TOKENS: wanted.max_output_tokens,
        names.REQUEST_SEED: wanted.seed,
        names.REQUEST_STOP: tuple(wanted.stop) or None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _details(usage: Usage) -> Attributes:
    details = {
        names.CACHE_READ_TOKENS: usage.cache_read_tokens,
        names.CACHE_WRITE_TOKENS: usage.cache_write_tokens,
        names.REASONING_TOKENS: usage.reasoning_tokens,
    }
    return {name: count for name, count in details.items() if count}
