"""deploy/nats.conf: every user may do its part, and nobody more than that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NoAnswer
from nats.js.errors import NotFoundError
from pydantic import SecretStr

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.orphans import Orphaned, unless_orphaned
from natscope.bus.settling import settle
from natscope.contracts.event import HAPPENED, Custom
from natscope.contracts.memory import CLEAR, Clear, Cleared
from natscope.contracts.tool import door_of
from natscope.telemetry import TelemetrySettings, telemetry_for
from tests.nats_server import NatsServer

BUILT_IN = [
    *("execute_python", "execute_shell", "read_file", "write_file", "edit_file", "list_files", "glob", "grep"),
    *("fetch_url", "task_create", "task_get", "task_list", "task_update"),
]
OURS = ["agent", "memory", "model-gateway", "tool-executor"]


class Refusals(list[str]):
    """What the server refused, as it said so."""

    async def note(self, error: Exception) -> None:
        self.append(str(error).lower())

    async def name(self, subject: str) -> bool:
        """Return whether the server refused `subject`; waits for it at most half a minute."""
        for _ in range(3000):
            if any(f'"{subject.lower()}"' in said and "violation" in said for said in self):
                return True
            await asyncio.sleep(0.01)
        return False


@asynccontextmanager
async def connected(server: NatsServer, user: str | None) -> AsyncIterator[tuple[Client, Refusals]]:
    """Connect as `user` (None: as a guest) the way natscope does."""
    refusals = Refusals()
    who = {"user": user, "password": f"of-{user}", "inbox_prefix": f"_INBOX.{user}"} if user else {}
    client = await nats.connect(server.url, allow_reconnect=False, error_cb=refusals.note, **who)
    try:
        yield client, refusals
    finally:
        await client.close()


@asynccontextmanager
async def bus_of(server: NatsServer, user: str) -> AsyncIterator[Bus]:
    """Connect as `user` with natscope's own bus."""
    settings = BusSettings.model_construct(url=server.url, user=user, password=SecretStr(f"of-{user}"))
    silent = telemetry_for(user, TelemetrySettings.model_construct(endpoint=None, disabled=True))
    async with connect(user, settings, silent) as bus:
        yield bus


async def answers(client: Client, subject: str, reply: bytes) -> None:
    """Answer `subject` with `reply`."""

    async def answer(message: Msg) -> None:
        await message.respond(reply)

    await client.subscribe(subject, cb=answer)
    await settle(client)


