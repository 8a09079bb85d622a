"""The doors of the tool executor."""

from typing import TypeVar

from nats.aio.msg import Msg

from natscope.bus import Bus, Doors
from natscope.bus.answering import Handler
from natscope.contracts import tool, workspace
from natscope.contracts.door import AnswerT, Command
from services.tool_executor.calls import Calls
from services.tool_executor.homes import Homes
from services.tool_executor.offering import Offer
from services.tool_executor.sessions import Sessions
from services.tool_executor.workspaces import Workspaces

WorkspaceT = TypeVar(
    "WorkspaceT",
    workspace.List,
    workspace.Read,
    workspace.Write,
    workspace.Remove,
    workspace.Snapshot,
    workspace.Restore,
)


def doors(bus: Bus, calls: Calls, offer: Offer, *, workers: int) -> Doors:
    """Return the doors that are always there: `tool.list`, and calls for this process's cells."""
    found = Doors(bus)
    found.answers(tool.HELD, key=offer.instance, workers=workers)(calls.carry_out_here)

    @found.answers(tool.LIST, queue="")
    async def tools(_: tool.List) -> tool.Listed:
        return offer.listed

    return found


def workspace_doors(bus: Bus, workspaces: Workspaces, homes: Homes, *, instance: str, workers: int) -> Doors:
    """Return `workspace.*`: each is answered by the process that holds the session's cell, whichever is asked."""
    found = Doors(bus)

    def answer(
        door: Command[WorkspaceT, AnswerT], held: Command[WorkspaceT, AnswerT], here: Handler[WorkspaceT, AnswerT]
    ) -> None:
        async def anywhere(body: WorkspaceT) -> AnswerT:
            there = await homes.ask_there(held, body, body.session)
            return await here(body) if there is None else there

        found.answers(door, workers=workers)(anywhere)
        found.answers(held, key=instance, workers=workers)(here)

    answer(workspace.LIST, workspace.LIST_HELD, workspaces.list)
    answer(workspace.READ, workspace.READ_HELD, workspaces.read)
    answer(workspace.WRITE, workspace.WRITE_HELD, workspaces.write)
    answer(workspace.REMOVE, workspace.REMOVE_HELD, workspaces.remove)
    answer(workspace.SNAPSHOT, workspace.SNAPSHOT_HELD, workspaces.snapshot)
    answer(workspace.RESTORE, workspace.RESTORE_HELD, workspaces.restore)
    return found


async def listen(bus: Bus, calls: Calls, sessions: Sessions) -> None:
    """Hear from now on which calls are no longer wanted and which sessions are over; every replica does."""

    async def cancelled(message: Msg) -> None:
        calls.cancel(*tool.CANCELLED.keys_in(message.subject))

    async def ended(message: Msg) -> None:
        await sessions.end(*tool.ENDED.keys_in(message.subject))

    await bus.nc.subscribe(tool.CANCELLED.wildcard, cb=cancelled)
    await bus.nc.subscribe(tool.ENDED.wildcard, cb=ended)
