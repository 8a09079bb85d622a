"""Asking for the next message: each attempt is paid for once, and a budget bounds the length of its answer."""

import asyncio
from pathlib import Path

import pytest

from natscope.contracts import errors
from natscope.contracts.blocks import TextBlock
from natscope.contracts.model import Chat, Usage
from natscope.telemetry import TelemetrySettings, telemetry_for
from services.model_gateway.accounting.tokens import Estimator
from services.model_gateway.catalog.reloading import Models
from services.model_gateway.deltas import Deltas
from services.model_gateway.ports import Piece, Reply
from services.model_gateway.talking import OUTPUT_TOKENS, Said, Talker
from services.model_gateway.trying.attempts import Attempts, Outcome
from services.model_gateway.trying.course import Patience
from services.model_gateway.ways import Ways
from tests.unit.model_gateway.fakes import Act, FakeAccounts, FakeProvider, Heard, answer, fault, question
from tests.unit.model_gateway.making_fakes import FakeCharges

MODELS = """\
providers:
  fake: {kind: scripted}
aliases:
  default:
    targets: [{provider: fake, model: m-1, max_output_tokens: 128000}]
"""


class House:
    """A talker with one provider, and whom it pays."""

    def __init__(self, folder: Path, *acts: Act) -> None:
        path = folder / "models.yaml"
        path.write_text(MODELS)
        models = Models(path, {})
        telemetry = telemetry_for("test", TelemetrySettings.model_construct(endpoint=None, keep=False))
        self.provider = FakeProvider(*acts)
        self.charges = FakeCharges()
        self._ways = Ways(models, FakeAccounts(fake=[self.provider]))
        attempts = Attempts(telemetry, Patience(first_s=0.01))
        self._talker = Talker(models, attempts, self.charges, Estimator(), deadline_s=5)

    async def ask(self, ask: Chat, *, stream: bool = False) -> Outcome[Said]:
        deltas = Deltas(Heard().say, "deltas") if stream else None
        return await self._talker.run(ask, ask, self._ways(ask.model, "chat"), deltas)

    def paid(self) -> list[tuple[str, Usage | None]]:
        return [(charge.state, charge.usage) for charge in self.charges.held]


class TestAnAttempt:
    async def test_that_is_answered_is_charged_what_its_provider_counted(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        assert (await house.ask(question())).value.cost_usd == 0.5
        assert house.paid() == [("settled", Usage(input_tokens=3, output_tokens=2))]
        assert not house.charges.held[0].estimated

    async def test_whose_tokens_nobody_counted_is_charged_by_an_estimate(self, tmp_path: Path) -> None:
        house = House(tmp_path, Reply([TextBlock(text="Yes, of course.")], "stop", Usage(), "m-1"))
        await house.ask(question())
        charge = house.charges.held[0]
        assert charge.usage is not None
        assert charge.usage.input_tokens == charge.tokens.input
        assert charge.usage.output_tokens > 0
        assert charge.estimated

    async def test_that_failed_costs_nothing_and_the_next_one_is_charged(self, tmp_path: Path) -> None:
        house = House(tmp_path, fault("server_error"), answer())
        await house.ask(question())
        assert [state for state, _ in house.paid()] == ["released", "settled"]

    async def test_that_broke_off_is_charged_for_what_it_had_written(self, tmp_path: Path) -> None:
        house = House(tmp_path, Piece("text", 0, "12345678"), fault("cut"), answer())
        await house.ask(question(), stream=True)
        (first, spent), (second, _) = house.paid()
        assert (first, second) == ("settled", "settled")
        assert spent is not None
        assert spent.output_tokens == 2
        assert house.charges.held[0].estimated

    async def test_that_is_cancelled_while_it_writes_is_charged_for_what_it_had_written(self, tmp_path: Path) -> None:
        house = House(tmp_path, Piece("text", 0, "1234"), 60.0)
        asking = asyncio.create_task(house.ask(question(), stream=True))
        await house.provider.busy.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        ((state, spent),) = house.paid()
        assert (state, spent and spent.output_tokens) == ("settled", 1)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_that_is_cancelled_before_it_writes_is_charged_for_its_prompt(
        self, tmp_path: Path, stream: bool
    ) -> None:
        house = House(tmp_path, 60.0)
        asking = asyncio.create_task(house.ask(question(), stream=stream))
        await house.provider.busy.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        (charge,) = house.charges.held
        assert (charge.state, charge.estimated) == ("settled", True)
        assert charge.usage == Usage(input_tokens=charge.tokens.input)

    async def test_is_not_made_if_nothing_may_be_reserved_for_it(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        house.charges.refusal = errors.BudgetExhausted("no room", details={"scope": "tenant"})
        with pytest.raises(errors.BudgetExhausted):
            await house.ask(question())
        assert house.provider.prompts == []


class TestTheLengthOfAnAnswer:
    async def test_is_not_bounded_without_a_budget(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        await house.ask(question())
        assert house.provider.prompts[0].ask.generation.max_output_tokens is None
        assert house.provider.prompts[0].max_output_tokens == 128_000

    async def test_is_bounded_by_what_a_budget_has_room_for(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        house.charges.max_output_tokens = 2000
        await house.ask(question())
        assert house.provider.prompts[0].ask.generation.max_output_tokens == 2000

    async def test_stays_as_it_was_asked_for_where_that_is_less(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        house.charges.max_output_tokens = 2000
        await house.ask(question(generation={"max_output_tokens": 100}))
        assert house.provider.prompts[0].ask.generation.max_output_tokens == 100

    async def test_that_nobody_asked_for_is_not_reckoned_as_the_longest_the_model_writes(self, tmp_path: Path) -> None:
        house = House(tmp_path)
        await house.ask(question())
        tokens = house.charges.held[0].tokens
        assert tokens.output == OUTPUT_TOKENS
        assert tokens.least_output is not None
        assert tokens.least_output < OUTPUT_TOKENS
