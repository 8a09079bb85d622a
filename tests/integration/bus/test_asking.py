"""Asking and answering, on a real server."""

import pytest
from nats.aio.msg import Msg

from natscope.bus import Bus, BusSettings, Doors, connect, open_room
from natscope.bus.envelope import CLAIM, DIGEST
from natscope.bus.settling import settle
from natscope.contracts import memory, model, tool
from natscope.contracts.blocks import plain
from natscope.contracts.errors import (
    BusUnavailable,
    DeadlineExceeded,
    Internal,
    ServiceNotRunning,
    SessionNotFound,
)
from natscope.contracts.message import Message
from natscope.contracts.task import FINISHED
from tests.nats_server import NatsServer


def _doors(bus: Bus) -> Doors:
    doors = Doors(bus)

    @doors.answers(memory.RECALL)
    async def recall(body: memory.Recall) -> memory.Recalled:
        said = Message(name="echo", role="user", content=plain(str(body.unknown_fields.get("say", ""))))
        return memory.Recalled(messages=[said], position=memory.Position())

    @doors.answers(memory.CLEAR)
    async def clear(body: memory.Clear) -> memory.Cleared:
        raise SessionNotFound(f"no session {body.session!r}", remedy="look at `natscope runs`")

    @doors.answers(memory.EXPORT)
    async def export(body: memory.Export) -> memory.Session:
        raise ZeroDivisionError("secret detail")

    return doors


class TestAsking:
    async def test_the_answer_is_the_contract_of_the_door(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("memory", settings=settings) as room, connect("guest", settings) as bus:
            await room.serve(_doors(room.bus))
            answer = await bus.ask(memory.RECALL, memory.Recall(session="s", say="hello"))  # pyright: ignore[reportCallIssue]
            assert answer.messages[0].text == "hello"

    async def test_a_body_over_the_limit_of_nats_travels_both_ways(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("memory", settings=settings) as room, connect("guest", settings) as bus:
            await room.serve(_doors(room.bus))
            long = "x" * 3_000_000
            answer = await bus.ask(memory.RECALL, memory.Recall(session="s", say=long))  # pyright: ignore[reportCallIssue]
            assert answer.messages[0].text == long

    async def test_the_asker_gets_the_class_and_the_remedy_that_the_answerer_raised(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("memory", settings=settings) as room, connect("guest", settings) as bus:
            await room.serve(_doors(room.bus))
            with pytest.raises(SessionNotFound, match="no session 's'") as caught:
                await bus.ask(memory.CLEAR, memory.Clear(session="s"))
            assert caught.value.remedy == "look at `natscope runs`"

    async def test_an_unforeseen_exception_is_answered_without_its_text(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("memory", settings=settings) as room, connect("guest", settings) as bus:
            await room.serve(_doors(room.bus))
            with pytest.raises(Internal, match="ZeroDivisionError") as caught:
                await bus.ask(memory.EXPORT, memory.Export(session="s"))
            assert "secret" not in str(caught.value)

    async def test_malformed_json_is_answered_at_once_with_its_code_in_the_headers(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("memory", settings=settings) as room, connect("guest", settings) as bus:
            await room.serve(_doors(room.bus))
            reply = await bus.nc.request("memory.recall", b'{"session": ', timeout=20)
            assert reply.headers is not None
            assert reply.headers["Nats-Service-Error-Code"] == "body_invalid"
            assert b"memory.recall" in reply.data

    async def test_nobody_listening_fails_at_once_and_names_the_service(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            with pytest.raises(ServiceNotRunning, match="model-gateway"):
                await bus.ask(model.LIST, model.List(), deadline_s=60)

    async def test_silence_is_a_deadline_exceeded(self, nats_url: str) -> None:
        async with connect("guest", BusSettings(url=nats_url)) as bus:
            await bus.nc.subscribe("model.list")
            with pytest.raises(DeadlineExceeded):
                await bus.ask(model.LIST, model.List(), deadline_s=0.2)

    async def test_no_server_is_said_with_the_way_out(self) -> None:
        with pytest.raises(BusUnavailable, match="natscope up"):
            async with connect("guest", BusSettings(url="nats://127.0.0.1:1")):
                pass

    async def test_an_answer_that_cannot_be_read_costs_no_other(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        answers = [
            (b"no JSON", None),
            (b"", {CLAIM: "nats://blob/bodies/gone", DIGEST: "SHA-256=AAAA"}),
            (b"", {CLAIM: "elsewhere", DIGEST: "SHA-256=AAAA"}),
            (tool.Listed(host="weather", instance="i", tools=[]).model_dump_json().encode(), None),
        ]

        async with connect("host", settings) as host, connect("guest", settings) as bus:

            async def answer(message: Msg) -> None:
                for data, headers in answers:
                    await host.nc.publish(message.reply, data, headers=headers)

            await host.nc.subscribe("tool.list", cb=answer)
            await settle(host.nc)
            listed = await bus.ask_all(tool.LIST, tool.List(), wait_s=2)
            assert [each.host for each in listed] == ["weather"]

    async def test_the_service_is_seen_by_nats_micro(self, nats_url: str) -> None:
        settings = BusSettings(url=nats_url)
        async with open_room("memory", settings=settings) as room, connect("guest", settings) as bus:
            await room.serve(_doors(room.bus))
            await bus.ask(memory.RECALL, memory.Recall(session="s"))
            info = (await bus.nc.request("$SRV.INFO.memory", b"", timeout=20)).data.decode()
            stats = (await bus.nc.request("$SRV.STATS", b"", timeout=20)).data.decode()
            assert '"subject": "memory.recall"' in info
            assert '"num_requests": 1' in stats


class TestAPassword:
    @pytest.mark.parametrize("secret", ["hush", "hu/sh", "hu@sh", "hu#sh"])
    async def test_in_the_address_is_not_shown_when_no_server_answers(self, secret: str) -> None:
        settings = BusSettings(url=f"nats://me:{secret}@127.0.0.1:1, nats://localhost:1")
        assert settings.where == "nats://127.0.0.1:1, nats://localhost:1"
        with pytest.raises(BusUnavailable) as caught:
            async with connect("guest", settings):
                pass
        assert "hu" not in str(caught.value)

    async def test_in_the_address_is_not_shown_when_an_answer_fails_to_come(
        self, nats_url: str, nats_server: NatsServer
    ) -> None:
        address = nats_url.replace("//", "//me:hush@")
        async with connect("guest", BusSettings(url=address)) as bus:
            await bus.nc.subscribe("task.finished.t")
            nats_server.pause()
            try:
                with pytest.raises(BusUnavailable, match=nats_url.removeprefix("nats://")) as caught:
                    await bus.record(FINISHED, memory.Clear(session="s"), "t")
            finally:
                nats_server.resume()
        assert "hush" not in str(caught.value)
