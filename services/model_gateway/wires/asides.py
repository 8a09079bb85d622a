"""What a provider says of a call beside its name and arguments, kept for that provider alone."""

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from natscope.contracts.blocks import ToolUseBlock

Json = dict[str, JsonValue]


def kept(said: Mapping[str, JsonValue], fields: Iterable[str], provider: str) -> Json:
    """Return a call's metadata: those of `fields` that were said, under the provider's name; empty if none was."""
    found: Json = {name: said[name] for name in fields if said.get(name) is not None}
    return {provider: found} if found else {}


def given_back(call: ToolUseBlock, fields: Iterable[str], provider: str) -> Json:
    """Return what goes back with a call to the provider that wrote it; another one gets nothing."""
    found = call.metadata.get(provider)
    return {name: found[name] for name in fields if name in found} if isinstance(found, dict) else {}
