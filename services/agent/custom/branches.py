"""A function, step by step: what it asks for, and where. No clock, no broker and no event loop have a say in it.

A step's position is its number within its branch. `gather` takes one position, and each of its parts is a branch of
its own below it: `2-0-1` is the second step of the first part of what was gathered third. So a step has the same
position however the parts overtake each other.
"""

import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from natscope.agents import Fork, Step
from natscope.contracts.errors import FunctionFailed, NatscopeError, SpecInvalid

MOST_UNJOURNALED = 10_000
"""How often a function may gather, or await what is none of its ctx, which may all come about at once."""

Path = tuple[int, ...]


def position_of(path: Path) -> str:
    """Return a path as ids and the journal have it."""
    return "-".join(map(str, path))


def path_of(position: str) -> Path:
    """Return a position as a path."""
    return tuple(map(int, position.split("-")))


@dataclass(frozen=True)
class At:
    """Something that the function asks for, and where."""

    position: str
    step: Step


@dataclass(eq=False)
class _Branch:
    work: Coroutine[Any, Any, Any]
    path: Path = ()
    join: "_Join | None" = None
    slot: int = 0
    steps: int = 0


@dataclass(eq=False)
class _Join:
    """What waits for the branches of one `gather`."""

    branch: _Branch
    open: int
    answers: list[Any]
    failures: dict[int, BaseException] = field(default_factory=dict[int, BaseException])


class Branches:
    """One function that is being run."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._root = _Branch(work)
        self._all = [self._root]
        self._waiting: dict[str, _Branch] = {}
        self.over = False
        self.answer: Any = None
        self.failure: BaseException | None = None
        """What the function has raised."""
        self.given_up = False
        """Whether it was ended over its head."""
        self._unjournaled = 0

    def begin(self) -> list[At]:
        """Run the function to where it first waits; return what it asks for."""
        return self._advance(_sent(self._root, None))

    def answered(self, position: str, value: JsonValue) -> list[At]:
        """Go on with what was asked for; return what is asked for next."""
        return self._advance(_sent(self._waiting.pop(position), value))

    def failed(self, position: str, error: BaseException) -> list[At]:
        """Raise `error` where something was asked for; return what is asked for next."""
        return self._advance(_thrown(self._waiting.pop(position), error))

    def close(self) -> None:
        """Run the function no further."""
        for branch in reversed(self._all):
            with contextlib.suppress(BaseException):
                branch.work.close()

    def _advance(self, first: "_Next") -> list[At]:
        """Run a branch, and whatever begins or goes on with it, to where each part waits or has ended."""
        asked, left = list[At](), [first]
        while left and not self.over:
            branch, run = left.pop()
            at, more = self._run(branch, run)
            asked += [at] if at is not None else []
            left += reversed(more)
        return asked

    def _run(self, branch: _Branch, run: Callable[[], object]) -> tuple[At | None, list["_Next"]]:
        """Run a branch to where it next waits; what it asks for, and what is to be run next."""
        try:
            wanted = run()
        except StopIteration as end:
            return None, self._ended(branch, end.value, None)
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is its failure, not this process's
            return None, self._ended(branch, None, error)
        path = (*branch.path, branch.steps)
        branch.steps += 1
        if isinstance(wanted, Step):
            self._waiting[position_of(path)] = branch
            return At(position_of(path), wanted), []
        self._unjournaled += 1
        if self._unjournaled > MOST_UNJOURNALED:
            self._give_up(_endless(wanted))
        if isinstance(wanted, Fork):
            return None, self._fork(branch, path, wanted.work)
        return None, [_thrown(branch, _foreign(wanted))]

    def _fork(self, branch: _Branch, path: Path, work: tuple[Any, ...]) -> list["_Next"]:
        if not work:
            return [_sent(branch, [])]
        join = _Join(branch, len(work), [None] * len(work))
        parts = [_Branch(part, (*path, slot), join, slot) for slot, part in enumerate(work)]
        self._all += parts
        return [_sent(part, None) for part in parts]

    def _ended(self, branch: _Branch, answer: Any, failure: BaseException | None) -> list["_Next"]:
        self._all.remove(branch)
        join = branch.join
        if join is None:
            self.over, self.answer, self.failure = True, answer, failure
            return []
        join.answers[branch.slot] = answer
        if failure is not None:
            join.failures[branch.slot] = failure
        join.open -= 1
        if join.open:
            return []
        if join.failures:
            return [_thrown(join.branch, join.failures[min(join.failures)])]
        return [_sent(join.branch, join.answers)]

    def _give_up(self, failure: BaseException) -> None:
        """End the function over its head: it catches whatever it is raised, and goes on."""
        self.over, self.given_up, self.failure = True, True, failure


_Next = tuple[_Branch, Callable[[], object]]


def _sent(branch: _Branch, value: Any) -> _Next:
    return branch, lambda: branch.work.send(value)


def _thrown(branch: _Branch, error: BaseException) -> _Next:
    return branch, lambda: branch.work.throw(error)


def _endless(wanted: object) -> NatscopeError:
    if not isinstance(wanted, Fork):
        return _foreign(wanted)
    text = f"the function has gathered {MOST_UNJOURNALED} times"
    return FunctionFailed(text, remedy="let `ctx.gather` do something each time")


def _foreign(wanted: object) -> SpecInvalid:
    return SpecInvalid(
        f"the function has awaited {type(wanted).__name__}, which is none of its ctx",
        remedy="await what ctx gives (`ctx.sleep`, `ctx.gather`); put the rest into a tool",
    )
