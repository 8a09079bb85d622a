"""Asking one hook: a function of this process, or whoever serves it, within its deadline."""

import asyncio
import logging

from natscope.agents import check_writable
from natscope.bus import Bus
from natscope.contracts.errors import DeadlineExceeded, FunctionFailed, NatscopeError, SpecInvalid
from natscope.contracts.hook import ASK, Answer, Asked, Hook
from natscope.hooks import HookFunction
from services.agent.asking import insist
from services.agent.custom.loading import Functions
from services.agent.hooks.fitting import check

log = logging.getLogger(__name__)


class Hooking:
    """The hooks that this process can reach."""

    def __init__(self, bus: Bus, functions: Functions) -> None:
        self.bus = bus
        self._functions = functions
        self._under_way: set[asyncio.Task[Answer]] = set()

    async def ask(self, hook: Hook, asked: Asked) -> Answer:
        """Return what a hook makes of what it is asked.

        Raises:
            DeadlineExceeded: it took too long.
            NatscopeError: it is not there, it failed, or its answer does not fit.
        """
        deadline_s = hook.deadline.total_seconds()
        if ":" not in hook.hook:
            answer = await insist(self.bus, ASK, asked, hook.hook, deadline_s=deadline_s, patience_s=deadline_s)
        else:
            answer = await self._call(hook.hook, asked, deadline_s)
        check(asked.point, answer)
        return answer

    async def _call(self, name: str, asked: Asked, deadline_s: float) -> Answer:
        function = self._functions.find(name, HookFunction, where="hook", remedy="write `@natscope.hook` above it")
        with self.bus.telemetry.span(f"hook {asked.point}"):
            work = asyncio.create_task(_run(name, function, asked))
            self._under_way.add(work)
            work.add_done_callback(self._ended)
            try:
                # one that catches its cancellation goes on: it is waited for no longer
                await asyncio.wait([work], timeout=deadline_s)
                if not work.done():
                    raise DeadlineExceeded(f"it did not end within {deadline_s:g} s")
            finally:
                work.cancel()
            answer = work.result()
        if not isinstance(answer, Answer):  # pyright: ignore[reportUnnecessaryIsInstance] - others write these functions
            raise SpecInvalid(f"it has returned {type(answer).__name__}, which is no `natscope.hooks.Answer`")
        check_writable("its answer", answer.model_dump(mode="json"))
        return answer

    def _ended(self, work: "asyncio.Task[Answer]") -> None:
        self._under_way.discard(work)
        _ = work.cancelled() or work.exception()


async def _run(name: str, function: HookFunction, asked: Asked) -> Answer:
    try:
        return await function(asked)
    except NatscopeError:
        raise
    except (Exception, SystemExit) as error:
        log.exception("a hook has failed", extra={"hook": name})
        raise FunctionFailed(f"it has raised {type(error).__name__}: {error}") from error
