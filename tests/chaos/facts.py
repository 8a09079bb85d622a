"""What really happened, read from the streams, the counters outside, the provider and the client's notes."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from natscope.bus import Bus
from natscope.bus.streams import RUNS
from natscope.client import looking
from natscope.contracts.event import HAPPENED
from natscope.contracts.run import JOURNALED, JournalEntry
from natscope.contracts.task import FINISHED, SUBMIT_IN, Finished


@dataclass(frozen=True)
class Event:
    """An event of a task, as the stream keeps it."""

    sequence: int
    id: str
    type: str
    at: float = 0.0
    """When it was told, in seconds."""


@dataclass(frozen=True)
class Facts:
    """Everything a judge needs to know."""

    runs: int
    outcomes: Mapping[str, Sequence[Finished]]
    journals: Mapping[str, Sequence[JournalEntry]]
    events: Mapping[str, Sequence[Event]] = field(default_factory=dict[str, Sequence[Event]])
    heard: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    """What the client heard, in the order in which it did."""
    asked: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    """When the provider was asked for each model call."""
    kills: Sequence[tuple[str, float]] = ()
    counted: Mapping[str, int] | None = None
    """Real executions of programs in cells; None: this backend's cells have no way out for a counter."""
    booked: Mapping[str, int] = field(default_factory=dict[str, int])
    """Real executions of served tools."""
    deliveries: int = 0
    """Of tasks to agents."""


async def outcomes_of(bus: Bus) -> dict[str, list[Finished]]:
    """Return every outcome that is recorded, by task."""
    found: dict[str, list[Finished]] = defaultdict(list)
    for message in await looking.page(bus, FINISHED.stream or "", FINISHED.wildcard):
        (task,) = FINISHED.keys_in(looking.subject_of(message))
        found[task].append(await bus.read(FINISHED, message))
    return found


async def journals_of(bus: Bus) -> dict[str, list[JournalEntry]]:
    """Return every journal, by run."""
    found: dict[str, list[JournalEntry]] = defaultdict(list)
    for message in await looking.page(bus, JOURNALED.stream or "", JOURNALED.wildcard):
        (run,) = JOURNALED.keys_in(looking.subject_of(message))
        found[run].append(await bus.read(JOURNALED, message))
    return found


async def events_of(bus: Bus) -> dict[str, list[Event]]:
    """Return every event, by task."""
    found: dict[str, list[Event]] = defaultdict(list)
    for message in await looking.page(bus, HAPPENED.stream or "", HAPPENED.wildcard):
        (task,) = HAPPENED.keys_in(looking.subject_of(message))
        told = await bus.read(HAPPENED, message)
        found[task].append(Event(looking.sequence_of(message), told.id, told.type, told.at.timestamp()))
    return found


async def deliveries_of(bus: Bus) -> int:
    """Return how often a task was given to an agent, as the server has counted."""
    info = await bus.js.consumer_info(SUBMIT_IN.stream, RUNS)
    return info.delivered.consumer_seq if info.delivered is not None else 0


def entries_of(journals: Mapping[str, Sequence[JournalEntry]]) -> Counter[str]:
    """Return how many journal entries there are of each kind."""
    return Counter(entry.entry for journal in journals.values() for entry in journal)
