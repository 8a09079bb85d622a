"""Everything that can go wrong between two rooms, as one tree with stable codes.

NatscopeError                    code: what a program compares; remedy: what a person does
├── Refused                      the asker's to mend; asking again as is will fail again
│   ├── BodyInvalid              the body is not what the door takes
│   │   ├── ArgumentsInvalid     a tool's arguments do not fit its schema
│   │   ├── SchemaInvalid        a JSON Schema in the ask is none
│   │   └── ScheduleInvalid      a schedule is in the past, never comes, or cannot be read
│   ├── BodyTooLarge             over the limit of the door
│   ├── SpecInvalid              an agent or models file is wrong
│   ├── TaskConflict             a task id is used twice with different bodies
│   ├── ScheduleConflict         a schedule of that name says something else
│   ├── TaskOver                 the task has its outcome; it can be told nothing more
│   ├── RequestConflict          a request or call id is used twice with different bodies
│   ├── CredentialMissing        a provider needs a key that is not set
│   ├── CredentialRefused        a provider or the broker does not accept the key
│   ├── ContextTooLong           the prompt is over the model's window
│   ├── ContentRefused           the provider's policy refused the prompt or the answer
│   ├── MediaUnavailable         media that the ask refers to cannot be fetched
│   ├── ModalityUnsupported      the model takes no media of this kind
│   ├── HookRefused              a hook of the agent has refused it, or could not be asked
│   ├── BudgetExhausted          a budget has no room for this
│   └── NotFound
│       ├── AgentNotFound · ModelNotFound · ToolNotFound · TaskNotFound
│       └── SessionNotFound · HubNotFound · BlobNotFound · ScheduleNotFound
├── Unavailable                  nobody's fault; asking again later may succeed (retryable)
│   ├── BusUnavailable           no NATS server answers
│   ├── ServiceNotRunning        nobody listens at this door
│   ├── ModelUnavailable         the provider failed, after our retries
│   ├── SandboxUnavailable       no cell could be started; nothing ran
│   ├── ToolUnavailable          a tool's host is gone
│   ├── Overloaded               a queue or a limit is full
│   │   └── RateLimited          a rate limit of ours is reached
│   └── DeadlineExceeded         no answer in time; it may still have happened
└── Broken                       ours to mend
    ├── ReplyTruncated           a provider's answer ended before its end was proven
    ├── ReplyInvalid             a provider's answer cannot be read
    │   └── OutputInvalid        structured output or arguments do not fit their schema, even repaired
    ├── PlanInvalid              an agent made a plan that cannot be carried out, and made it again
    ├── RunFenced                another process holds the run now
    ├── RunPoisoned              a task killed its worker too often
    ├── RunDiverged              an agent's function asks for something else than its journal has
    ├── FunctionFailed           an agent's function has raised something
    └── Internal                 an exception nobody foresaw
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, JsonValue

from natscope.contracts.contract import Contract


class NatscopeError(Exception):
    """Anything that went wrong, with a stable code and, where there is one, the way out."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, remedy: str | None = None, details: Mapping[str, JsonValue] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class Refused(NatscopeError):
    """The asker has to change something before asking again."""

    code = "refused"


class BodyInvalid(Refused):
    """The body is not what the door takes."""

    code = "body_invalid"


class ArgumentsInvalid(BodyInvalid):
    """A tool's arguments do not fit its schema; nothing ran."""

    code = "arguments_invalid"


class ScheduleInvalid(BodyInvalid):
    """A schedule is in the past, never comes, or its expression or zone is none; nothing was made."""

    code = "schedule_invalid"


class BodyTooLarge(Refused):
    """The body is over the door's limit."""

    code = "body_too_large"


class SpecInvalid(Refused):
    """An agent or models file is wrong; what was in force before stays in force."""

    code = "spec_invalid"


class TaskConflict(Refused):
    """The task id was used before, with a different body; the first task stands."""

    code = "task_conflict"


class ScheduleConflict(Refused):
    """There is a schedule of that name that says something else; it stands."""

    code = "schedule_conflict"


class TaskOver(Refused):
    """The task has its outcome; it can be told nothing more."""

    code = "task_over"


class DecisionStale(Refused):
    """Nobody waits for that decision: it was made before, the call is none of the task's, or the task is over."""

    code = "decision_stale"


class RequestConflict(Refused):
    """The request or call id was used before, with a different body; the first one stands."""

    code = "request_conflict"


class CredentialMissing(Refused):
    """A key that is needed is not set."""

    code = "credential_missing"


class CredentialRefused(Refused):
    """A key or password was not accepted."""

    code = "credential_refused"


class ContextTooLong(Refused):
    """The prompt is over the model's context window."""

    code = "context_too_long"


class ContentRefused(Refused):
    """The provider's policy refused the prompt or the answer."""

    code = "content_refused"


class SchemaInvalid(BodyInvalid):
    """A JSON Schema in the ask is none; nothing was asked of a provider."""

    code = "schema_invalid"


class MediaUnavailable(Refused):
    """Media that the ask refers to by its address cannot be fetched."""

    code = "media_unavailable"


