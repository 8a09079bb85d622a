"""Doors: a subject bound to the types that pass through it and to its deadline."""

from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter

from natscope.contracts.contract import Contract, check_token

AskT = TypeVar("AskT", bound=Contract)
AnswerT = TypeVar("AnswerT", bound=Contract)
BodyT = TypeVar("BodyT")

Room = Literal["agent", "model-gateway", "tool-executor", "memory", "client"]


def _split(template: str) -> tuple[str, tuple[str, ...]]:
    tokens = template.split(".")
    keys = tuple(token[1:-1] for token in tokens if token.startswith("{") and token.endswith("}"))
    head = ".".join(tokens[: len(tokens) - len(keys)])
    if not head or "{" in head or len(tokens) > 4:
        raise ValueError(f"{template!r}: a subject has at most four tokens, its keys last")
    return head, keys


@dataclass(frozen=True)
class _Door:
    template: str
    """The subject with its keys as placeholders, e.g. `task.event.{task}`; used as the low-cardinality span name."""
    summary: str
    """One sentence for the reference."""
    room: Room
    """Who answers a command, or who says an event."""
    head: str = field(init=False)
    keys: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        head, keys = _split(self.template)
        object.__setattr__(self, "head", head)
        object.__setattr__(self, "keys", keys)

    @property
    def wildcard(self) -> str:
        """The subject that hears every key."""
        return ".".join((self.head, *("*" for _ in self.keys)))

    def at(self, *keys: str) -> str:
        """Return the concrete subject for `keys`.

        Raises:
            ValueError: too few or too many keys, or one that is no subject token.
        """
        if len(keys) != len(self.keys):
            raise ValueError(f"{self.template!r} takes {len(self.keys)} keys, not {len(keys)}")
        return ".".join((self.head, *map(check_token, keys))) if keys else self.head

    def keys_in(self, subject: str) -> tuple[str, ...]:
        """Return the keys that stand in a concrete `subject` of this door, in the template's order."""
        return tuple(subject.split(".")[-len(self.keys) :]) if self.keys else ()


@dataclass(frozen=True)
class Command(_Door, Generic[AskT, AnswerT]):
    """A request that exactly one service answers."""

    ask: type[AskT]
    answer: type[AnswerT]
    deadline_s: float
    """How long the asker waits when it names no deadline of its own."""


@dataclass(frozen=True)
class Durable(_Door, Generic[AskT]):
    """A command that a stream keeps until a service has carried it out; the stream's acknowledgement is the answer."""

    ask: type[AskT]
    stream: str


@dataclass(frozen=True)
class Event(_Door, Generic[BodyT]):
    """A fact that any number of listeners hear; nobody answers."""

    body: Any
    """The body's type; a union is told apart by its tag."""
    stream: str | None = None
    """The JetStream stream that keeps it; None if it is heard live only."""

    @property
    def adapter(self) -> TypeAdapter[BodyT]:
        """Reads and writes the body."""
        return _adapter(self.body)


_ADAPTERS: dict[int, TypeAdapter[Any]] = {}


def _adapter(body: Any) -> TypeAdapter[Any]:
    found = _ADAPTERS.get(id(body))
    if found is None:
        found = _ADAPTERS[id(body)] = TypeAdapter[Any](body)
    return found
