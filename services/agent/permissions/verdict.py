"""What the permission engine says of one call."""

from dataclasses import dataclass
from typing import Literal

from natscope.contracts.approval import Rule

Behaviour = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call may be carried out, and why."""

    behaviour: Behaviour
    reason: str
    """For whoever reads it: the model, a person who is asked, an operator who looks at a span."""
    safety: bool = False
    """True if the call was found dangerous: no rule that allows can lift that."""
    suggestions: tuple[Rule, ...] = ()
    """Rules under which such calls need not be asked about again; none where no rule could."""

    @property
    def allowed(self) -> bool:
        """Whether the call may be carried out now."""
        return self.behaviour == "allow"


STRICTNESS: dict[Behaviour, int] = {"allow": 0, "ask": 1, "deny": 2}
"""Verdicts from the least to the most strict."""
