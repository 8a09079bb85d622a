"""Every door of the house, in the order a task meets them."""

from typing import Any

from natscope.contracts import agent, approval, event, hook, hub, memory, model, run, schedule, task, tool, workspace
from natscope.contracts.door import Command, Durable, Event

Door = Command[Any, Any] | Durable[Any] | Event[Any]

DOORS: tuple[Door, ...] = (
    task.SUBMIT,
    task.SUBMIT_IN,
    task.DEFER,
    agent.ASK,
    schedule.ADD,
    schedule.LIST,
    schedule.PAUSE,
    schedule.RESUME,
    schedule.REMOVE,
    task.INTERRUPT,
    task.STEER,
    approval.DECIDE,
    event.HAPPENED,
    task.FINISHED,
    task.BURIED,
    run.JOURNALED,
    hook.ASK,
    model.CHAT,
    model.CANCELLED,
    model.LEARNED,
    model.LIST,
    model.EMBED,
    model.SPEAK,
    model.TRANSCRIBE,
    model.DRAW,
    model.USAGE,
    model.FIT,
    tool.CALL,
    tool.MCP,
    tool.HELD,
    tool.CHANGED,
    tool.CANCELLED,
    tool.LIST,
    tool.ENDED,
    workspace.LIST,
    workspace.READ,
    workspace.WRITE,
    workspace.REMOVE,
    workspace.SNAPSHOT,
    workspace.RESTORE,
    workspace.LIST_HELD,
    workspace.READ_HELD,
    workspace.WRITE_HELD,
    workspace.REMOVE_HELD,
    workspace.SNAPSHOT_HELD,
    workspace.RESTORE_HELD,
    memory.RECALL,
    memory.APPEND,
    memory.SEARCH,
    memory.CLEAR,
    memory.EXPORT,
    memory.IMPORT,
    memory.LOGGED,
    hub.JOIN,
    hub.LEAVE,
    hub.LIST,
    hub.SAID,
)


def commands_of(room: str) -> list[Command[Any, Any]]:
    """Return the commands that `room` answers."""
    return [door for door in DOORS if isinstance(door, Command) and door.room == room]
