"""What a run does next, as the loop decides it."""

from dataclasses import dataclass

from natscope.contracts.approval import Waiting
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.errors import Failure
from natscope.contracts.message import Message
from natscope.contracts.model import FinishReason
from natscope.contracts.task import Finished


@dataclass(frozen=True)
class AskModel:
    """Ask for step `step`."""

    step: int
    limit: str | None = None
    """The limit that is reached; then this is the last step, and tools are forbidden."""

    @property
    def last(self) -> bool:
        """Whether nothing follows."""
        return self.limit is not None


@dataclass(frozen=True)
class Compress:
    """Have what was said so far summarised, before the model is asked for what follows step `step`."""

    step: int


@dataclass(frozen=True)
class CallTools:
    """Carry out these calls of step `step`; each with its index among the calls of the reply."""

    step: int
    calls: tuple[tuple[int, ToolUseBlock], ...]


@dataclass(frozen=True)
class Park:
    """Wait until somebody decides on these calls; nothing else is left to do."""

    step: int
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True)
class Finish:
    """The run is over."""

    message: Message
    finish_reason: FinishReason
    limit: str | None


@dataclass(frozen=True)
class Done:
    """The run was over before."""

    outcome: Finished


@dataclass(frozen=True)
class Fail:
    """The run cannot go on."""

    failure: Failure


Decision = AskModel | Compress | CallTools | Park | Finish | Fail | Done
