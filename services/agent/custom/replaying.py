"""What a function asks for against what its journal has: the same thing at the same place, or a named difference."""

from collections.abc import Mapping

from natscope.agents import Step
from natscope.contracts.errors import RunDiverged
from natscope.contracts.run import Performed
from services.agent.custom.branches import At, path_of

ENDED = "the function has ended"


class Replay:
    """A journal that is being run through once more."""

    def __init__(self, journal: Mapping[str, Performed]) -> None:
        self._unseen = {position: entry for position, entry in journal.items() if entry.kind != "return"}

    def kept(self, at: At) -> Performed | None:
        """Return what came of a step before; None: it is asked for the first time.

        Raises:
            RunDiverged: the journal has something else there, or went another way from there.
        """
        entry = self._unseen.pop(at.position, None)
        if entry is None:
            branch = path_of(at.position)[:-1]
            other = next((each for each in self._unseen if path_of(each)[: len(branch)] == branch), None)
            if other is None:
                return None
            raise diverged(at.position, f"{told(self._unseen[other])} at {other}", told(at.step))
        if (entry.kind, entry.digest) != (at.step.kind, at.step.digest):
            raise diverged(at.position, told(entry), told(at.step))
        return entry

    def end(self) -> None:
        """Check that nothing is left once the function has ended.

        Raises:
            RunDiverged: there is.
        """
        for position, entry in self._unseen.items():
            raise diverged(position, told(entry), ENDED)


def diverged(position: str, journal: str, code: str) -> RunDiverged:
    """Return the error that names a difference."""
    return RunDiverged(
        f"at {position} the journal has {journal}, the function: {code}",
        remedy="let the function ask its ctx for the same things in the same order; begin changed functions anew",
        details={"position": position, "journal": journal, "code": code},
    )


def told(asked: Step | Performed) -> str:
    """Return what was asked for in a few words."""
    name = f" {asked.name!r}" if asked.name else ""
    return f"{asked.kind}{name} ({asked.digest[:12]})"
