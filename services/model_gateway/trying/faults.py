"""The faults of providers: what each is called, what may help, and which error the asker gets.

Reactions, from the most to the least patient:
`wait` as long as the provider says, if that is not too long · `again` the same after a pause · `once` as `again`, but
one more time only · `elsewhere` the next target, or `again` if there is none · `over` the next target · `larger` the
next target with a larger window · `tell` the asker at once. What has had its tries goes over to the next target.

Source of the taxonomy: the error pages of the providers' API references, e.g.
https://platform.openai.com/docs/guides/error-codes
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from natscope.contracts import errors

FaultName = Literal[
    "rate_limit", "quota", "server_error", "proxy_page", "overloaded", "bad_key", "forbidden", "no_balance",
    "unknown_model", "context_too_long", "content_filter", "request_timeout", "connection", "stall", "cut",
    "truncated", "not_json", "empty", "no_answer", "malformed_call", "too_large", "bad_request",
]  # fmt: skip
Reaction = Literal["wait", "again", "once", "elsewhere", "over", "larger", "tell"]
Blame = Literal["provider", "rate", "key", "permission", "ask"]
"""Who is at fault. `provider`: may be down · `rate`: the key has to wait · `key`: no use for long · `permission`: this
key may not do this · `ask`: what was asked; the provider is well."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault means."""

    reaction: Reaction
    error: type[errors.NatscopeError]
    told: str
    """What happened, to be read after the provider's name."""
    remedy: str | None = None
    """`{key}` stands for the name of the variable that holds the key."""
    blame: Blame = "provider"
    in_stream: Reaction | None = None
    """The reaction if the answer was streamed; None: the same."""
    slowness: float = 1.0
    """Pauses before the next try are so many times longer than usual."""

    def reaction_to(self, *, streamed: bool) -> Reaction:
        """Return what may help."""
        return self.in_stream if streamed and self.in_stream else self.reaction


_LATER = "try again later"
_KEY_OUT = "or use another key or provider"
FAULTS: Mapping[FaultName, Fault] = {
    "rate_limit": Fault("wait", errors.ModelUnavailable, "limits our rate", _LATER, "rate"),
    "quota": Fault(
        "over",
        errors.ModelUnavailable,
        "says the quota is used up",
        f"raise the quota behind {{key}}, {_KEY_OUT}",
        "key",
    ),
    "no_balance": Fault(
        "over",
        errors.ModelUnavailable,
        "says the account is empty",
        f"fill the account behind {{key}}, {_KEY_OUT}",
        "key",
    ),
    "server_error": Fault("again", errors.ModelUnavailable, "failed", _LATER),
    "proxy_page": Fault("again", errors.ModelUnavailable, "is down behind its proxy", _LATER),
    "overloaded": Fault("again", errors.ModelUnavailable, "is overloaded", _LATER, slowness=2.0),
    "request_timeout": Fault("again", errors.ModelUnavailable, "timed out", _LATER),
    "connection": Fault("again", errors.ModelUnavailable, "cannot be reached", "check its base URL and the network"),
    "stall": Fault("elsewhere", errors.ModelUnavailable, "stopped sending", _LATER),
    "cut": Fault(
        "again", errors.ReplyTruncated, "lost the connection before the end of its answer", in_stream="elsewhere"
    ),
    "truncated": Fault(
        "again", errors.ReplyTruncated, "ended its answer without saying that it is the end", in_stream="elsewhere"
    ),
    "not_json": Fault("once", errors.ReplyInvalid, "sent something that is not JSON", "check its base URL"),
    "empty": Fault("once", errors.ReplyInvalid, "sent an empty answer"),
    "no_answer": Fault("once", errors.ReplyInvalid, "sent an answer with no answer in it"),
    "malformed_call": Fault("once", errors.ReplyInvalid, "could not read its own model's tool call", blame="ask"),
    "bad_key": Fault("over", errors.CredentialRefused, "does not accept the key", "check {key}", "key"),
    "forbidden": Fault(
        "over", errors.CredentialRefused, "forbids this to the key", "check what {key} may do", "permission"
    ),
    "unknown_model": Fault("over", errors.ModelNotFound, "does not know the model", "check deploy/models.yaml", "ask"),
    "context_too_long": Fault(
        "larger", errors.ContextTooLong, "says the prompt is too long", "shorten the session", "ask"
    ),
    "content_filter": Fault("tell", errors.ContentRefused, "refused by its content policy", "change the prompt", "ask"),
    "too_large": Fault(
        "tell", errors.BodyTooLarge, "says the request is too large", "send less or smaller media", "ask"
    ),
    "bad_request": Fault("tell", errors.BodyInvalid, "does not take the request", "see what it says", "ask"),
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
        wrote: str | None = None,
    ) -> None:
        """`said` is the provider's own text, free of secrets; `key` the name of the variable that holds its key.

        `wrote` is what the model wrote, where its provider could not read it.
        """
        super().__init__(name)
        self.name: FaultName = name
        self.fault = FAULTS[name]
        self.provider = provider
        self.status = status
        self.retry_after_s = retry_after_s
        self.said = said
        self.wrote = wrote
        self._key = key or "the provider's settings in deploy/models.yaml"

    @property
    def remedy(self) -> str | None:
        """What a person can do."""
        return self.fault.remedy.format(key=self._key) if self.fault.remedy else None

    def told(self, model: str, *, attempts: int = 1, by: str | None = None, at: tuple[str, int] | None = None) -> str:
        """Return what happened, for people; `by` is what they call the provider, `at` where it is."""
        where = f" at {at[0]}:{at[1]}" if at is not None and self.name == "connection" else ""
        text = f"{(by or self.provider)!r} {self.fault.told}{where} (model {model!r}"
        text += f", HTTP {self.status}" if self.status is not None else ""
        text += f", {attempts} attempts)" if attempts > 1 else ")"
        return f"{text}: {self.said}" if self.said else text

    def error(self, *, model: str, attempts: int) -> errors.NatscopeError:
        """Return what an asker is told who has nobody else to ask."""
        details: dict[str, JsonValue] = {"fault": self.name, "provider": self.provider, "status": self.status}
        return self.fault.error(self.told(model, attempts=attempts), remedy=self.remedy, details=details)
