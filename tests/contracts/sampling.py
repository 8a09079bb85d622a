"""Every contract, and a full example of each made from its annotations alone."""

import importlib
import pkgutil
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge
from pydantic import AwareDatetime, BaseModel, JsonValue

import natscope.contracts
from natscope.contracts.blocks import UnknownBlock
from natscope.contracts.contract import Contract
from natscope.contracts.event import UnknownEvent

GOLDEN = Path(__file__).with_name("golden")
WORDS = {
    "data": "c3BlY2llcw==",
    "media_type": "text/csv",
    "url": "nats://blob/blobs/0123456789abcdef",
    "digest": "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
    "deltas_to": "_INBOX.agent.1",
    "function": "desk:night",
    "provider": "openai",
    "subject": "task.submit.assistant",
}
_INSTANT = datetime(2026, 11, 21, 12, 0, 0, 123456, UTC)
_DEEP = 3


def contracts() -> dict[str, type[Contract]]:
    """Return every public contract by its name, `<module>.<Class>`."""
    found: dict[str, type[Contract]] = {}
    for module in pkgutil.iter_modules(natscope.contracts.__path__):
        loaded = importlib.import_module(f"natscope.contracts.{module.name}")
        for name, value in vars(loaded).items():
            mine = isinstance(value, type) and issubclass(value, Contract) and value.__module__ == loaded.__name__
            if mine and value is not Contract and not name.startswith("_"):
                found[f"{module.name}.{name}"] = value
    return dict(sorted(found.items()))


def sample(kind: type[BaseModel], depth: int = 0) -> dict[str, Any]:
    """Return plain data in which every field of `kind` has a value."""
    filled: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        filled[name] = _value(field.annotation, name, depth, _floor(field.metadata))
    return filled


def _value(kind: Any, name: str, depth: int, floor: Any = 0) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _value(arguments[0], name, depth, _floor(kind.__metadata__) or floor)
    if origin in (Union, types.UnionType):
        return _value(_variants(arguments)[0], name, depth, floor)
    if origin is Literal:
        return arguments[0]
    if origin is list:
        return [_value(each, name, depth + 1) for each in _items(arguments[0], depth)]
    if origin is dict:
        return {"key": _value(arguments[1], "value", depth + 1)}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return sample(kind, depth + 1)
    return _plain(kind, name, floor)


def _plain(kind: Any, name: str, floor: Any) -> Any:
    if kind is JsonValue:
        return {"nested": [1, 2.5, True, None, "text"]}
    made: dict[Any, Any] = {
        str: WORDS.get(name, name),
        bool: True,
        int: max(7, floor),
        float: max(0.5, floor),
        AwareDatetime: _INSTANT.isoformat(),
        timedelta: timedelta(minutes=2).total_seconds(),
    }
    return made[kind]


def _items(kind: Any, depth: int) -> list[Any]:
    """Return what a list shows: every variant of a union, only the first one further down."""
    inner = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(inner) not in (Union, types.UnionType):
        return [kind]
    variants = _variants(get_args(inner))
    return variants if depth < _DEEP else variants[:1]


def _variants(arguments: tuple[Any, ...]) -> list[Any]:
    left_out = (type(None), UnknownBlock, UnknownEvent)
    return [
        each for each in arguments if (get_args(each)[0] if get_origin(each) is Annotated else each) not in left_out
    ]


def _floor(metadata: Any) -> Any:
    """Return the least value that annotations allow, whether they stand bare or in a pydantic `Field`."""
    for each in metadata:
        found = each.ge if isinstance(each, Ge) else _floor(getattr(each, "metadata", ()))
        if found:
            return found
    return 0
