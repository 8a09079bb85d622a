"""Agents in a hub, with the real agent and memory services."""

from collections.abc import Sequence

from natscope.contracts import hub, model
from natscope.contracts.agent import AgentSpec
from tests.integration.agent.house import House, house, reply

NAMES = ("ada", "bob", "cleo")
SPECS = [AgentSpec(name=name, system_prompt=f"You are {name}.") for name in NAMES]


async def tells_what_it_heard(asked: model.Chat) -> model.Chatted:
    """A model that repeats who has said what to it."""
    heard = [f"{m.name}: {m.text}" for m in asked.messages if m.role != "system" and m.name != asked.agent]
    return reply(" | ".join(heard))


async def _join(here: House, names: Sequence[str]) -> None:
    for name in names:
        await here.bus.ask(hub.JOIN, hub.Join(hub="team", session=f"s-{name}", agent=name))


async def _say(here: House, name: str, text: str) -> str:
    body = await here.submit(text, agent=name, session=f"s-{name}")
    return (await here.outcome(body.task_id)).text


class TestAHub:
    async def test_lets_two_agents_hear_each_other_and_nobody_itself(self, nats_url: str) -> None:
        async with house(nats_url, *SPECS, real_memory=True) as here:
            here.mind = tells_what_it_heard
            await _join(here, ["ada", "bob"])
            first = await _say(here, "ada", "begin")
            second = await _say(here, "bob", "go on")
            assert first == "user: begin"
            assert second == "ada: user: begin | user: go on"
            third = await _say(here, "ada", "and?")
            assert third == f"user: begin | bob: {second} | user: and?"

    async def test_lets_a_late_joiner_hear_from_then_on(self, nats_url: str) -> None:
        async with house(nats_url, *SPECS, real_memory=True) as here:
            here.mind = tells_what_it_heard
            await _join(here, ["ada", "bob"])
            await _say(here, "ada", "before")
            await _join(here, ["cleo"])
            said = await _say(here, "bob", "after")
            assert await _say(here, "cleo", "what did you hear?") == f"bob: {said} | user: what did you hear?"

    async def test_is_heard_live_by_anybody(self, nats_url: str) -> None:
        async with house(nats_url, *SPECS, real_memory=True) as here:
            here.mind = tells_what_it_heard
            listener = await here.bus.nc.subscribe("hub.said.>")
            await _join(here, ["ada"])
            said = await _say(here, "ada", "hello")
            spoken = await here.bus.read(hub.SAID, await listener.next_msg(timeout=20))
            assert (spoken.message.name, spoken.message.text, spoken.session) == ("ada", said, "s-ada")

    async def test_is_not_told_what_a_stranger_answers(self, nats_url: str) -> None:
        async with house(nats_url, *SPECS, real_memory=True) as here:
            here.mind = tells_what_it_heard
            await _join(here, ["ada"])
            await _say(here, "bob", "private")
            assert await _say(here, "ada", "anything?") == "user: anything?"
