"""`python -m tests.chaos.lifecycle`: how soon the sandbox is itself again when its executor or its engine has died.

The engine's death is a socket in front of it that is cut or holds still. With `--restart-engine` it is the engine's
own, which takes every other container of it along: only where nothing else needs it.
"""

import argparse
import asyncio
import contextlib
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import docker
import docker.errors
from requests.exceptions import RequestException

from natscope.bus import BusSettings, connect
from natscope.bus.streams import StreamSettings, provision
from natscope.contracts import tool
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.errors import NatscopeError
from tests.chaos.sandbox_house import IMAGE, POOL, House, until
from tests.chaos.times import Times
from tests.nats_server import NatsServer

ANSWERED_S, GONE_S, REFILLED_S = 1, 2, 5
"""What is promised: a live session's answer while the engine is away, no orphan after a restart, a full pool."""
_LIVE = "live"


@dataclass
class Lifecycle:
    """A house, what is measured of it, and what its live session was told."""

    house: House
    times: Times = field(default_factory=Times)
    told: Counter[str] = field(default_factory=Counter[str])

    async def executor_dies(self) -> None:
        """Kill the executor while its pool is full and a session is busy, and see what is left of it."""
        busy = asyncio.create_task(self._call("busy", "import time; print('on', flush=True); time.sleep(60)"))
        await until(lambda: len(self.house.workers()) > POOL, seconds=60)
        before = {found.pid for found in self.house.processes()}
        began = time.monotonic()
        await self.house.kill("executor")
        self.times.took("the executor answers again, from its kill -9 on", time.monotonic() - began)
        left = await until(
            lambda: not self.house.orphans() and not before & {found.pid for found in self.house.processes()},
            seconds=90,
        )
        self.times.took("no orphan is left, from when it answers", left, promised=GONE_S)
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        await until(self.house.full, seconds=90)

    async def engine_dies(self, restart: str | None, *, hangs: bool = False) -> None:
        """Have the engine die and come back under a live session; `restart` is the command that restarts it."""
        asking = asyncio.create_task(self._ask_on())
        await until(lambda: len(self.house.workers()) == POOL + 1, seconds=90)
        before, seen = {worker.pid for worker in self.house.workers()}, set[int]()

        def refilled() -> bool:
            seen.update(worker.pid for worker in self.house.workers())
            return len(seen - before) > POOL

        await (_restarted(restart) if restart else self._lost(hangs=hangs))
        took = await until(refilled, seconds=90)
        self.times.took("the pool is refilled, from when the engine answers", took, promised=REFILLED_S)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await self.house.bus.tell(tool.ENDED, tool.Ended(session=_LIVE), _LIVE)
        await until(self.house.full, seconds=90)

    async def _lost(self, *, hangs: bool) -> None:
        await (self.house.door.hang if hangs else self.house.door.cut)()
        await asyncio.sleep(1.5)
        await self.house.door.restore()

    async def _ask_on(self) -> None:
        """Call from one session all the time, and note how long each answer took."""
        while True:
            began = time.monotonic()
            self.told[told := await self._call(_LIVE, "print('there')")] += 1
            what = "service" if told == "success" else "error"
            self.times.took(f"a live session's answer ({what})", time.monotonic() - began, promised=ANSWERED_S)
            await asyncio.sleep(0.05)

    async def _call(self, session: str, code: str) -> str:
        """Return the result's state, or the code of the typed error."""
        use = ToolUseBlock(id="c1", name="execute_python", input={"code": code})
        ask = tool.Call(call_id=uuid.uuid4().hex, call=use, session=session)
        try:
            return (await self.house.bus.ask(tool.CALL, ask, "execute_python", deadline_s=90)).result.state
        except NatscopeError as error:
            return error.code


async def _restarted(command: str) -> None:
    """Return when the engine answers again."""
    await asyncio.to_thread(subprocess.run, command, shell=True, check=True)
    await until(_answers, seconds=120)


def _answers() -> bool:
    try:
        with contextlib.closing(docker.from_env(timeout=2)) as engine:
            return bool(engine.ping())
    except (docker.errors.DockerException, RequestException):
        return False


@asynccontextmanager
async def lifecycle(url: str, folder: Path, image: str | None) -> AsyncGenerator[Lifecycle]:
    """Run a house with a full pool; cells are Docker's, of `image`, or else bubblewrap's."""
    async with connect("guest", BusSettings(url=url)) as bus, House(bus, url, folder, image).open() as house:
        await until(house.full, seconds=90)
        yield Lifecycle(house)


async def measure(folder: Path, *, rounds: int, image: str | None, restart: str | None) -> Lifecycle:
    """Return what was measured in so many rounds."""
    server = NatsServer(folder / "nats").start()
    try:
        async with connect("provision", BusSettings(url=server.url)) as bus:
            await provision(bus.js, StreamSettings())
        async with lifecycle(server.url, folder, image) as measured:
            for number in range(rounds):
                await measured.executor_dies()
                if image:
                    await measured.engine_dies(restart, hangs=bool(number % 2))
        return measured
    finally:
        server.stop()


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.lifecycle", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", choices=("docker", "bubblewrap"), default="docker")
    parser.add_argument("--restart-engine", metavar="COMMAND", help="a shell's command; its containers go with it")
    options = parser.parse_args()
    image = IMAGE if options.backend == "docker" else None
    with tempfile.TemporaryDirectory(prefix="natscope-lifecycle-") as folder:
        made = measure(Path(folder), rounds=options.rounds, image=image, restart=options.restart_engine)
        measured = asyncio.run(made)
    print(f"{options.rounds} rounds, cells by {options.backend}\n{measured.times}")
    print(f"  what a live session was told: {dict(measured.told)}")


if __name__ == "__main__":
    main()
