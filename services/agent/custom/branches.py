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
from natscope.contracts.errors import SpecInvalid

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

    def begin(self) -> list[At]:
        """Run the function to where it first waits; return what it asks for."""
        return self._send(self._root, None)

    def answered(self, position: str, value: JsonValue) -> list[At]:
        """Go on with what was asked for; return what is asked for next."""
        return self._send(self._waiting.pop(position), value)

    def failed(self, position: str, error: BaseException) -> list[At]:
        """Raise `error` where something was asked for; return what is asked for next."""
        return self._throw(self._waiting.pop(position), error)

    def close(self) -> None:
        """Run the function no further."""
        for branch in reversed(self._all):
            with contextlib.suppress(BaseException):
                branch.work.close()

    def _send(self, branch: _Branch, value: Any) -> list[At]:
        return self._advance(branch, lambda: branch.work.send(value))

    def _throw(self, branch: _Branch, error: BaseException) -> list[At]:
        return self._advance(branch, lambda: branch.work.throw(error))

    def _advance(self, branch: _Branch, run: Callable[[], object]) -> list[At]:
        try:
            wanted = run()
        except StopIteration as end:
            return self._ended(branch, end.value, None)
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is its failure, not this process's
            return self._ended(branch, None, error)
        path = (*branch.path, branch.steps)
        branch.steps += 1
        match wanted:
            case Step():
                self._waiting[position_of(path)] = branch
                return [At(position_of(path), wanted)]
            case Fork(work):
                return self._fork(branch, path, work)
            case _:
                return self._throw(branch, _foreign(wanted))

    def _fork(self, branch: _Branch, path: Path, work: tuple[Any, ...]) -> list[At]:
        if not work:
            return self._send(branch, [])
        join = _Join(branch, len(work), [None] * len(work))
        parts = [_Branch(part, (*path, slot), join, slot) for slot, part in enumerate(work)]
        self._all += parts
        return [at for part in parts for at in self._send(part, None)]

    def _ended(self, branch: _Branch, answer: Any, failure: BaseException | None) -> list[At]:
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
            return self._throw(join.branch, join.failures[min(join.failures)])
        return self._send(join.branch, join.answers)


def _foreign(wanted: object) -> SpecInvalid:
    return SpecInvalid(
        f"the function has awaited {type(wanted).__name__}, which is none of its ctx",
        remedy="await what ctx gives (`ctx.sleep`, `ctx.gather`); put the rest into a tool",
    )
