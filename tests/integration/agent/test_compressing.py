"""Full windows: a summary instead of what was said before; the session keeps every word."""

import asyncio

import pytest

from natscope.client import Ticket
from natscope.contracts import event, memory, model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.errors import ContextTooLong, OutputInvalid
from natscope.contracts.message import Message
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import SPEC, Model, call, house, reply

FIELDS = ("task_overview", "current_state", "important_discoveries", "next_steps", "context_to_preserve")


def spec(**compression: object) -> AgentSpec:
    return AgentSpec.model_validate(SPEC.model_dump() | {"compression": compression})


def is_summary(asked: model.Chat) -> bool:
    return asked.output is not None and asked.output.name == "summary"


def summary(text: str) -> model.Chatted:
    """Return a summary that says `text`."""
    output = dict.fromkeys(FIELDS, "") | {"current_state": text}
    return reply("{}").model_copy(update={"output": output, "cost_usd": 0.5})


def conversation(asked: model.Chat) -> list[str]:
    """Return what the model was given, a line each message: who, and how it begins."""
    return [f"{message.role}: {_shown(message)[:40]}" for message in asked.messages if message.role != "system"]


def _shown(message: Message) -> str:
    parts: list[str] = []
    for block in message.content:
        if isinstance(block, ToolUseBlock):
            parts.append(f"calls {block.name}")
        elif isinstance(block, ToolResultBlock):
            parts.append(f"returns {text_of(block.output)}")
    return " ".join([text_of(message.content), *parts]).strip()


def adds(times: int) -> Model:
    """Return a model that calls a tool so often, then ends; each result makes its prompts 100 tokens longer."""
    done = 0

    async def mind(asked: model.Chat) -> model.Chatted:
        nonlocal done
        if is_summary(asked):
            return summary(f"after {done}")
        if done == times:
            return reply("Done.")
        done += 1
        results = sum(message.role == "tool" for message in asked.messages)
        used = model.Usage(input_tokens=100 * (results + 1), output_tokens=5)
        made = call(ToolUseBlock(id=f"c{done}", name="add", input={"a": done, "b": 0}))
        return made.model_copy(update={"usage": used})

    return mind


