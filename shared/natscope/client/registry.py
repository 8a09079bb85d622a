"""The agents that are applied: a key-value bucket is their registry."""

from typing import Literal

from nats.aio.msg import Msg

from natscope.bus.connection import Bus
from natscope.bus.envelope import read
from natscope.bus.streams import AGENTS
from natscope.client import looking
from natscope.contracts.agent import AgentSpec

Change = Literal["created", "changed", "unchanged"]

_BUCKET = f"KV_{AGENTS}"
_SUBJECT = f"$KV.{AGENTS}"


async def agents(bus: Bus) -> list[AgentSpec]:
    """Return every agent that is applied, by name."""
    found = [_spec(message) for message in await _kept(bus)]
    return sorted(found, key=lambda spec: spec.name)


async def agent(bus: Bus, name: str) -> AgentSpec | None:
    """Return the agent of that name, or None."""
    found = await looking.look(bus, _BUCKET, {"multi_last": [f"{_SUBJECT}.{name}"]})
    return _spec(found[0]) if found and not _deleted(found[0]) else None


async def known(bus: Bus, name: str) -> list[str]:
    """Return `name` alone if an agent has it, else the names of all agents."""
    found = await looking.look(bus, _BUCKET, {"multi_last": [f"{_SUBJECT}.{name}"]}) if _is_key(name) else []
    if found and not _deleted(found[0]):
        return [name]
    return [looking.subject_of(message).rpartition(".")[2] for message in await _kept(bus)]


async def apply(bus: Bus, spec: AgentSpec) -> Change:
    """Make `spec` the agent of its name, for runs that start from now on."""
    before = await agent(bus, spec.name)
    if before == spec:
        return "unchanged"
    await bus.js.publish(f"{_SUBJECT}.{spec.name}", spec.model_dump_json().encode())
    return "changed" if before else "created"


async def _kept(bus: Bus) -> list[Msg]:
    found = await looking.look(bus, _BUCKET, {"multi_last": [f"{_SUBJECT}.>"]})
    return [message for message in found if not _deleted(message)]


def _is_key(name: str) -> bool:
    return bool(name) and all(letter.isalnum() or letter in "-_" for letter in name)


def _deleted(message: Msg) -> bool:
    return "KV-Operation" in (message.headers or {})


def _spec(message: Msg) -> AgentSpec:
    return read(AgentSpec, message.data, where=f"agent {looking.subject_of(message)!r}")
