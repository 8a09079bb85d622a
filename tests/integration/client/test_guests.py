"""What the client needs of NATS, and that deploy/nats.conf gives a guest just that."""

import asyncio

import pytest

from natscope import client
from natscope.bus import BusSettings
from natscope.client.attaching import Attachment
from natscope.contracts import model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import FileBlock
from natscope.contracts.errors import BusUnavailable, CredentialRefused, Failure, ServiceNotRunning
from natscope.contracts.task import BURIED, Buried, Finished
from tests.integration.client import fake_agent


async def weighs(stage: fake_agent.Stage) -> Finished:
    """Say how large the attached file is."""
    (file,) = [block for block in stage.body.content if isinstance(block, FileBlock)]
    return stage.finished("completed", text=str(len(await stage.bus.blobs.bytes_of(file))))


def guest(admin: BusSettings) -> BusSettings:
    return BusSettings(url=admin.url)


class TestGuest:
    async def test_it_submits_follows_and_looks_back(self, admin: BusSettings) -> None:
        async with fake_agent.fake_agent("", settings=admin), client.open(guest(admin)) as house:
            ticket = await house.submit("assistant", "primes?", task_id="t1", stream=True)
            told = [heard.event.type async for heard in ticket.events()]
            outcome = await ticket.result(20)
            assert (told[-1], outcome.text) == ("reply_end", fake_agent.ANSWER)
            assert [spec.name for spec in await house.agents()] == ["assistant"]
            assert [run.task_id for run in await house.runs()] == ["t1"]
            assert await house.unfinished() == []
            assert len((await house.trace("t1", patience_s=10)).spans) >= 1

    async def test_its_files_and_long_questions_arrive(self, admin: BusSettings) -> None:
        async with fake_agent.fake_agent("", weighs, settings=admin), client.open(guest(admin)) as house:
            file = Attachment("large.bin", bytes(300_000))
            outcome = await house.ask("assistant", "how large?" * 50_000, files=[file], deadline_s=20)
            assert outcome.text == "300000"

    async def test_it_interrupts_and_sends_again(self, admin: BusSettings) -> None:
        play = fake_agent.waits_to_be_interrupted
        async with fake_agent.fake_agent("", play, settings=admin), client.open(guest(admin)) as house:
            await house.submit("assistant", "wait", task_id="t1")
            ticket = await house.submit("assistant", "wait", task_id="t1")
            await ticket.interrupt()
            assert (await ticket.result(20)).state == "interrupted"

    async def test_it_may_ask_whether_an_answer_fits(self, admin: BusSettings) -> None:
        async with client.open(guest(admin)) as house:
            with pytest.raises(ServiceNotRunning, match=r"model\.fit"):
                await house.bus.ask(model.FIT, model.Fit(json_schema={}, value=4))

    async def test_it_sees_what_is_buried_and_may_not_drop_it(self, admin: BusSettings) -> None:
        failure = Failure(code="run_poisoned", message="it kills its worker")
        what = Buried(task_id="t1", subject="task.submit.assistant", failure=failure, deliveries=6, body="Hi")
        async with client.open(admin) as operator, client.open(guest(admin)) as house:
            await operator.bus.record(BURIED, what, "t1")
            assert await house.buried() == [what]
            with pytest.raises(CredentialRefused, match="may not drop"):
                await house.drop("t1")
            await operator.drop("t1")
            assert await house.buried() == []

    async def test_it_speaks_and_listens_in_hubs(self, admin: BusSettings) -> None:
        async with client.open(guest(admin)) as house:
            await house.hub("market").say("before")
            listening = house.hub("market").listen()
            heard = asyncio.ensure_future(anext(listening))
            async with asyncio.timeout(30):
                while not heard.done():  # nobody tells when it has begun to listen
                    await house.bus.nc.publish("hub.said.market", b"by hand")
                    await asyncio.wait([heard], timeout=0.1)
            utterance = heard.result()
            assert (utterance.said.message.name, utterance.said.message.text) == ("guest", "by hand")
            await listening.aclose()

    async def test_it_may_not_apply_agents_or_serve_tools_and_is_told_who_may(self, admin: BusSettings) -> None:
        async def hello(name: str) -> str:
            return f"hello {name}"

        async with client.open(guest(admin)) as house:
            with pytest.raises(CredentialRefused, match="NATS_USER=admin"):
                await house.apply(AgentSpec(name="mine", system_prompt="hi"))
        with pytest.raises(BusUnavailable, match="set NATS_USER"):
            async with client.serve(hello, settings=guest(admin)):
                pass

    async def test_the_admin_may(self, admin: BusSettings) -> None:
        async with client.open(admin) as house:
            assert await house.apply(AgentSpec(name="mine", system_prompt="hi")) == "created"
