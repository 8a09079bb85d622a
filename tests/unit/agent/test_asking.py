"""What is put into a stream while the server is away."""

import pytest

from natscope.contracts.errors import BusUnavailable, Overloaded
from services.agent.asking import persist


class Away:
    """A server that cannot be reached so often, and then takes what is put."""

    def __init__(self, *, times: int) -> None:
        self.tries = 0
        self._times = times

    async def put(self) -> None:
        self.tries += 1
        if self.tries <= self._times:
            raise BusUnavailable("no answer")


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
