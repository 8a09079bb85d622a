"""Follows the models file: what it says holds as soon as it is written, and a wrong file changes nothing."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from natscope.contracts.errors import NatscopeError
from services.model_gateway.catalog.entries import Environment
from services.model_gateway.catalog.models_file import Catalog

log = logging.getLogger(__name__)

Follow = Callable[[Catalog], Awaitable[None]]
"""Takes over another catalog."""
Stamp = tuple[int, int, int] | None


class Models:
    """The models file as it is in force."""

    def __init__(self, path: Path, environment: Environment) -> None:
        """The environment is read now and never again.

        Raises:
            SpecInvalid: the file is wrong; the message names line and field.
        """
        self._path = path
        self._environment = dict(environment)
        self._stamp = _stamp(path)
        self.catalog = self._read()
        """The last one that was right."""
        self.fault: str | None = None
        """What is wrong with the file as it is now, if it is not in force."""

    @asynccontextmanager
    async def followed(self, *follow: Follow, every_s: float) -> AsyncGenerator[None]:
        """Look every so often whether the file has changed, while the body runs; `follow` hears of each new catalog."""
        task = asyncio.create_task(self._watch(follow, every_s))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look(self, *follow: Follow) -> bool:
        """Read the file if it has changed; return whether it is in force now and was not before."""
        stamp = await asyncio.to_thread(_stamp, self._path)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.catalog = await asyncio.to_thread(self._read)
        except NatscopeError as error:
            self.fault = str(error)
            log.error("models file is wrong, the one before stays in force", extra={"fault": self.fault})
            return False
        self.fault = None
        for each in follow:
            await each(self.catalog)
        log.info("models file in force", extra={"aliases": [info.alias for info in self.catalog.infos()]})
        return True

    async def _watch(self, follow: tuple[Follow, ...], every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.look(*follow)
            except Exception:
                log.exception("models file cannot be followed")

    def _read(self) -> Catalog:
        catalog = Catalog.read(self._path, self._environment)
        catalog.check()
        return catalog


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
