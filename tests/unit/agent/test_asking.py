"""What is asked, and what is put into a stream, while those who would take it are away."""

import asyncio

import pytest

from natscope.contracts import memory
from natscope.contracts.errors import (
    BusUnavailable,
    DeadlineExceeded,
    NatscopeError,
    Overloaded,
    RunFenced,
    ServiceNotRunning,
)
from services.agent.asking import ENOUGH_S, insist, persist


class Away:
    """A server that cannot be reached so often, and then takes what is put."""

    def __init__(self, *, times: int) -> None:
        self.tries = 0
        self._times = times

    async def put(self) -> None:
        self.tries += 1
        if self.tries <= self._times:
            raise BusUnavailable("no answer")


class Slow:
    """A bus that tells that nobody listens, but takes its time to do so."""

    async def ask(self, *_: object, deadline_s: float) -> memory.Cleared:
        if deadline_s < 0.9 * ENOUGH_S:
            await asyncio.sleep(deadline_s)
            raise DeadlineExceeded("no answer")
        raise ServiceNotRunning("nobody listens")


class Fenced:
    """A bus behind which somebody loses the work so often to somebody else, who has it done by then."""

    def __init__(self, *, times: int) -> None:
        self._times = times

    async def ask(self, *_: object, **__: object) -> memory.Cleared:
        self._times -= 1
        if self._times >= 0:
            raise RunFenced("another has it")
        return memory.Cleared(removed=1)


class TestWhatIsAsked:
    @pytest.mark.parametrize(("times", "comes"), [(2, True), (1000, False)])
    async def test_of_who_lost_it_to_another_is_asked_again_until_the_deadline(
        self, times: int, *, comes: bool
    ) -> None:
        bus = Fenced(times=times)
        asking = insist(
            bus,  # pyright: ignore[reportArgumentType] - all that is asked of a bus here
            memory.CLEAR,
            memory.Clear(session="s"),
            deadline_s=1.0,
            patience_s=60,
        )
        if comes:
            await asking
            return
        with pytest.raises(DeadlineExceeded, match="has lost it"):
            await asking

    @pytest.mark.parametrize(("deadline_s", "error"), [(1.6, ServiceNotRunning), (0.1, DeadlineExceeded)])
    async def test_of_nobody_ends_with_what_is_known_and_not_with_an_ask_too_short_to_tell(
        self, deadline_s: float, error: type[NatscopeError]
    ) -> None:
        with pytest.raises(error):
            await insist(
                Slow(),  # pyright: ignore[reportArgumentType] - all that is asked of a bus here
                memory.CLEAR,
                memory.Clear(session="s"),
                deadline_s=deadline_s,
                patience_s=60,
            )


class TestWhatIsPut:
    async def test_is_put_again_until_the_server_is_back(self) -> None:
        server = Away(times=2)
        await persist(server.put)
        assert server.tries == 3

    async def test_is_given_up_after_so_long(self) -> None:
        server = Away(times=100)
        with pytest.raises(BusUnavailable):
            await persist(server.put, patience_s=0.3)
        assert 1 < server.tries < 100

    async def test_is_not_put_again_if_it_is_refused(self) -> None:
        tries = 0

        async def put() -> None:
            nonlocal tries
            tries += 1
            raise Overloaded("the stream is full")

        with pytest.raises(Overloaded):
            await persist(put)
        assert tries == 1
