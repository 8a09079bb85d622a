"""How it travels: one connection per process, asking and telling, answering, streams, blobs and records."""

from natscope.bus.answering import Doors
from natscope.bus.connection import Bus, BusSettings, connect
from natscope.bus.ledger import Ledger
from natscope.bus.room import Room, open_room
from natscope.bus.starting import start

__all__ = ["Bus", "BusSettings", "Doors", "Ledger", "Room", "connect", "open_room", "start"]
