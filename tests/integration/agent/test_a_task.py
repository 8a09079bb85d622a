"""A task, from its subject to its outcome, with the real agent service on a real server."""

import asyncio
import json
from datetime import timedelta

import pytest

from natscope.bus import BusSettings, connect
from natscope.bus.streams import StreamSettings, provision
from natscope.client import Ticket, looking
from natscope.contracts import agent as agents
from natscope.contracts import event, model, tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.errors import AgentNotFound, Failure, ModelNotFound
from natscope.contracts.event import HAPPENED
from natscope.contracts.run import JOURNALED
from natscope.contracts.task import INTERRUPT, Interrupt, Submit
from services.agent.app import app
from services.agent.settings import Settings
from tests.integration.agent.house import SPEC, House, adds_then_answers, call, house, reply
from tests.integration.agent.test_waiting import says_only


async def _told(here: House, task_id: str) -> list[str]:
    """Return the types of a task's events, once its last is there: that may be a moment after its outcome."""
    async with asyncio.timeout(20):
        while True:
            kept = await looking.page(here.bus, "EVENTS", HAPPENED.at(task_id))
            types = [json.loads(message.data)["type"] for message in kept]
            if "reply_end" in types:
                return types
            await asyncio.sleep(0.02)


class TestATask:
    async def test_is_answered_with_what_the_tool_returned(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("What is 2+2?")
            assert (outcome.state, outcome.text) == ("completed", "It is 4.")
            assert (outcome.model_calls, outcome.tool_calls) == (2, 1)
            assert outcome.usage.input_tokens == 20

    async def test_may_be_plain_text_on_the_short_subject(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            ends = await here.bus.nc.subscribe("task.finished.*")
            await here.bus.nc.publish("task.submit.assistant", b"What is 2+2?")
            told = json.loads((await ends.next_msg(timeout=20)).data)
            assert told["text"] == "It is 4."

    async def test_says_whose_budgets_its_model_calls_are_held_to(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            told = await here.bus.nc.request(
                "agent.ask.assistant", b'{"content": "2+2?", "tenant": "acme"}', timeout=20
            )
            assert json.loads(told.data)["state"] == "completed"
            assert [asked.tenant for asked in here.asked] == ["acme", "acme"]

    async def test_may_be_asked_and_waited_for(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            told = await here.bus.nc.request("agent.ask.assistant", b"What is 2+2?", timeout=20)
            assert json.loads(told.data)["text"] == "It is 4."

    async def test_asked_as_a_stream_replies_events_then_the_outcome_then_an_empty_message(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            inbox = here.bus.nc.new_inbox()
            replies = await here.bus.nc.subscribe(inbox)
            await here.bus.nc.publish("agent.ask.assistant", b'{"content": "2+2?", "stream": true}', reply=inbox)
            got: list[dict[str, object]] = []
            while True:
                message = await replies.next_msg(timeout=20)
                if not message.data:
                    break
                got.append(json.loads(message.data))
            assert message.headers is None
            assert got[0]["type"] == "reply_start"
            assert "text_delta" in {event.get("type") for event in got}
            assert got[-1]["text"] == "It is 4."

    async def test_tells_each_step_as_an_event_once_and_in_order(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("What is 2+2?")
            assert await _told(here, outcome.task_id) == [
                "reply_start", "model_call_start", "tool_call_end", "model_call_end", "tool_result",
                "model_call_start", "text_end", "model_call_end", "reply_end",
            ]  # fmt: skip

    async def test_leaves_a_journal_of_deltas(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("What is 2+2?")
            kept = await looking.page(here.bus, "JOURNAL", JOURNALED.at(outcome.task_id))
            assert [json.loads(message.data)["entry"] for message in kept] == [
                "started", "model_replied", "tool_returned", "model_replied", "ended",
            ]  # fmt: skip

    async def test_is_remembered_with_its_calls_and_results(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await here.run("What is 2+2?", session="s1")
            assert [message.role for message in here.sessions["s1"]] == ["user", "assistant", "tool", "assistant"]
            await here.run("And again?", session="s1")
            assert [message.role for message in here.asked[-1].messages][:5] == [
                "system", "user", "assistant", "tool", "assistant",
            ]  # fmt: skip

    async def test_submitted_twice_runs_once(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            body = await here.submit("What is 2+2?")
            await here.outcome(body.task_id)
            await here.bus.nc.publish(f"task.submit.assistant.{body.task_id}", body.model_dump_json().encode())
            await asyncio.sleep(0.5)
            assert (len(here.asked), len(here.called)) == (2, 1)

    async def test_whose_id_is_used_again_with_another_body_is_buried_and_the_first_stands(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            first = await here.run("What is 2+2?", task_id="twice")
            buried = await here.bus.nc.subscribe("task.buried.twice")
            other = Submit(task_id="twice", content="What is 3+3?").model_dump_json().encode()  # pyright: ignore[reportArgumentType]
            await here.bus.nc.publish("task.submit.assistant.twice", other)
            assert json.loads((await buried.next_msg(timeout=20)).data)["failure"]["code"] == "task_conflict"
            assert await here.outcome("twice") == first

    async def test_for_an_unknown_agent_fails_and_says_so(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            outcome = await here.run("Hello", agent="nobody")
            assert outcome.failure is not None
            assert outcome.failure.code == AgentNotFound.code
            with pytest.raises(AgentNotFound, match="nobody"):
                await here.bus.ask(agents.ASK, Submit.model_validate({"content": "Hello"}), "nobody")

    async def test_that_is_malformed_json_fails_with_the_reason(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            ends = await here.bus.nc.subscribe("task.finished.*")
            await here.bus.nc.publish("task.submit.assistant", b'{"content": ')
            told = json.loads((await ends.next_msg(timeout=20)).data)
            assert told["failure"]["code"] == "body_invalid"
            assert "JSON" in told["failure"]["message"]

    async def test_whose_model_is_unknown_fails_with_the_gateways_error(self, nats_url: str) -> None:
        async def unknown(asked: model.Chat) -> model.Chatted:
            raise ModelNotFound(f"no alias {asked.model!r}", remedy="see `natscope models`")

        async with house(nats_url) as here:
            here.mind = unknown
            outcome = await here.run("Hello")
            assert outcome.failure is not None
            assert (outcome.state, outcome.failure.code) == ("failed", "model_not_found")
            assert outcome.failure.remedy == "see `natscope models`"


class TestTheLoop:
    async def test_calls_of_one_reply_run_at_the_same_time(self, nats_url: str) -> None:
        async def two(asked: model.Chat) -> model.Chatted:
            if asked.messages[-1].role == "tool":
                return reply(str(len(asked.messages[-1].content)))
            one = ToolUseBlock(id="a", name="add", input={"a": 1, "b": 1})
            return call(one, one.model_copy(update={"id": "b"}))

        async with house(nats_url) as here:
            here.mind, here.tool_delay_s = two, 0.5
            outcome = await here.run("Both")
            assert outcome.text == "2"
            assert here.most_under_way == 2

    async def test_at_the_step_limit_answers_once_more_without_tools(self, nats_url: str) -> None:
        async def never_done(asked: model.Chat) -> model.Chatted:
            if asked.tool_choice == "none":
                return reply("This is all I found.")
            return call(ToolUseBlock(id="x", name="add", input={"a": 1, "b": 1}))

        limited = AgentSpec.model_validate(SPEC.model_dump() | {"limits": {"max_steps": 3}})
        async with house(nats_url, limited) as here:
            here.mind = never_done
            outcome = await here.run("Go on for ever")
            assert (outcome.state, outcome.limit) == ("limited", "max_steps")
            assert outcome.text == "This is all I found."
            assert len(here.called) == 3

    @pytest.mark.parametrize(("limits", "limit"), [({"tokens": 40}, "tokens"), ({"usd": 0.03}, "usd")])
    async def test_at_a_limit_of_tokens_or_money_answers_once_more_without_tools(
        self, nats_url: str, limits: dict[str, float], limit: str
    ) -> None:
        async def never_done(asked: model.Chat) -> model.Chatted:
            if asked.tool_choice == "none":
                return reply("This is all I found.")
            paid = call(ToolUseBlock(id="x", name="add", input={"a": 1, "b": 1}))
            return paid.model_copy(update={"cost_usd": 0.01})

        limited = AgentSpec.model_validate(SPEC.model_dump() | {"limits": limits})
        async with house(nats_url, limited) as here:
            here.mind = never_done
            outcome = await here.run("Go on for ever")
        assert (outcome.state, outcome.limit, len(here.called)) == ("limited", limit, 3)
        assert outcome.cost_usd == pytest.approx(0.03)  # pyright: ignore[reportUnknownMemberType]

    async def test_an_unknown_tool_is_told_to_the_model_with_the_known_ones(self, nats_url: str) -> None:
        async def wrong_first(asked: model.Chat) -> model.Chatted:
            if asked.messages[-1].role == "tool":
                return reply(asked.messages[-1].content[0].output[0].text)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
            return call(ToolUseBlock(id="x", name="subtract", input={}))

        async with house(nats_url) as here:
            here.mind = wrong_first
            assert (await here.run("Go")).text == "There is no tool 'subtract'. The tools are: add."

    async def test_a_call_cut_by_the_token_limit_is_not_executed(self, nats_url: str) -> None:
        async def cut(asked: model.Chat) -> model.Chatted:
            if asked.messages[-1].role == "tool":
                return reply("understood")
            return call(ToolUseBlock(id="x", name="add", input={"a": 1, "b": 1})).model_copy(
                update={"finish_reason": "length"}
            )

        async with house(nats_url) as here:
            here.mind = cut
            assert (await here.run("Go")).text == "understood"
            assert here.called == []

    async def test_a_call_beyond_repair_is_told_with_the_schema_and_runs_once_it_is_written_right(
        self, nats_url: str
    ) -> None:
        failure = Failure(code="output_invalid", message="the arguments of 'add' are of no use: b is missing")
        seen: list[str] = []

        async def wrong_first(asked: model.Chat) -> model.Chatted:
            if asked.messages[-1].role != "tool":
                return call(ToolUseBlock(id="x", name="add", raw_input='{"a": 1', failure=failure))
            seen.append(asked.messages[-1].content[0].output[0].text)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
            if len(seen) == 1:
                return call(ToolUseBlock(id="y", name="add", input={"a": 1, "b": 1}))
            return reply("done")

        async with house(nats_url) as here:
            here.mind = wrong_first
            outcome = await here.run("Go")
            assert (outcome.state, outcome.text) == ("completed", "done")
            assert [each.call.id for each in here.called] == ["y"]
            assert "b is missing" in seen[0]
            assert '"properties": {"a": {"type": "number"}' in seen[0]

    async def test_calls_beyond_repair_are_asked_for_again_twice_and_no_more(self, nats_url: str) -> None:
        failure = Failure(code="output_invalid", message="of no use")

        async def never_right(asked: model.Chat) -> model.Chatted:
            if asked.tool_choice == "none":
                return reply("I cannot.")
            return call(ToolUseBlock(id="x", name="add", failure=failure))

        async with house(nats_url) as here:
            here.mind = never_right
            outcome = await here.run("Go")
            assert (outcome.state, outcome.limit, outcome.text) == ("limited", "arguments", "I cannot.")
            assert (len(here.asked), here.called) == (4, [])

    async def test_a_denied_agent_runs_no_tool(self, nats_url: str) -> None:
        denied = AgentSpec.model_validate(
            SPEC.model_dump() | {"permissions": {"rules": [{"tool": "*", "behaviour": "deny"}]}}
        )
        async with house(nats_url, denied) as here:
            outcome = await here.run("What is 2+2?")
            assert here.called == []
            assert "may not call" in outcome.text


class TestInterrupting:
    async def test_stops_a_running_tool_and_closes_the_call(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.tool_delay_s = 30
            body = await here.submit("What is 2+2?", session="s")
            await here.began.wait()
            await here.bus.submit(INTERRUPT, Interrupt(reason="enough"), body.task_id, message_id="i")
            outcome = await here.outcome(body.task_id, within_s=15)
            assert outcome.state == "interrupted"
            assert here.sessions["s"][-1].content[0].state == "interrupted"  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            assert here.cancelled == [f"tool.cancelled.{body.task_id}-t1-0"]

    async def test_leaves_the_session_usable(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.tool_delay_s = 30
            body = await here.submit("What is 2+2?", session="s")
            await here.began.wait()
            await here.bus.submit(INTERRUPT, Interrupt(), body.task_id, message_id="i")
            await here.outcome(body.task_id)
            here.tool_delay_s = 0
            assert (await here.run("Again", session="s")).state == "completed"

    async def test_reaches_a_task_that_still_waits(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.tool_delay_s = 1
            first = await here.submit("What is 2+2?", session="s")
            second = await here.submit("What is 2+2?", session="s")
            await here.bus.submit(INTERRUPT, Interrupt(), second.task_id, message_id="i")
            assert (await here.outcome(first.task_id)).state == "completed"
            assert (await here.outcome(second.task_id)).state == "interrupted"
            assert len(here.called) == 1

    async def test_keeps_what_the_model_had_written(self, nats_url: str) -> None:
        async with house(nats_url) as here:

            async def writes(asked: model.Chat) -> model.Chatted:
                for place, word in enumerate(("One, ", "two, ")):
                    await here.bus.say(asked.deltas_to or "", model.Delta(sequence=place, kind="text", text=word))
                await here.work(30)
                return reply("three")

            here.mind = writes
            body = await here.submit("Count.", session="s", stream=True)
            ticket = Ticket(here.bus, body.task_id)
            async with asyncio.timeout(20):
                async for item in ticket.events():
                    if isinstance(item.event, event.TextDelta) and item.event.delta == "two, ":
                        break
            await ticket.interrupt()
            outcome = await here.outcome(body.task_id)
            here.mind = says_only
            await here.run("Go on.", session="s")
        assert (outcome.state, outcome.text) == ("interrupted", "One, two, ")
        assert [message.text for message in here.asked[-1].messages[1:]] == ["Count.", "One, two, ", "Go on."]

    async def test_keeps_what_a_tool_had_printed(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.tool_delay_s = 30
            body = await here.submit("What is 2+2?", session="s", stream=True)
            await here.began.wait()
            (asked,) = here.called
            for place, text in enumerate(("half ", "of it")):
                piece = tool.Progress(call_id=asked.call_id, sequence=place, text=text)
                await here.bus.say(asked.deltas_to or "", piece)
            ticket = Ticket(here.bus, body.task_id)
            async with asyncio.timeout(20):
                async for item in ticket.events():
                    if isinstance(item.event, event.ToolProgress) and item.event.text == "of it":
                        break
            await ticket.interrupt()
            await here.outcome(body.task_id)
        (result,) = [block for block in here.sessions["s"][-1].content if isinstance(block, ToolResultBlock)]
        assert text_of(result.output) == "The call was interrupted. It had printed:\nhalf of it"

    async def test_ends_a_task_in_line_at_once_and_its_session_is_not_told_of_it(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            here.tool_delay_s = 30
            first = await here.submit("What is 2+2?", session="s")
            await here.began.wait()
            second, third = [await here.submit(f"And {n}?", session="s") for n in (2, 3)]
            await here.bus.submit(INTERRUPT, Interrupt(reason="never mind"), second.task_id, message_id="2")
            outcome = await here.outcome(second.task_id, within_s=15)
            told = [item.event async for item in Ticket(here.bus, second.task_id).events()]
            assert await Ticket(here.bus, first.task_id).outcome() is None
            await here.bus.submit(INTERRUPT, Interrupt(), first.task_id, message_id="1")
            here.tool_delay_s = 0
            assert (await here.outcome(third.task_id)).state == "completed"
        assert (outcome.state, outcome.model_calls, [each.type for each in told]) == (
            "interrupted",
            0,
            ["interrupted", "reply_end"],
        )
        assert [message.text for message in here.sessions["s"] if message.role == "user"] == ["What is 2+2?", "And 3?"]

    async def test_ends_a_task_in_line_that_was_interrupted_while_no_agent_was_there(self, nats_url: str) -> None:
        async with house(nats_url, agents=0) as here:
            here.tool_delay_s = 30
            await here.submit("What is 2+2?", session="s")
            second = await here.submit("And 2?", session="s")
            await here.bus.submit(INTERRUPT, Interrupt(), second.task_id, message_id="2")
            async with app(Settings(), bus=here.settings):
                assert (await here.outcome(second.task_id, within_s=15)).state == "interrupted"


class TestASession:
    async def test_runs_its_tasks_one_at_a_time_in_the_order_accepted(self, nats_url: str) -> None:
        async with house(nats_url, agents=2) as here:
            here.tool_delay_s = 0.05
            bodies = [await here.submit(f"task {n}", session="line") for n in range(8)]
            await asyncio.gather(*(here.outcome(body.task_id) for body in bodies))
            asked = [message.text for message in here.sessions["line"] if message.role == "user"]
            assert asked == [f"task {n}" for n in range(8)]

    async def test_keeps_its_order_from_the_short_subject_too(self, nats_url: str) -> None:
        async with house(nats_url, agents=2) as here:
            for n in range(8):
                body = json.dumps({"task_id": f"n{n}", "session": "line", "content": f"task {n}"}).encode()
                await here.bus.js.publish("task.submit.assistant", body)
            await asyncio.gather(*(here.outcome(f"n{n}") for n in range(8)))
            asked = [message.text for message in here.sessions["line"] if message.role == "user"]
            assert asked == [f"task {n}" for n in range(8)]

    async def test_delays_no_other_session(self, nats_url: str) -> None:
        gate = asyncio.Event()

        async def slow_for_some(asked: model.Chat) -> model.Chatted:
            if asked.session == "slow":
                await gate.wait()
            return await adds_then_answers(asked)

        async with house(nats_url) as here:
            here.mind = slow_for_some
            slow = [await here.submit("slow", session="slow") for _ in range(70)]
            assert (await here.run("quick", session="quick")).state == "completed"
            for body in slow:
                await here.bus.submit(INTERRUPT, Interrupt(), body.task_id, message_id=f"i{body.task_id}")
            gate.set()
            await asyncio.gather(*(here.outcome(body.task_id) for body in slow))


class TestABadSubject:
    @pytest.mark.parametrize(
        "subject",
        ["task.submit.my@agent", "task.submit.assistant.my@session", f"task.submit.assistant.{'s' * 80}"],
    )
    async def test_is_buried_and_holds_nobody_up(self, nats_url: str, subject: str) -> None:
        async with house(nats_url) as here:
            buried = await here.bus.nc.subscribe("task.buried.*")
            ends = await here.bus.nc.subscribe("task.finished.good")
            await here.bus.nc.publish(subject, b"hi")
            await here.bus.js.publish("task.submit.assistant", b"What is 2+2?", headers={"Nats-Msg-Id": "good"})
            assert json.loads((await ends.next_msg(timeout=20)).data)["text"] == "It is 4."
            assert json.loads((await buried.next_msg(timeout=20)).data)["failure"]["code"] == "body_invalid"

    async def test_of_another_session_than_the_body_names_is_refused(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            ends = await here.bus.nc.subscribe("task.finished.*")
            await here.bus.nc.publish("task.submit.assistant.s2", b'{"session": "s1", "content": "hi"}')
            told = json.loads((await ends.next_msg(timeout=20)).data)
            assert told["failure"]["code"] == "body_invalid"
            assert here.asked == []


class TestAFullQueue:
    async def test_drains_when_the_agents_come_back(self, nats_url: str) -> None:
        async with connect("admin", BusSettings(url=nats_url)) as bus:
            await provision(bus.js, StreamSettings(max_waiting_tasks=3, ack_wait=timedelta(seconds=2)))
            for n in range(3):
                await bus.js.publish("task.submit.assistant", f"task {n}".encode(), headers={"Nats-Msg-Id": f"n{n}"})
        async with house(nats_url) as here:
            for n in range(3):
                assert (await here.outcome(f"n{n}")).state == "completed"