FORBIDDEN_TO_PUBLISH = [
    (None, "run.journal.r1"),
    (None, "task.finished.t1"),
    (None, "task.defer.assistant.t1"),
    (None, "$JS.API.STREAM.PURGE.LATER"),
    (None, "task.event.t1"),
    (None, "model.chat"),
    (None, "model.embed"),
    (None, "$KV.usage.tenant.default"),
    (None, "tool.call.execute_python"),
    (None, "tool.mcp.mcp__s__add"),
    (None, "tool.held.i1"),
    (None, "hook.ask.warden"),
    ("tool-host", "hook.ask.warden"),
    (None, "workspace.write.i1"),
    (None, "$KV.todo.s1"),
    (None, "session.log.s1"),
    (None, "session.ended.s1"),
    (None, "$KV.agents.assistant"),
    (None, "$KV.schedules.daily"),
    (None, "$KV.replies.x"),
    (None, "$JS.API.STREAM.DELETE.TASKS"),
    (None, "$JS.API.STREAM.PURGE.EVENTS"),
    (None, "$JS.API.CONSUMER.DURABLE.CREATE.TASKS.mine"),
    (None, "$JS.API.CONSUMER.MSG.NEXT.TASKS.runs"),
    (None, "$JS.API.CONSUMER.DELETE.TASKS.runs"),
    (None, "$JS.ACK.TASKS.runs.1.1.1.1.0"),
    *((None, f"_INBOX.{user}.whatever.1") for user in ("admin", "agent", "memory", "model-gateway", "tool-executor")),
    ("agent", "session.log.s1"),
    ("agent", "$KV.calls.c1"),
    ("agent", "$JS.API.STREAM.UPDATE.JOURNAL"),
    ("model-gateway", "task.submit.assistant"),
    ("model-gateway", "tool.call.execute_python"),
    ("model-gateway", "run.journal.r1"),
    *(
        ("model-gateway", f"$JS.API.{what}.KV_{bucket}")
        for bucket in ("breakers", "usage")
        for what in ("STREAM.INFO", "CONSUMER.CREATE", "STREAM.PURGE")
    ),
    ("tool-executor", "model.chat"),
    ("tool-executor", "memory.clear"),
    ("tool-executor", "task.finished.t1"),
    ("tool-host", "task.submit.assistant"),
    ("tool-host", "tool.call.execute_python"),
    ("tool-host", "tool.mcp.mcp__s__add"),
    ("tool-host", "model.chat"),
    ("tool-host", "$KV.agents.assistant"),
    ("tool-host", "approval.decide.t1"),
    ("tool-caller", "approval.decide.t1"),
    ("tool-caller", "tool.held.i1"),
    ("tool-caller", "model.chat"),
    ("tool-caller", "memory.clear"),
    ("tool-caller", "$KV.agents.assistant"),
    ("tool-caller", "$KV.calls.c1"),
    ("tool-caller", "_INBOX.agent.whatever.1"),
    ("memory", "task.submit.assistant"),
    ("memory", "$KV.replies.x"),
    ("memory", "$JS.API.STREAM.PURGE.JOURNAL"),
    ("memory", "$JS.API.STREAM.PURGE.OBJ_bodies"),
    (None, "$O.said.M.x"),
    (None, "$JS.API.STREAM.MSG.GET.OBJ_said"),
    ("agent", "$O.said.M.x"),
]
FORBIDDEN_TO_HEAR = [
    (None, "model.chat"),
    (None, "run.journal.*"),
    (None, "hook.ask.*"),
    ("tool-caller", "hook.ask.*"),
    (None, "_INBOX.agent.>"),
    (None, ">"),
    ("agent", "tool.call.*"),
    *((user, subject) for user in (None, "tool-host", "tool-caller") for subject in ("tool.mcp.*", "tool.mcp.>")),
    ("agent", "_INBOX.>"),
    ("model-gateway", "task.submit.*"),
    ("model-gateway", "_INBOX.agent.>"),
    ("tool-executor", "model.chat"),
    ("tool-executor", ">"),
    ("tool-host", "run.journal.*"),
    ("tool-host", "task.event.*"),
    ("tool-caller", "tool.call.*"),
    ("tool-caller", "_INBOX.>"),
    ("memory", "tool.call.*"),
]
ALLOWED_TO_PUBLISH = [
    (None, "task.submit.assistant"),
    (None, "task.interrupt.t1"),
    (None, "approval.decide.t1"),
    (None, "hub.said.h1"),
    ("tool-caller", "task.submit.assistant"),
    ("agent", "run.journal.r1"),
    ("agent", "task.event.t1"),
    ("agent", "task.interrupt.t1"),
    ("agent", "task.defer.assistant.t1"),
    ("agent", "$KV.schedules.daily"),
    ("agent", "task.finished.t1"),
    ("model-gateway", "$KV.replies.x"),
    ("model-gateway", "$KV.replies.embed=x"),
    ("model-gateway", "$KV.usage.tenant.default"),
    ("model-gateway", "$KV.breakers.b0ac4a1a"),
    ("tool-executor", "$KV.calls.c1"),
    ("tool-executor", "$KV.todo.s1"),
    ("memory", "session.log.s1"),
    ("memory", "$O.said.M.x"),
]


class TestPublishing:
    @pytest.mark.parametrize(("user", "subject"), FORBIDDEN_TO_PUBLISH)
    async def test_what_is_not_a_users_part_is_refused(
        self, guarded: NatsServer, user: str | None, subject: str
    ) -> None:
        async with connected(guarded, user) as (client, refusals):
            await client.publish(subject, b"x")
            assert await refusals.name(subject)

    @pytest.mark.parametrize(("user", "subject"), ALLOWED_TO_PUBLISH)
    async def test_what_is_a_users_part_is_kept_by_its_stream(
        self, guarded: NatsServer, user: str | None, subject: str
    ) -> None:
        async with connected(guarded, user) as (client, refusals):
            acknowledged = await client.jetstream().publish(subject, b"x")
            assert acknowledged.stream
            assert refusals == []


