"""Journals hold what is new: they grow with the steps of a run, not with the conversation behind each of them."""

from nats.js.errors import NotFoundError

from natscope.bus import Bus
from natscope.contracts import memory, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolUseBlock, plain
from natscope.contracts.message import Message
from natscope.contracts.run import JOURNALED
from tests.integration.agent.house import SPEC, House, call, house, reply

TOKENS = 200_000
"""Of the session, at four bytes each; two hundred messages."""


async def journal_bytes(bus: Bus, task_id: str) -> int:
    """Return how many bytes the journal of a run has."""
    subject, size, sequence = JOURNALED.at(task_id), 0, 1
    while True:
        try:
            found = await bus.js.get_msg(JOURNALED.stream or "", seq=sequence, subject=subject, next=True)
        except NotFoundError:
            return size
        size += len(found.data or b"")
        sequence = int(found.seq or 0) + 1


async def run(here: House, calls: int) -> int:
    """Run a task with so many calls in the long session, and return its journal's bytes."""
    left = calls

    async def mind(_: model.Chat) -> model.Chatted:
        nonlocal left
        if left == 0:
            return reply("Done.")
        left -= 1
        return call(ToolUseBlock(id=f"c{left}", name="add", input={"a": left, "b": 0}))

    here.mind, here.says = mind, "x" * 1000
    outcome = await here.run("Go on.", session="long")
    assert (outcome.state, outcome.tool_calls) == ("completed", calls)
    return await journal_bytes(here.bus, outcome.task_id)


class TestAJournal:
    async def test_grows_with_the_calls_alone(self, nats_url: str) -> None:
        spec = AgentSpec.model_validate(SPEC.model_dump() | {"limits": {"max_steps": 500}})
        async with house(nats_url, spec, real_memory=True) as here:
            text = "word " * (TOKENS * 4 // 200 // 5)
            said = [Message(id=f"m{n}", name="user", role="user", content=plain(text)) for n in range(200)]
            for part in range(0, 200, 20):
                await here.bus.ask(memory.APPEND, memory.Append(session="long", messages=said[part : part + 20]))
            sizes = {calls: await run(here, calls) for calls in (1, 20, 80)}
        each = (sizes[80] - sizes[20]) / 60
        print(f"journal bytes by calls: {sizes}, {each:.0f} for each more")
        assert sizes[1] < 20_000
        assert each < 3_000
        assert abs((sizes[20] - sizes[1]) / 19 - each) < 0.1 * each