class TestAFullWindow:
    async def test_has_the_model_go_on_from_a_summary_and_the_latest_messages(self, nats_url: str) -> None:
        async with house(nats_url, spec(context_size=500, at=0.5, keep=0.0)) as here:
            here.mind = adds(4)
            outcome = await here.run("Add them up.")
            told = [item.event async for item in Ticket(here.bus, outcome.task_id).events()]
        (asked,) = [each for each in here.asked if is_summary(each)]
        assert "Add them up." in text_of(asked.messages[0].content)
        assert "(add returns, success: 1)" in text_of(asked.messages[0].content)
        after = here.asked[here.asked.index(asked) + 1]
        assert conversation(after) == [
            "user: This is what was said before, summarised",
            "assistant: calls add",
            "tool: returns 3",
        ]
        assert "after 3" in text_of(after.messages[1].content)
        assert outcome.text == "Done."
        assert [each.step for each in told if isinstance(each, event.Compressed)] == [4]

    async def test_is_counted_to_what_the_run_has_spent(self, nats_url: str) -> None:
        async with house(nats_url, spec(context_size=500, at=0.5, keep=0.0)) as here:
            here.mind = adds(4)
            outcome = await here.run("Add them up.")
        assert outcome.cost_usd == 0.5
        assert outcome.usage.input_tokens == 100 + 200 + 300 + 10 + 200 + 10

    async def test_keeps_as_much_of_the_latest_as_it_may(self, nats_url: str) -> None:
        async with house(nats_url, spec(context_size=500, at=0.5, keep=0.029)) as here:
            here.mind = adds(4)
            await here.run("Add them up.")
        place = next(place for place, each in enumerate(here.asked) if is_summary(each))
        assert [line.split(":")[0] for line in conversation(here.asked[place + 1])] == [
            "user",
            "assistant",
            "tool",
            "assistant",
            "tool",
        ]

    async def test_leaves_the_session_whole_and_later_runs_begin_with_the_summary(self, nats_url: str) -> None:
        async with house(nats_url, spec(context_size=500, at=0.5, keep=0.0), real_memory=True) as here:
            here.mind = adds(4)
            await here.run("Add them up.", session="s")
            document = await here.bus.ask(memory.EXPORT, memory.Export(session="s"))
            here.mind = lambda _: _say("Yes.")
            await here.run("Was that all?", session="s")
            await here.run("Really?", session="s")
        kept = [_shown(message) for message in document.messages]
        assert kept[0] == "Add them up."
        assert sum(line.startswith("returns") for line in kept) == 4
        before, last = here.asked[-2:]
        assert conversation(before) == [
            "user: This is what was said before, summarised",
            "assistant: calls add",
            "tool: returns 3",
            "assistant: calls add",
            "tool: returns 4",
            "assistant: Done.",
            "user: Was that all?",
        ]
        assert conversation(last)[:-2] == conversation(before)
        assert sum(is_summary(each) for each in here.asked) == 1

    async def test_of_the_sessions_past_is_summarised_before_the_first_call(self, nats_url: str) -> None:
        async with house(nats_url, spec(context_size=1000, at=0.5, keep=0.1), real_memory=True) as here:
            here.mind = lambda asked: _say("x" * 1000) if not is_summary(asked) else _sum("they said x")
            for _ in range(2):
                await here.run("Say something long.", session="s")
            asked = len(here.asked)
            await here.run("And now?", session="s")
        assert [is_summary(each) for each in here.asked[asked:]] == [True, False]
        assert conversation(here.asked[-1]) == ["user: This is what was said before, summarised", "user: And now?"]

    async def test_is_summarised_once_although_its_process_dies_with_it(self, nats_url: str) -> None:
        async with house(nats_url, spec(context_size=500, at=0.5, keep=0.0), agents=0) as here:
            began, gate = asyncio.Event(), asyncio.Event()
            adding = adds(4)

            async def mind(asked: model.Chat) -> model.Chatted:
                if is_summary(asked):
                    began.set()
                    await gate.wait()
                return await adding(asked)

            here.mind = mind
            async with app(Settings(), bus=here.settings):
                task = await here.submit("Add them up.")
                await began.wait()
            gate.set()
            async with app(Settings(), bus=here.settings):
                outcome = await here.outcome(task.task_id)
        assert outcome.text == "Done."
        assert sum(is_summary(each) for each in here.asked) == 1

    async def test_that_nobody_knew_of_is_noticed_when_the_model_refuses(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            adding = adds(2)

            async def mind(asked: model.Chat) -> model.Chatted:
                if not is_summary(asked) and len(asked.messages) > 4:
                    raise ContextTooLong("the prompt is too long")
                return await adding(asked)

            here.mind = mind
            outcome = await here.run("Add them up.")
        assert (outcome.state, outcome.text) == ("completed", "Done.")
        assert sum(is_summary(each) for each in here.asked) == 1

    async def test_that_stays_too_small_is_a_typed_failure(self, nats_url: str) -> None:
        async with house(nats_url) as here:

            async def mind(asked: model.Chat) -> model.Chatted:
                if is_summary(asked):
                    return summary("short")
                raise ContextTooLong("the prompt is too long")

            here.mind = mind
            outcome = await here.run("Go.")
        assert outcome.failure is not None
        assert outcome.failure.code == "context_too_long"
        assert len(here.asked) == 1

    async def test_whose_summary_fails_leaves_the_oldest_out_and_says_so(self, nats_url: str) -> None:
        async with house(nats_url, spec(context_size=500, at=0.5, keep=0.0)) as here:
            adding = adds(4)

            async def mind(asked: model.Chat) -> model.Chatted:
                if is_summary(asked):
                    raise OutputInvalid("no summary")
                return await adding(asked)

            here.mind = mind
            outcome = await here.run("Add them up.")
        assert outcome.text == "Done."
        assert conversation(here.asked[-1])[0].startswith("user: [What was said before is left out")


class TestItsSettings:
    @pytest.mark.parametrize("wrong", [{"at": 0.95}, {"keep": 0.6}, {"context_size": 1}])
    def test_are_held_to_their_limits(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="compression"):
            spec(**wrong)


async def _say(text: str) -> model.Chatted:
    return reply(text)


async def _sum(text: str) -> model.Chatted:
    return summary(text)
