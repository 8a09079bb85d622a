"""How it travels: one connection per process, asking and telling, answering, streams, blobs and records."""

from importlib import import_module
from typing import TYPE_CHECKING

from natscope.bus.connection import Bus, BusSettings, connect
from natscope.bus.ledger import Ledger

if TYPE_CHECKING:
    from natscope.bus.answering import Doors
    from natscope.bus.room import Room, open_room
    from natscope.bus.starting import start

__all__ = ["Bus", "BusSettings", "Doors", "Ledger", "Room", "connect", "open_room", "start"]

_ANSWERING = {"Doors": "answering", "Room": "room", "open_room": "room", "start": "starting"}


def __getattr__(name: str) -> object:
    """Load what answers when it is first named: guests only ask, and need no FastStream (0.6 s)."""
    if name not in _ANSWERING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ANSWERING[name]}"), name)
