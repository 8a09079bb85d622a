"""Chooses among the ways of an alias those that can take an ask, and says what they see of it."""

from collections.abc import Callable, Sequence

from natscope.contracts.errors import ContextTooLong, ModalityUnsupported
from natscope.contracts.model import Chat, Modality
from services.model_gateway.checks import check_modalities, check_size
from services.model_gateway.media import EVERYTHING, Sight, holds_media
from services.model_gateway.ports import Fetcher, Fetches
from services.model_gateway.trying.routes import Route

_NOTHING: Fetches = {}

Estimate = Callable[[Chat, Route], int]
"""About how many tokens a prompt is for a model."""


def those_that_fit(ask: Chat, ways: Sequence[Route], estimate: Estimate) -> list[Route]:
    """Return the ways whose model takes the media of `ask` and has room for it, in their order; at least one.

    Raises:
        ModalityUnsupported, ContextTooLong: there is none; this is why the first is none.
    """
    found: list[Route] = []
    refusal: Exception | None = None
    for way in ways:
        try:
            _check(ask, way, estimate)
        except (ModalityUnsupported, ContextTooLong) as error:
            refusal = refusal or error
        else:
            found.append(way)
    if not found and refusal is not None:
        raise refusal
    return found


def sight(ask: Chat, ways: Sequence[Route]) -> Sight:
    """Return what the models see: what one of them takes is shown, what all providers fetch is left to them."""
    if not holds_media(ask):
        return EVERYTHING
    taken = frozenset[Modality]().union(*(way.target.modalities or () for way in ways))
    is_known = all(way.target.modalities is not None for way in ways)
    providers = [way.provider for way in ways]
    first, *others = [provider.fetches if isinstance(provider, Fetcher) else _NOTHING for provider in providers]
    fetched: Fetches = {
        kind: _common(starts, [other.get(kind, ()) for other in others]) for kind, starts in first.items()
    }
    return Sight(taken if is_known else None, fetched)


def _common(starts: Sequence[str], others: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(start for start in starts if all(start in other for other in others))


def _check(ask: Chat, way: Route, estimate: Estimate) -> None:
    target = way.target
    check_modalities(ask, model=target.model, takes=target.modalities)
    if target.context_size is not None:
        check_size(estimate(ask, way), model=target.model, context_size=target.context_size)
