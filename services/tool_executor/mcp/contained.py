"""A server that is a container of its own: lines over the engine's stream, and an end that leaves nothing behind."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from natscope.contracts.errors import SandboxUnavailable, ToolUnavailable
from services.tool_executor.cells import Lives
from services.tool_executor.docker_cells import HOUSE, INSTANCE, OWNER, PLATFORM, PROGRAM
from services.tool_executor.docker_engine import Engine
from services.tool_executor.docker_programs import ContainedProgram, create_program
from services.tool_executor.docker_settings import DockerSettings
from services.tool_executor.mcp.programs import CLOSE_S, WORDS_BYTES, WORDS_S, lines_of, to_the_end
from services.tool_executor.owner import Owner, own_container
from services.tool_executor.pipes import AttachedPipe
from services.tool_executor.settings import Settings

log = logging.getLogger(__name__)

_GUARD = Path(__file__).with_name("guard.py")


@asynccontextmanager
async def containers_for(settings: Settings, instance: str, lives: Lives) -> AsyncGenerator["Containers | None"]:
    """Give what makes containers, for as long as the body runs; None where there is no profile to wall them in.

    The engine is not asked before a container is wanted.
    """
    try:
        containers = Containers(DockerSettings.of(settings), Owner.here(instance), lives)
    except OSError as error:
        log.warning("no server can run in a container", extra={"reason": str(error)})
        yield None
        return
    try:
        yield containers
    finally:
        await containers.close()


class Containers:
    """Makes containers for programs, and removes those that a dead executor has left."""

    def __init__(self, settings: DockerSettings, owner: Owner, lives: Lives, engine: Engine | None = None) -> None:
        self._settings = settings
        self._owner = owner
        self._lives = lives
        self._engine = engine or Engine()
        self._reaping: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self, program: ContainedProgram) -> AsyncGenerator["Contained"]:
        """Run `program` for as long as the body runs; its container is gone after that, however the body ends.

        Raises:
            ToolUnavailable: it cannot be started.
        """
        self._reaping = self._reaping or asyncio.create_task(self._reap())
        image = program.image or self._settings.image
        making = asyncio.ensure_future(self._make(replace(program, image=image)))
        try:
            id, pipe = await asyncio.shield(making)
        except asyncio.CancelledError:
            await to_the_end(asyncio.create_task(self._unmake(making)))
            raise
        except SandboxUnavailable as error:
            raise ToolUnavailable(f"no container of {image!r}: {error.message}", remedy=error.remedy) from error
        found = Contained(pipe)
        try:
            yield found
        finally:
            await to_the_end(asyncio.create_task(self._end(id, found)))

    async def close(self) -> None:
        """Let go of the engine."""
        if self._reaping is not None:
            self._reaping.cancel()
            await asyncio.gather(self._reaping, return_exceptions=True)
        self._engine.close()

    async def _make(self, program: ContainedProgram) -> tuple[str, "_Pipe"]:
        labels = {
            PLATFORM: self._settings.platform,
            INSTANCE: self._owner.instance,
            OWNER: self._owner.mark,
            HOUSE: await self._engine.incarnation(own_container()),
            PROGRAM: program.command[0],
        }
        id = await create_program(self._engine, self._settings, program, _GUARD.read_text(), labels)
        try:
            attached = await self._engine.attach(id)
            pipe = _Pipe(*await asyncio.open_connection(sock=attached))
            await self._engine.start(id)
        except BaseException:
            await asyncio.shield(self._remove(id))
            raise
        return id, pipe

    async def _unmake(self, making: "asyncio.Future[tuple[str, _Pipe]]") -> None:
        try:
            id, pipe = await making
        except SandboxUnavailable:
            return
        await pipe.close()
        await self._remove(id)

    async def _end(self, id: str, found: "Contained") -> None:
        await found.end()
        await self._remove(id)

    async def _remove(self, id: str) -> None:
        try:
            await self._engine.remove(id)
        except SandboxUnavailable as error:
            log.warning("container not removed", extra={"container": id[:12], "reason": error.message})

    async def _reap(self) -> None:
        """Remove the containers of programs whose executor is dead; where cells are Docker's, that is done again."""
        try:
            for container in await self._engine.labelled(f"{PLATFORM}={self._settings.platform}"):
                labels = container.get("Labels") or {}
                instance, mark = labels.get(INSTANCE, ""), labels.get(OWNER, "")
                if PROGRAM in labels and await self._owner.of_the_dead(mark, instance, self._lives):
                    await self._remove(container["Id"])
        except SandboxUnavailable as error:
            log.warning("orphans not looked for", extra={"reason": error.message})


class _Pipe(AttachedPipe):
    """An attached stream that keeps the end of what came on standard error."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer, self._keep)
        self.words = bytearray()

    def _keep(self, data: bytes) -> None:
        self.words += data
        del self.words[:-WORDS_BYTES]


class Contained:
    """Implements `Speaking` over an attached stream."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self._over = asyncio.Event()

    def lines(self) -> AsyncIterator[bytes]:
        """Give what it writes; see `Speaking`."""
        return lines_of(self._read)

    async def write(self, line: bytes) -> None:
        """Send one line; see `Speaking`."""
        await self._pipe.write(line + b"\n")

    async def last_words(self) -> str:
        """Return the end of what it has said on standard error; see `Speaking`."""
        await self._to_its_end(WORDS_S)
        return self._pipe.words.decode("utf-8", "replace").strip()

    async def end(self) -> None:
        """Have it end itself, for a moment, and let go of it; its container is to be removed then."""
        self._pipe.end()
        await self._to_its_end(CLOSE_S)
        await self._pipe.close()

    async def _read(self) -> bytes:
        data = await self._pipe.read()
        if not data:
            self._over.set()
        return data

    async def _to_its_end(self, within_s: float) -> None:
        """Read what nobody wants any more, until there is no more or the time is up."""
        try:
            async with asyncio.timeout(within_s):
                while not self._over.is_set():
                    await self._read()
        except (TimeoutError, OSError, RuntimeError):
            return
