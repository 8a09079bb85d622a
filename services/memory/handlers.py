"""The doors of the memory service."""

from natscope.bus import Bus, Doors
from natscope.contracts import hub, memory
from services.memory.memory import Memory


def doors(kept: Memory, bus: Bus, *, workers: int = 64) -> Doors:
    """Return `memory.*` and `hub.*`, answered from `kept`."""
    found = Doors(bus)
    found.answers(memory.APPEND, workers=workers)(kept.append)
    found.answers(memory.RECALL, workers=workers)(kept.recall)
    found.answers(memory.SEARCH, workers=workers)(kept.search)
    found.answers(memory.CLEAR, workers=workers)(kept.clear)
    found.answers(memory.EXPORT, workers=workers)(kept.export)
    found.answers(memory.IMPORT, workers=workers)(kept.take_in)
    found.answers(hub.JOIN, workers=workers)(kept.join)
    found.answers(hub.LEAVE, workers=workers)(kept.leave)
    found.answers(hub.LIST, workers=workers)(kept.hubs)
    return found
