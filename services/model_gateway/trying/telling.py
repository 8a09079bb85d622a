"""Says why there is no answer: what every route said, and what decided it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import JsonValue

from natscope.contracts import errors
from services.model_gateway.trying.faults import FAULTS, Failed
from services.model_gateway.trying.outs import Out
from services.model_gateway.trying.routes import Route

TIER = 1
"""Of the gateway's answers to trouble: 1 tries again and elsewhere, 2 repairs what came."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one attempt came to: the provider's fault, or a limit of ours that let nothing through."""

    route: Route
    failed: Failed | errors.NatscopeError

    @property
    def fault(self) -> str:
        """Its name, or our code."""
        return self.failed.name if isinstance(self.failed, Failed) else self.failed.code

    @property
    def error(self) -> type[errors.NatscopeError]:
        """What an asker is told of it."""
        return self.failed.fault.error if isinstance(self.failed, Failed) else type(self.failed)

    @property
    def retry_after_s(self) -> float | None:
        """When to come again, if that was said."""
        if isinstance(self.failed, Failed):
            return self.failed.retry_after_s
        found = self.failed.details.get("retry_after_s")
        return float(found) if isinstance(found, int | float) else None

    def told(self, attempts: int) -> str:
        """Return it for people."""
        if not isinstance(self.failed, Failed):
            return self.failed.message
        target, at = self.route.target, self.route.provider.address
        return self.failed.told(target.model, attempts=attempts, by=target.provider, at=at)


def error(said: Sequence[Said], outs: Mapping[Route, Out]) -> errors.NatscopeError:
    """Return what the asker is told when there is nowhere left to go.

    What may pass decides: as long as one target may answer later, asking again later is worth it.
    """
    if not said:
        return _nowhere(outs)
    decisive = next((each for each in reversed(said) if each.error.retryable), said[-1])
    status = decisive.failed.status if isinstance(decisive.failed, Failed) else None
    details: dict[str, JsonValue] = {
        "fault": decisive.fault,
        "provider": decisive.route.provider.name,
        "status": status,
        **_details(said, outs, why=_why(said, outs)),
    }
    waits = [each.retry_after_s for each in said if each.retry_after_s is not None]
    if waits and decisive.error.retryable:
        details["retry_after_s"] = min(waits)
    return decisive.error("; ".join(_told(said, outs)), remedy=decisive.failed.remedy, details=details)


def overdue(
    said: Sequence[Said], outs: Mapping[Route, Out], *, deadline_s: float, route: Route | None
) -> errors.DeadlineExceeded:
    """Return what the asker is told if the deadline passed, while `route` was asked if there is one."""
    now = f"{route.target.provider!r} did not answer" if route else "there was no answer"
    model = f" (model {route.target.model!r})" if route else ""
    return errors.DeadlineExceeded(
        "; ".join([f"{now} within {deadline_s:g} s{model}", *_told(said, outs)]),
        remedy="ask for less, or raise MODEL_GATEWAY_DEADLINE",
        details=_details(said, outs, why="the deadline passed"),
    )


def _nowhere(outs: Mapping[Route, Out]) -> errors.NatscopeError:
    """Return what the asker is told when nothing could be asked."""
    route, soonest = min(outs.items(), key=lambda each: each[1].until)
    fault = FAULTS[soonest.reason]
    details: dict[str, JsonValue] = {"fault": soonest.reason, "provider": route.target.provider, "status": None}
    details |= _details([], outs, why="every target is out")
    wait = datetime.fromtimestamp(soonest.until, UTC)
    return errors.ModelUnavailable(
        "; ".join(_told([], outs)),
        remedy=f"try again after {wait:%H:%M:%S} UTC"
        + (f", or {fault.remedy.format(key=soonest.key)}" if fault.remedy and fault.blame == "key" else ""),
        details=details,
    )


def _told(said: Sequence[Said], outs: Mapping[Route, Out]) -> list[str]:
    """Return one phrase for each route that said something, and for each reason why others were not asked."""
    lasts = {each.route: each for each in said}
    counts = {route: sum(each.route is route for each in said) for route in lasts}
    phrases = [each.told(counts[route]) for route, each in lasts.items()]
    left: dict[tuple[str, str | None, str, str], list[str]] = {}
    for route, out in outs.items():
        if route not in lasts:
            until = f"{datetime.fromtimestamp(out.until, UTC):%H:%M:%S}"
            models = left.setdefault((route.target.provider, route.account.key, until, FAULTS[out.reason].told), [])
            if repr(route.target.model) not in models:
                models.append(repr(route.target.model))
    return phrases + [_out(*who, models) for who, models in left.items()]


def _out(provider: str, key: str | None, until: str, told: str, models: Sequence[str]) -> str:
    which = f"model{'s' if len(models) > 1 else ''} {', '.join(models)}" + (f", {key}" if key else "")
    return f"{provider!r} is not asked until {until} UTC ({which}): it {told}"


def _details(said: Sequence[Said], outs: Mapping[Route, Out], *, why: str) -> dict[str, JsonValue]:
    attempts: list[JsonValue] = [
        {"target": each.route.target.name, "key": each.route.account.key, "fault": each.fault} for each in said
    ]
    passed: list[JsonValue] = [
        {"target": route.target.name, "key": route.account.key, "fault": out.reason} for route, out in outs.items()
    ]
    return {"tier": TIER, "why": why, "attempts": attempts, "passed_over": passed}


def _why(said: Sequence[Said], outs: Mapping[Route, Out]) -> str:
    last = said[-1].failed
    if isinstance(last, Failed) and last.fault.reaction == "tell":
        return "what was asked is refused, and asking again would not help"
    targets = {id(each.route.target) for each in said} | {id(route.target) for route in outs}
    return f"{_some(len(said), 'attempt')} at {_some(len(targets), 'target')} failed, and none is left"


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
