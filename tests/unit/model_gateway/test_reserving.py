"""Room that is reserved before it is known whether it is needed."""

import asyncio

import pytest

from natscope.contracts.errors import BudgetExhausted
from services.model_gateway.catalog.models_file import Target
from services.model_gateway.paying import Charge, Tokens
from services.model_gateway.reserving import Reserved
from services.model_gateway.trying.routes import Route
from tests.unit.model_gateway.fakes import FakeAccount, FakeProvider
from tests.unit.model_gateway.making_fakes import FakeCharge

HERE, ELSEWHERE = (Route(Target("p", "m"), FakeAccount("fake-0", FakeProvider())) for _ in range(2))


class Watched(FakeCharge):
    """A reservation that says when it is given back."""

    def __init__(self) -> None:
        super().__init__(Tokens(1))
        self.is_back = asyncio.Event()

    async def release(self) -> None:
        await super().release()
        self.is_back.set()


class House:
    """One reservation; it is granted when `room` is set."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.charge = Watched()
        self.room = asyncio.Event()
        self._refusal = refusal
        self.reserved = Reserved(HERE, self._hold)

    async def _hold(self) -> Charge:
        await self.room.wait()
        if self._refusal is not None:
            raise self._refusal
        return self.charge


class TestReserved:
    async def test_it_is_taken_once(self) -> None:
        house = House()
        house.room.set()
        assert await house.reserved.take(HERE) is house.charge
        assert await house.reserved.take(HERE) is None
        house.reserved.drop()
        assert house.charge.state == "held"

    async def test_another_route_cannot_take_it_and_it_is_given_back(self) -> None:
        house = House()
        house.room.set()
        await _turns()
        assert await house.reserved.take(ELSEWHERE) is None
        await _turns()
        assert house.charge.state == "released"
        assert await house.reserved.take(HERE) is None

    async def test_who_takes_it_early_waits_for_room(self) -> None:
        house = House()
        taking = asyncio.create_task(house.reserved.take(HERE))
        await asyncio.sleep(0)
        assert not taking.done()
        house.room.set()
        assert await taking is house.charge

    async def test_a_refusal_is_for_who_waits_for_it(self) -> None:
        house = House(BudgetExhausted("full"))
        taking = asyncio.create_task(house.reserved.take(HERE))
        await asyncio.sleep(0)
        house.room.set()
        with pytest.raises(BudgetExhausted):
            await taking

    async def test_a_refusal_from_before_is_no_refusal_now(self) -> None:
        house = House(BudgetExhausted("full"))
        house.room.set()
        await _turns()
        assert await house.reserved.take(HERE) is None

    @pytest.mark.parametrize("granted", [True, False])
    async def test_what_is_dropped_is_given_back_and_cannot_be_taken(self, granted: bool) -> None:
        house = House()
        if granted:
            house.room.set()
        await _turns()
        house.reserved.drop()
        await _turns()
        assert house.charge.state == ("released" if granted else "held")
        assert await house.reserved.take(HERE) is None

    async def test_what_nobody_takes_for_a_second_is_given_back(self) -> None:
        house = House()
        house.room.set()
        async with asyncio.timeout(10):
            await house.charge.is_back.wait()
        assert await house.reserved.take(HERE) is None

    async def test_who_stops_waiting_for_it_leaves_nothing_reserved(self) -> None:
        house = House()
        taking = asyncio.create_task(house.reserved.take(HERE))
        await asyncio.sleep(0)
        house.room.set()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        await _turns()
        assert await house.reserved.take(HERE) is None


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
