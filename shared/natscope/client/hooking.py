"""Serving hooks from any process: agents whose files name them ask at `hook.ask.<name>`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from natscope.bus.answering import Doors
from natscope.bus.settings import BusSettings
from natscope.client.hosting import must_be_let, open_host
from natscope.contracts.errors import SpecInvalid
from natscope.contracts.hook import ASK
from natscope.hooks import HookFunction

WORKERS = 64


@asynccontextmanager
async def serve_hooks(
    *hooks: HookFunction, host: str = "hooks", settings: BusSettings | None = None
) -> AsyncGenerator[list[str]]:
    """Serve hooks under the names of their functions for as long as the body runs; give the names.

    Processes of the same `host` share what is asked. When a hook raises, it is as the agent's file says (`on_failure`).

    Raises:
        SpecInvalid: two hooks have the same name.
        BusUnavailable: NATS has no streams, or whoever we are there may not serve hooks.
    """
    names = [each.name for each in hooks]
    if len(set(names)) < len(names):
        raise SpecInvalid("two hooks have the same name")
    async with open_host(host, description="Serves hooks.", settings=settings) as room:
        doors = Doors(room.bus)
        for each in hooks:
            doors.answers(ASK, key=each.name, queue=host, workers=WORKERS)(each)
        await room.serve(doors)
        must_be_let(room)
        yield names
