"""`natscope dlq`: tasks that nobody could carry out."""

from natscope.bus import BusSettings, connect
from natscope.contracts.errors import Failure
from natscope.contracts.task import BURIED, Buried
from tests.e2e.cli.conftest import Start
from tests.integration.client import fake_agent

FAILURE = Failure(code="run_poisoned", message="task 'one' lost its worker 6 times")


async def bury(url: str, *, body: str = "What is 3+3?", task_id: str = "one") -> None:
    subject = "task.submit.assistant"
    what = Buried(task_id=task_id, subject=subject, failure=FAILURE, deliveries=6, body=body)
    async with connect("test", BusSettings(url=url)) as bus:
        await bus.record(BURIED, what, task_id)


class TestDlq:
    async def test_lists_shows_and_drops(self, nats_url: str, natscope: Start) -> None:
        await bury(nats_url)
        listed = await (await natscope("dlq", "ls", url=nats_url)).done()
        shown = await (await natscope("dlq", "show", "one", url=nats_url)).done()
        dropped = await (await natscope("dlq", "drop", "one", url=nats_url)).done()
        none = await (await natscope("dlq", "ls", url=nats_url)).done()
        assert listed.out.splitlines()[1].split()[:4] == ["one", "assistant", "6", "run_poisoned"]
        assert shown.out.splitlines() == [
            "task.submit.assistant, delivered 6 times",
            "task 'one' lost its worker 6 times",
            "",
            "What is 3+3?",
        ]
        assert (dropped.code, dropped.err) == (0, "task one is dropped\n")
        assert (none.code, none.out, none.err) == (0, "", "no task is buried\n")

    async def test_tries_again(self, nats_url: str, natscope: Start) -> None:
        await bury(nats_url)
        async with fake_agent.fake_agent(nats_url):
            again = await (await natscope("dlq", "retry", "one", "--json", url=nats_url)).done()
            task = again.lines[0]["task_id"]
            told = await (await natscope("watch", "--task", task, url=nats_url)).done()
        assert task == "one-retry1"
        assert fake_agent.ANSWER in told.out

    async def test_says_what_it_cannot_do(self, nats_url: str, natscope: Start) -> None:
        await bury(nats_url, body='{"contents": 1}')
        unknown = await (await natscope("dlq", "show", "two", url=nats_url)).done()
        wrong = await (await natscope("dlq", "retry", "one", url=nats_url)).done()
        assert (unknown.code, unknown.err) == (
            4,
            "error: no task 'two' is buried (`natscope dlq ls` lists those that are)\n",
        )
        assert (wrong.code, len(wrong.err.splitlines())) == (4, 1)
