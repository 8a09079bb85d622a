"""One call through the loop, along routes of programmed providers, with what was heard and traced."""

import asyncio
from collections.abc import Sequence

from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from natscope.contracts.model import Delta
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.catalog.models_file import Target
from services.model_gateway.deltas import Deltas
from services.model_gateway.ports import Prompt, Reply
from services.model_gateway.trying.attempts import Attempts, Outcome
from services.model_gateway.trying.breaker import Breakers, Rules
from services.model_gateway.trying.course import Patience
from services.model_gateway.trying.routes import Route
from tests.unit.model_gateway.fakes import Act, FakeAccount, FakeProvider, Heard, question

QUICK = Patience(first_s=0.01, honoured_s=0.5)


def route(provider: FakeProvider, name: str = "fake", *, model: str = "m-1", **more: object) -> Route:
    """Return a way to ask `provider`; `context_size` and `patience_s` may be said."""
    patience_s = more.get("patience_s")
    size = more.get("context_size")
    assert patience_s is None or isinstance(patience_s, float)
    assert size is None or isinstance(size, int)
    return Route(Target(name, model, context_size=size), FakeAccount(name, provider, patience_s=patience_s))


def keys(model: str, *providers: FakeProvider) -> list[Route]:
    """Return the ways to ask one model with several keys."""
    target = Target("fake", model)
    return [Route(target, FakeAccount(f"fake-{place}", each)) for place, each in enumerate(providers)]


def in_loop_time(rules: Rules | None = None) -> Breakers:
    """Return the breakers of one replica, by the clock of the loop that waits for them."""
    return Breakers(rules=rules, clock=asyncio.get_running_loop().time)


class Trip:
    """A loop, and what came of it."""

    def __init__(
        self, *, patience: Patience = QUICK, breakers: Breakers | None = None, deadline_s: float = 5.0
    ) -> None:
        self.heard = Heard()
        self.spans = InMemorySpanExporter()
        telemetry = telemetry_for(
            "test",
            TelemetrySettings.model_construct(endpoint=None, disabled=False),
            processors=[SimpleSpanProcessor(self.spans)],
        )
        self._attempts = Attempts(telemetry, patience, breakers or in_loop_time())
        self._deadline_s = deadline_s

    async def run(
        self, ways: Sequence[Route], *, stream: bool = False, filtered_goes_on: bool = False
    ) -> Outcome[Reply]:
        """Ask along `ways`."""
        deltas = Deltas(self.heard.say, "deltas") if stream else None

        async def once(way: Route, timeout_s: float, attempt: int) -> Reply:
            prompt = Prompt(question(), way.target.model, timeout_s)
            return await way.provider.chat(prompt, deltas.hear if deltas else None)

        return await self._attempts.run(
            ways, once, deadline_s=self._deadline_s, deltas=deltas, filtered_goes_on=filtered_goes_on
        )


class Trial(Trip):
    """A trip along one route."""

    def __init__(self, *acts: Act, patience: Patience = QUICK, deadline_s: float = 5.0) -> None:
        super().__init__(patience=patience, deadline_s=deadline_s)
        self.provider = FakeProvider(*acts)

    async def ask(self, *, stream: bool = False) -> Reply:
        """Ask the one route."""
        return (await self.run([route(self.provider)], stream=stream)).value


def rejoined(deltas: list[Delta]) -> str:
    """Return the text as a listener has it that follows the rules of `Delta`."""
    text, attempt, following = "", 1, 0
    for delta in deltas:
        if delta.kind == "reset":
            text, attempt, following = "", delta.attempt, 0
        assert (delta.attempt, delta.sequence) == (attempt, following)
        text, following = text + delta.text, following + 1
    return text