class TestHearing:
    @pytest.mark.parametrize(("user", "subject"), FORBIDDEN_TO_HEAR)
    async def test_what_is_said_to_others_is_not_heard(
        self, guarded: NatsServer, user: str | None, subject: str
    ) -> None:
        async with connected(guarded, user) as (client, refusals):
            await client.subscribe(subject)
            assert await refusals.name(subject)

    async def test_a_guest_that_listens_to_every_inbox_hears_no_answer_to_a_service(self, guarded: NatsServer) -> None:
        async with (
            connected(guarded, None) as (guest, _),
            connected(guarded, "agent") as (agent, _),
            connected(guarded, "memory") as (memory, _),
        ):
            overheard = await guest.subscribe("_INBOX.>")
            await answers(memory, "memory.recall", b"secret")
            assert (await agent.request("memory.recall", b"", timeout=20)).data == b"secret"
            await agent.publish("_INBOX.open", b"control")
            assert (await overheard.next_msg(timeout=20)).data == b"control"

    async def test_a_guest_may_make_schedules(self, guarded: NatsServer) -> None:
        async with connected(guarded, None) as (guest, _), connected(guarded, "agent") as (agent, _):
            await answers(agent, "schedule.*", b"made")
            assert (await guest.request("schedule.add", b"", timeout=20)).data == b"made"

    @pytest.mark.parametrize("subject", ["model.list", "model.usage"])
    async def test_a_guest_may_ask_what_models_there_are_and_what_was_used(
        self, guarded: NatsServer, subject: str
    ) -> None:
        async with connected(guarded, None) as (guest, _), connected(guarded, "model-gateway") as (gateway, _):
            await answers(gateway, "model.*", b"told")
            assert (await guest.request(subject, b"", timeout=20)).data == b"told"

    async def test_a_guest_serves_tools_of_its_own_but_none_of_the_houses(self, guarded: NatsServer) -> None:
        async with connected(guarded, None) as (guest, _), connected(guarded, "agent") as (agent, _):
            await answers(guest, "tool.call.*", b"from a guest")
            assert (await agent.request("tool.call.weather", b"", timeout=20)).data == b"from a guest"
            with pytest.raises((NoAnswer, NoRespondersError)):
                await agent.request("tool.call.execute_python", b"", timeout=0.3)

    async def test_who_serves_tools_may_serve_hooks(self, guarded: NatsServer) -> None:
        async with connected(guarded, "tool-host") as (host, _), connected(guarded, "agent") as (agent, _):
            await answers(host, "hook.ask.*", b"{}")
            assert (await agent.request("hook.ask.warden", b"", timeout=20)).data == b"{}"

    @pytest.mark.parametrize("user", [None, "tool-host"])
    @pytest.mark.parametrize("name", BUILT_IN)
    async def test_nobody_else_serves_what_is_built_in(self, guarded: NatsServer, user: str | None, name: str) -> None:
        async with connected(guarded, user) as (other, refusals):
            await other.subscribe(f"tool.call.{name}")
            assert await refusals.name(f"tool.call.{name}")

    @pytest.mark.parametrize("user", [None, "tool-host"])
    async def test_nobody_else_serves_or_overhears_a_tool_of_an_mcp_server(
        self, guarded: NatsServer, user: str | None
    ) -> None:
        name = "mcp__s__add"
        async with (
            connected(guarded, user) as (hostile, refusals),
            connected(guarded, "tool-executor") as (executor, _),
            connected(guarded, "agent") as (agent, _),
        ):
            await answers(hostile, f"tool.call.{name}", b"forged")
            await answers(hostile, door_of(name).at(name), b"forged")
            assert await refusals.name(door_of(name).at(name))
            await answers(executor, door_of(name).at(name), b"true")
            heard = {(await agent.request(door_of(name).at(name), b"", timeout=20)).data for _ in range(5)}
            control = (await agent.request(f"tool.call.{name}", b"", timeout=20)).data
        assert (heard, control) == ({b"true"}, b"forged")

    async def test_whoever_calls_tools_sees_that_a_host_has_died_over_a_call(self, guarded: NatsServer) -> None:
        claim = {"Natscope-Ledger": '{"state":"begun","holder":"p1","digest":"d"}'}
        async with connected(guarded, "tool-host") as (host, refusals):
            await host.jetstream().publish("$KV.calls.c1", b"", headers=claim)
            await host.jetstream().publish("$KV.instances.p1", b"victim")
            assert refusals == []

        async def told(user: str) -> str:
            async with bus_of(guarded, user) as bus:
                with pytest.raises(Orphaned) as died:
                    await asyncio.wait_for(unless_orphaned(bus, "calls", "c1", asyncio.sleep(60)), 20)
                return died.value.message

        assert await asyncio.gather(told("agent"), told("tool-caller")) == ["'victim' died over it"] * 2

    async def test_a_guest_asks_for_a_session_s_files_wherever_they_are(self, guarded: NatsServer) -> None:
        async with (
            connected(guarded, None) as (guest, _),
            connected(guarded, "tool-executor") as (one, refusals),
            connected(guarded, "tool-executor") as (other, _),
        ):
            await answers(other, "workspace.list.other", b"its files")

            async def hand_on(message: Msg) -> None:
                await message.respond((await one.request("workspace.list.other", message.data, timeout=20)).data)

            await one.subscribe("workspace.list", cb=hand_on)
            await settle(one)
            assert (await guest.request("workspace.list", b"", timeout=20)).data == b"its files"
            assert refusals == []


