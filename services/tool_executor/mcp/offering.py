"""What of a server's tools is offered to models: under which name, with which arguments, as what kind of tool."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from natscope.contracts.errors import CredentialMissing
from natscope.contracts.tool import ToolSpec
from services.tool_executor.mcp.connections import Connection
from services.tool_executor.mcp.entries import Environment, FromEnvironment, ServerEntry
from services.tool_executor.mcp.naming import name_of
from services.tool_executor.mcp.speaking import Json, Offer

log = logging.getLogger(__name__)

MOST = 500
"""Of one server's tools."""


@dataclass(frozen=True)
class McpTool:
    """A tool of a server, as a model is told of it."""

    spec: ToolSpec
    connection: Connection
    name: str
    """By its server."""
    preset: Mapping[str, JsonValue]

    def arguments(self, given: Mapping[str, JsonValue]) -> Json:
        """Return the arguments for the server: what is preset stands, whatever the model wrote."""
        hidden = self.connection.entry.tool(self.name).hidden
        return {**{key: value for key, value in given.items() if key not in hidden}, **self.preset}


def offered(connection: Connection, environment: Environment) -> dict[str, McpTool]:
    """Return what is offered of a server's tools, by our names.

    A tool is left out whose preset arguments need a variable that is not set, or that is the second of a name; so are
    all after the first 500.
    """
    found: dict[str, McpTool] = {}
    wanted = [offer for offer in connection.offers if connection.entry.offers(offer.name)]
    for offer in wanted[:MOST]:
        name = name_of(connection.server, offer.name)
        said = connection.entry.tool(offer.name)
        try:
            preset = {key: _value(value, environment) for key, value in said.preset.items()}
        except CredentialMissing as error:
            _left_out(connection, offer, error.message)
            continue
        if name in found:
            _left_out(connection, offer, f"there are two tools {name!r}")
            continue
        found[name] = McpTool(_spec(name, connection.entry, offer), connection, offer.name, preset)
    for offer in wanted[MOST:]:
        _left_out(connection, offer, f"the server has more than {MOST} tools")
    return found


def _spec(name: str, entry: ServerEntry, offer: Offer) -> ToolSpec:
    said = entry.tool(offer.name)
    read_only = _either(said.read_only, offer.read_only and entry.believe_hints)
    hinted = offer.idempotent and entry.believe_hints
    return ToolSpec(
        name=name,
        description=said.description or offer.description,
        parameters=_without(offer.parameters, {*said.preset, *said.hidden}),
        read_only=read_only,
        idempotent=_either(said.idempotent, read_only or hinted),
        concurrent=_either(said.concurrent, True),
        deadline_s=said.deadline_s or entry.deadline_s,
    )


def _without(schema: Json, hidden: set[str]) -> Json:
    properties, required = schema.get("properties"), schema.get("required")
    shown: Json = {"type": "object", **schema}
    if isinstance(properties, dict):
        shown["properties"] = {key: value for key, value in properties.items() if key not in hidden}
    if isinstance(required, list):
        shown["required"] = [key for key in required if key not in hidden]
    return shown


def _either(said: bool | None, otherwise: bool) -> bool:
    return otherwise if said is None else said


def _left_out(connection: Connection, offer: Offer, why: str) -> None:
    log.error("tool left out", extra={"server": connection.server, "tool": offer.name, "reason": why})


def _value(value: FromEnvironment | JsonValue, environment: Environment) -> JsonValue:
    return value.value(environment) if isinstance(value, FromEnvironment) else value