class ModalityUnsupported(Refused):
    """The model takes no media of this kind."""

    code = "modality_unsupported"


class HookRefused(Refused):
    """A hook of the agent has refused it, or could not be asked; `details["point"]` says where it stands."""

    code = "hook_refused"


class BudgetExhausted(Refused):
    """A budget of tokens or money has no room for this; nothing was asked of a provider."""

    code = "budget_exhausted"


class NotFound(Refused):
    """The named thing does not exist."""

    code = "not_found"


class AgentNotFound(NotFound):
    """No agent of that name is applied."""

    code = "agent_not_found"


class ModelNotFound(NotFound):
    """No model alias of that name is configured, or the provider does not know the model."""

    code = "model_not_found"


class ToolNotFound(NotFound):
    """No host serves a tool of that name."""

    code = "tool_not_found"


class TaskNotFound(NotFound):
    """No task of that id is known; results are kept for seven days."""

    code = "task_not_found"


class SessionNotFound(NotFound):
    """No session of that id is known."""

    code = "session_not_found"


class HubNotFound(NotFound):
    """No hub of that name has members."""

    code = "hub_not_found"


class ScheduleNotFound(NotFound):
    """No schedule of that name was made."""

    code = "schedule_not_found"


class BlobNotFound(NotFound):
    """The referenced blob is gone or never was."""

    code = "blob_not_found"


class Unavailable(NatscopeError):
    """Asking again later may succeed."""

    code = "unavailable"
    retryable = True


class BusUnavailable(Unavailable):
    """No NATS server answers."""

    code = "bus_unavailable"


class ServiceNotRunning(Unavailable):
    """Nobody listens at this door."""

    code = "service_not_running"


class ModelUnavailable(Unavailable):
    """The provider did not give an answer, after our own retries."""

    code = "model_unavailable"


class SandboxUnavailable(Unavailable):
    """No cell could be started; nothing ran."""

    code = "sandbox_unavailable"


class ToolUnavailable(Unavailable):
    """The tool's host is gone."""

    code = "tool_unavailable"


class JournalNewer(Unavailable):
    """The run's journal is of a later version than this process reads; an updated service goes on with it."""

    code = "journal_newer"


class Overloaded(Unavailable):
    """A queue or a limit is full; nothing was accepted."""

    code = "overloaded"


class RateLimited(Overloaded):
    """A rate limit of ours is reached; `details["retry_after_s"]` says when there will be room."""

    code = "rate_limited"


class DeadlineExceeded(Unavailable):
    """No answer came in time. What was asked may still have happened: ask again under the same id."""

    code = "deadline_exceeded"


class Broken(NatscopeError):
    """Something on our side is not as it should be."""

    code = "broken"


class ReplyTruncated(Broken):
    """A provider's answer ended before its end was proven."""

    code = "reply_truncated"
    retryable = True


class ReplyInvalid(Broken):
    """A provider's answer cannot be read."""

    code = "reply_invalid"
    retryable = True


class OutputInvalid(ReplyInvalid):
    """Structured output, or a call's arguments, do not fit their schema even after repair.

    `details` hold `tier` (2: repair by rule gave up; nothing was asked again) and `why`.
    """

    code = "output_invalid"


class PlanInvalid(Broken):
    """The model's plans cannot be carried out: a step waits for itself, or for one that is not there. It was told."""

    code = "plan_invalid"


class RunFenced(Broken):
    """Another process holds the run now; this one must not write."""

    code = "run_fenced"


class RunPoisoned(Broken):
    """The task's worker died too often without progress; the task lies in the dead-letter stream."""

    code = "run_poisoned"


class RunDiverged(Broken):
    """Run again, an agent's function asked for something else than its journal has.

    `details` hold `position`, and in words what the `journal` has there and what the `code` did.
    """

    code = "run_diverged"


class FunctionFailed(Broken):
    """An agent's own function has raised something that is none of ours; `details["where"]` says in which line."""

    code = "function_failed"


class Internal(Broken):
    """An exception that nobody foresaw; the log of the named service has it."""

    code = "internal"


def _leaves(root: type[NatscopeError]) -> dict[str, type[NatscopeError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_leaves(child))
    return found


BY_CODE: Mapping[str, type[NatscopeError]] = _leaves(NatscopeError)


class Failure(Contract):
    """An error on the wire: the answer of a command that could not be carried out."""

    code: str
    message: str
    retryable: bool = False
    remedy: str | None = None
    details: dict[str, JsonValue] = Field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Return `error` for the wire. What is not of our tree becomes `internal`, without its text."""
        if isinstance(error, NatscopeError):
            return cls(
                code=error.code,
                message=error.message,
                retryable=error.retryable,
                remedy=error.remedy,
                details=error.details,
            )
        return cls(
            code=Internal.code,
            message=f"{type(error).__name__} in the service",
            remedy="look into the log of the service that answered",
        )

    def error(self) -> NatscopeError:
        """Return the exception of our tree; a code of a later version becomes its nearest kin."""
        kind = BY_CODE.get(self.code) or (Unavailable if self.retryable else NatscopeError)
        return kind(self.message, remedy=self.remedy, details=self.details)