class TestForging:
    async def test_a_guest_that_hears_where_an_acknowledgement_goes_answers_nothing_else(
        self, guarded: NatsServer
    ) -> None:
        async with (
            connected(guarded, None) as (guest, refusals),
            bus_of(guarded, "agent") as agent,
            connected(guarded, "memory") as (memory, _),
        ):
            facts = await guest.subscribe("task.event.*")
            asked = await memory.subscribe("memory.clear")
            await asyncio.gather(settle(guest), settle(memory))
            await agent.record(HAPPENED, Custom(task_id="forged", name="x"), "forged")
            inbox, _, last = (await facts.next_msg(timeout=20)).reply.rpartition(".")
            asking = asyncio.create_task(agent.ask(CLEAR, Clear(session="s")))
            question = await asked.next_msg(timeout=20)
            same, _, token = question.reply.rpartition(".")
            assert (same, len(token)) == (inbox, len(last)), "the answer goes beside the one that was heard"
            assert abs(int(token, 16) - int(last, 16)) > 1_000_000, "and its place does not follow from it"
            await guest.publish(question.reply, Cleared(removed=666).model_dump_json().encode())
            assert await refusals.name(question.reply)
            await question.respond(Cleared(removed=1).model_dump_json().encode())
            assert await asking == Cleared(removed=1)

    async def test_a_service_that_is_not_kept_from_it_would_be_believed(self, guarded: NatsServer) -> None:
        async with bus_of(guarded, "agent") as agent, connected(guarded, "memory") as (memory, _):
            asked = await memory.subscribe("memory.clear")
            await settle(memory)
            asking = asyncio.create_task(agent.ask(CLEAR, Clear(session="s")))
            question = await asked.next_msg(timeout=20)
            async with connected(guarded, "tool-executor") as (other, refusals):
                await other.publish(question.reply, Cleared(removed=666).model_dump_json().encode())
                assert await asking == Cleared(removed=666)
                assert refusals == []

    async def test_a_guest_answers_what_it_was_asked_with_several_messages(self, guarded: NatsServer) -> None:
        async with connected(guarded, None) as (guest, refusals), connected(guarded, "agent") as (agent, _):

            async def talk(message: Msg) -> None:
                for n in range(3):
                    await message.respond(str(n).encode())

            await guest.subscribe("tool.call.talk", cb=talk)
            heard = await agent.subscribe(agent.new_inbox())
            await asyncio.gather(settle(guest), settle(agent))
            await agent.publish("tool.call.talk", b"", reply=heard.subject)
            assert [(await heard.next_msg(timeout=20)).data for _ in range(3)] == [b"0", b"1", b"2"]
            assert refusals == []


class TestStreams:
    @pytest.mark.parametrize("user", [*OURS, None])
    async def test_everybody_sees_that_they_are_there(self, guarded: NatsServer, user: str | None) -> None:
        async with connected(guarded, user) as (client, refusals):
            assert (await client.jetstream().stream_info("DLQ")).config.name == "DLQ"
            assert refusals == []

    @pytest.mark.parametrize("user", [*OURS, None])
    async def test_everybody_stores_and_loads_media(self, guarded: NatsServer, user: str | None) -> None:
        async with connected(guarded, user) as (client, refusals):
            blobs = await client.jetstream().object_store("blobs")
            name = f"picture of {user}"
            await blobs.put(name, b"x" * 300_000)
            assert (await blobs.get(name)).data == b"x" * 300_000
            assert refusals == []

    async def test_a_guest_follows_a_tasks_events(self, guarded: NatsServer) -> None:
        async with connected(guarded, "agent") as (agent, _), connected(guarded, None) as (guest, refusals):
            await agent.jetstream().publish("task.event.followed", b"hello")
            heard = await guest.jetstream().subscribe("task.event.followed", stream="EVENTS", ordered_consumer=True)
            assert (await heard.next_msg(timeout=20)).data == b"hello"
            assert refusals == []

    async def test_a_guest_reads_the_declared_agents(self, guarded: NatsServer) -> None:
        async with connected(guarded, "admin") as (admin, _), connected(guarded, None) as (guest, _):
            await (await admin.jetstream().key_value("agents")).put("assistant", b"spec")
            agents = await guest.jetstream().key_value("agents")
            assert (await agents.get("assistant")).value == b"spec"

    async def test_there_is_none_that_was_not_provisioned(self, guarded: NatsServer) -> None:
        async with connected(guarded, "admin") as (admin, _):
            with pytest.raises(NotFoundError):
                await admin.jetstream().stream_info("OTHER")


class TestPasswords:
    async def test_a_wrong_one_is_refused(self, guarded: NatsServer) -> None:
        client = Client()
        try:
            with pytest.raises(NatsError, match=r"(?i)authorization"):
                await client.connect(guarded.url, user="agent", password="of-memory", allow_reconnect=False)
        finally:
            await client.close()
