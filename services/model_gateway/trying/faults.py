"""The faults of providers: what each is called, what may help, and which error the asker gets.

Reactions: `again` the same after a pause · `once` as `again`, but one more time only · `wait` as long as the provider
says · `tell` the asker at once. Source of the taxonomy: the error pages of the providers' API references, e.g.
https://platform.openai.com/docs/guides/error-codes
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from natscope.contracts import errors

FaultName = Literal[
    "rate_limit", "quota", "server_error", "proxy_page", "overloaded", "bad_key", "forbidden", "no_balance",
    "unknown_model", "context_too_long", "content_filter", "request_timeout", "connection", "stall", "cut",
    "truncated", "not_json", "empty", "no_answer", "too_large", "bad_request",
]  # fmt: skip
Reaction = Literal["again", "once", "wait", "tell"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault means."""

    reaction: Reaction
    error: type[errors.NatscopeError]
    told: str
    """What happened, to be read after the provider's name."""
    remedy: str | None = None
    """`{key}` stands for the name of the variable that holds the key."""


FAULTS: Mapping[FaultName, Fault] = {
    "rate_limit": Fault("wait", errors.ModelUnavailable, "limits our rate", "try again later"),
    "quota": Fault("tell", errors.ModelUnavailable, "says the quota is used up", "raise the quota behind {key}"),
    "no_balance": Fault("tell", errors.ModelUnavailable, "says the account is empty", "fill the account behind {key}"),
    "server_error": Fault("again", errors.ModelUnavailable, "failed", "try again later"),
    "proxy_page": Fault("again", errors.ModelUnavailable, "is down behind its proxy", "try again later"),
    "overloaded": Fault("again", errors.ModelUnavailable, "is overloaded", "try again later"),
    "request_timeout": Fault("again", errors.ModelUnavailable, "timed out", "try again later"),
    "connection": Fault("again", errors.ModelUnavailable, "cannot be reached", "check its base URL and the network"),
    "stall": Fault("again", errors.ModelUnavailable, "stopped sending", "try again later"),
    "cut": Fault("again", errors.ReplyTruncated, "lost the connection before the end of its answer"),
    "truncated": Fault("again", errors.ReplyTruncated, "ended its answer without saying that it is the end"),
    "not_json": Fault("once", errors.ReplyInvalid, "sent something that is not JSON", "check its base URL"),
    "empty": Fault("once", errors.ReplyInvalid, "sent an empty answer"),
    "no_answer": Fault("once", errors.ReplyInvalid, "sent an answer with no answer in it"),
    "bad_key": Fault("tell", errors.CredentialRefused, "does not accept the key", "check {key}"),
    "forbidden": Fault("tell", errors.CredentialRefused, "forbids this to the key", "check what {key} may do"),
    "unknown_model": Fault("tell", errors.ModelNotFound, "does not know the model", "check deploy/models.yaml"),
    "context_too_long": Fault("tell", errors.ContextTooLong, "says the prompt is too long", "shorten the session"),
    "content_filter": Fault("tell", errors.ContentRefused, "refused by its content policy", "change the prompt"),
    "too_large": Fault("tell", errors.BodyTooLarge, "says the request is too large", "send less or smaller media"),
    "bad_request": Fault("tell", errors.BodyInvalid, "does not take the request", "see what it says"),
}


class Failed(Exception):
    """One attempt gave no answer."""

    def __init__(
        self,
        name: FaultName,
        *,
        provider: str,
        key: str | None = None,
        status: int | None = None,
        said: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        """`said` is the provider's own text, free of secrets; `key` the name of the variable that holds its key."""
        super().__init__(name)
        self.name: FaultName = name
        self.fault = FAULTS[name]
        self.provider = provider
        self.status = status
        self.retry_after_s = retry_after_s
        self._key = key or "the provider's settings in deploy/models.yaml"
        self._said = said

    def error(self, *, model: str, attempts: int) -> errors.NatscopeError:
        """Return what the asker is told after the last attempt."""
        message = f"{self.provider!r} {self.fault.told} (model {model!r}"
        message += f", HTTP {self.status}" if self.status is not None else ""
        message += f", {attempts} attempts)" if attempts > 1 else ")"
        message += f": {self._said}" if self._said else ""
        remedy = self.fault.remedy
        return self.fault.error(
            message,
            remedy=remedy.format(key=self._key) if remedy else None,
            details={"fault": self.name, "provider": self.provider, "status": self.status, "attempts": attempts},
        )
