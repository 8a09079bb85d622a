"""Every attack of the matrix is held by every backend, and succeeds in a container without walls."""

import contextlib
import platform
import socket
from collections.abc import Callable
from datetime import timedelta

import pytest

from services.tool_executor.cells import Outcome, Program, RunLimits
from tests.integration.tool_executor.adversarial.attack import THROUGH, Attack
from tests.integration.tool_executor.adversarial.attacks import IDENTITY, REACH, RESOURCES, TRACES
from tests.integration.tool_executor.adversarial.calls import CALLS
from tests.integration.tool_executor.adversarial.supervision import SUPERVISION
from tests.integration.tool_executor.adversarial.walls import House, Unhardened

MATRIX = [
    *RESOURCES,
    *IDENTITY,
    *REACH,
    *TRACES,
    *SUPERVISION,
    *(CALLS if platform.machine() == "x86_64" else ()),
]
pytestmark = pytest.mark.asyncio(loop_scope="module")
named = pytest.mark.parametrize("attack", MATRIX, ids=lambda attack: attack.name)


async def run(house: House, attack: Attack, source: str) -> Outcome:
    limits = RunLimits(wall_clock=timedelta(seconds=attack.seconds))
    return await (await house.usable()).run(Program(attack.language, source), limits)


class TestACell:
    @named
    async def test_holds(self, house: House, attack: Attack) -> None:
        outcome = await run(house, attack, attack.source)
        told = outcome.stdout.text
        if attack.probe:
            looked = await run(house, attack, attack.probe)
            assert looked.exit_code == 0, looked.stderr.text
            told += looked.stdout.text
        assert THROUGH not in told
        if outcome.timed_out:
            assert outcome.duration < timedelta(seconds=attack.seconds + 20)
        cell = await house.usable()
        after = await cell.run(Program("shell", "rm -rf /workspace/* /tmp/* /dev/shm/*; echo usable"), RunLimits())
        assert after.stdout.text == "usable\n"


@pytest.mark.docker
class TestAContainerWithoutWalls:
    @named
    async def test_does_not_hold(self, unhardened: Callable[[str], Unhardened], attack: Attack) -> None:
        container = unhardened(attack.control)
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
            if attack.name.endswith(("socket of the host's", "by a link")):
                path = container.shared / "worker.sock"
                path.unlink(missing_ok=True)
                listening.bind(str(path))
            source = f"{attack.source}\n{attack.probe}" if attack.one_interpreter else attack.source
            done = container.run(attack.language, source, *attack.wrapper, stdin=attack.stdin)
            told = done.stdout + done.stderr
            if attack.probe and not attack.one_interpreter:
                told += container.run(attack.language, attack.probe).stdout
        assert THROUGH in told.decode("utf-8", "replace")
