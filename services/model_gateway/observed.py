"""What a model call shows of itself: its span and its metrics, by the names of the GenAI conventions."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from natscope.contracts.model import Chat, Usage
from natscope.telemetry import Telemetry, names
from natscope.telemetry.setup import error_type
from services.model_gateway.talking import Said
from services.model_gateway.trying.attempts import Outcome
from services.model_gateway.trying.routes import Route

Attributes = dict[str, AttributeValue]


class Seen:
    """What is shown of one model call while it is under way."""

    def __init__(self, telemetry: Telemetry, span: Span, way: Route) -> None:
        self._telemetry = telemetry
        self._span = span
        self.where = _where(way)
        """Who answers, as far as is known; it changes when another provider does."""

    def answered(self, outcome: Outcome[Said], *, first_s: float | None) -> None:
        """Note what came of it, and from whom; `first_s` is when its first piece came, if it was streamed."""
        reply, usage = outcome.value.reply, outcome.value.reply.usage
        self.where = _where(outcome.route)
        attributes: Attributes = {
            **self.where,
            names.RESPONSE_MODEL: reply.model,
            names.RESPONSE_FINISH_REASONS: (reply.finish_reason,),
            names.INPUT_TOKENS: usage.input_tokens,
            names.OUTPUT_TOKENS: usage.output_tokens,
            **_details(usage),
        }
        if reply.response_id is not None:
            attributes[names.RESPONSE_ID] = reply.response_id
        if outcome.attempts > 1:
            attributes[names.ATTEMPTS] = outcome.attempts
        if first_s is not None:
            attributes[names.TIME_TO_FIRST_CHUNK] = first_s
            self._telemetry.record(names.INFERENCE_FIRST_CHUNK, first_s, self.where)
        if (cost_usd := outcome.value.cost_usd) is not None:
            attributes[names.COST] = cost_usd
            self._telemetry.count(names.INFERENCE_COST, cost_usd, self.where)
        self._span.set_attributes(attributes)
        self._count(usage)

    def repaired(self, rules: Sequence[str]) -> None:
        """Note what was put right by rule."""
        if rules:
            self._span.set_attribute(names.REPAIRED, tuple(rules))

    def failed(self) -> None:
        """Count a call that used nothing."""
        self._count(Usage())

    def _count(self, usage: Usage) -> None:
        tokens: Attributes = {**self.where, names.TOKEN_MODALITY: "unknown"}
        for name, count in (
            (names.INFERENCE_INPUT_TOKENS, usage.input_tokens),
            (names.INFERENCE_OUTPUT_TOKENS, usage.output_tokens),
            (names.INFERENCE_CACHE_READ_TOKENS, usage.cache_read_tokens),
            (names.INFERENCE_CACHE_WRITE_TOKENS, usage.cache_write_tokens),
            (names.INFERENCE_REASONING_TOKENS, usage.reasoning_tokens),
        ):
            self._telemetry.count(name, count, tokens)


@contextmanager
def observed(telemetry: Telemetry, ask: Chat, way: Route) -> Iterator[Seen]:
    """Run a model call, retries included, inside its span; its duration is recorded however it ends."""
    began = time.perf_counter()
    name = f"chat {way.target.model}"
    with telemetry.span(name, kind=SpanKind.CLIENT, attributes={**_where(way), **_asked(ask)}) as span:
        seen = Seen(telemetry, span, way)
        try:
            yield seen
        except BaseException as error:
            took_s = time.perf_counter() - began
            telemetry.record(names.INFERENCE_DURATION, took_s, {**seen.where, names.ERROR_TYPE: error_type(error)})
            seen.failed()
            raise
        telemetry.record(names.INFERENCE_DURATION, time.perf_counter() - began, seen.where)


def _where(way: Route) -> Attributes:
    where: Attributes = {
        names.OPERATION: "chat",
        names.PROVIDER: way.provider.name,
        names.REQUEST_MODEL: way.target.model,
    }
    if way.provider.address is not None:
        where[names.SERVER_ADDRESS], where[names.SERVER_PORT] = way.provider.address
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
