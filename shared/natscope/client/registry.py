"""The agents that are applied: a key-value bucket is their registry."""

from typing import Literal

from nats import errors as nats_errors
from nats.aio.msg import Msg

from natscope.bus.connection import Bus
from natscope.bus.envelope import read
from natscope.bus.streams import AGENTS
from natscope.client import looking
from natscope.contracts.agent import AgentSpec
from natscope.contracts.errors import BusUnavailable, CredentialRefused

Change = Literal["created", "changed", "unchanged"]

PATIENCE_S = 3.0

_BUCKET = f"KV_{AGENTS}"
_SUBJECT = f"$KV.{AGENTS}"


async def agents(bus: Bus) -> list[AgentSpec]:
    """Return every agent that is applied, by name."""
    found = [_spec(message) for message in await _kept(bus)]
    return sorted(found, key=lambda spec: spec.name)


async def agent(bus: Bus, name: str) -> AgentSpec | None:
    """Return the agent of that name, or None."""
    found = await looking.last(bus, _BUCKET, f"{_SUBJECT}.{name}")
    return None if found is None or _deleted(found) else _spec(found)


async def known(bus: Bus, name: str) -> list[str]:
    """Return `name` alone if an agent has it, else the names of all agents."""
    found = await looking.last(bus, _BUCKET, f"{_SUBJECT}.{name}") if _is_key(name) else None
    if found is not None and not _deleted(found):
        return [name]
    return [looking.subject_of(message).rpartition(".")[2] for message in await _kept(bus)]


async def apply(bus: Bus, spec: AgentSpec) -> Change:
    """Make `spec` the agent of its name, for runs that start from now on.

    Raises:
        CredentialRefused: whoever we are at NATS may not write agents.
        BusUnavailable: no acknowledgement; it may or may not have been applied.
    """
    before = await agent(bus, spec.name)
    if before == spec:
        return "unchanged"
    try:
        await bus.js.publish(f"{_SUBJECT}.{spec.name}", spec.model_dump_json().encode(), timeout=PATIENCE_S)
    except nats_errors.Error as error:
        raise _not_written(bus, spec.name) from error
    return "changed" if before else "created"


async def _kept(bus: Bus) -> list[Msg]:
    found = await looking.look(bus, _BUCKET, {"multi_last": [f"{_SUBJECT}.>"]})
    return [message for message in found if not _deleted(message)]


def _not_written(bus: Bus, name: str) -> CredentialRefused | BusUnavailable:
    if "permissions violation" in str(bus.nc.last_error).lower():
        return CredentialRefused(
            f"this NATS user may not apply agent {name!r}", remedy="set NATS_USER=admin and its NATS_PASSWORD"
        )
    return BusUnavailable(f"agent {name!r} was not acknowledged: {bus.nc.last_error}", remedy="apply it again")


def _is_key(name: str) -> bool:
    return bool(name) and all(letter.isalnum() or letter in "-_" for letter in name)


def _deleted(message: Msg) -> bool:
    return "KV-Operation" in (message.headers or {})


def _spec(message: Msg) -> AgentSpec:
    return read(AgentSpec, message.data, where=f"agent {looking.subject_of(message)!r}")
