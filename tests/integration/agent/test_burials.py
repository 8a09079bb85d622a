"""Tasks that nobody could carry out: looked at, tried again and dropped by a guest."""

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from natscope.client.house import House as Guest
from natscope.contracts.errors import BodyInvalid, TaskNotFound, Unavailable
from natscope.contracts.run import Parked
from natscope.contracts.task import SUBMIT_IN, Buried, Finished, Submit
from services.agent import working
from services.agent.intake import Task
from services.agent.running import Runner
from tests.integration.agent.house import House, house


async def buried(here: House, *, at_least: int = 1) -> list[Buried]:
    """Return what is buried, once so much is."""
    async with asyncio.timeout(30):
        while True:
            found = await Guest(here.bus).buried()
            if len(found) >= at_least:
                return found
            await asyncio.sleep(0.05)


async def used_twice(here: House, id: str, text: str) -> None:
    """Have a task buried whose id was used before."""
    await here.run("What is 2+2?", task_id=id)
    body = f'{{"task_id": "{id}", "content": "{text}"}}'
    await here.bus.js.publish(f"task.submit.assistant.{id}", body.encode())


class TestABuriedTask:
    async def test_is_listed_and_shown_with_its_reason_and_its_body(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await used_twice(here, "one", "What is 3+3?")
            await buried(here)
            await used_twice(here, "two", "What is 4+4?")
            listed = await buried(here, at_least=2)
            shown = await Guest(here.bus).burial("one")
            newest = await Guest(here.bus).buried(limit=1)
        assert [each.task_id for each in listed] == ["two", "one"]
        assert newest == listed[:1]
        assert (shown.failure.code, shown.subject) == ("task_conflict", "task.submit.assistant.one")
        assert "What is 3+3?" in shown.body

    async def test_is_listed_past_many_that_were_dropped(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await used_twice(here, "first", "What is 3+3?")
            await buried(here)
            for number in range(5):
                await used_twice(here, f"t{number}", "What is 3+3?")
            await buried(here, at_least=6)
            for number in range(4):
                await Guest(here.bus).drop(f"t{number}")
            left = await Guest(here.bus).buried(limit=2)
        assert [each.task_id for each in left] == ["t4", "first"]

    async def test_is_tried_again_as_a_new_task_once(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await used_twice(here, "one", "What is 3+3?")
            await buried(here)
            before = await here.outcome("one")
            ticket = await Guest(here.bus).retry("one")
            outcome = await ticket.result(30)
            with pytest.raises(TaskNotFound, match="'one'"):
                await Guest(here.bus).retry("one")
            assert await Guest(here.bus).buried() == []
            assert await here.outcome("one") == before
        assert (outcome.state, outcome.text) == ("completed", "It is 4.")
        assert "What is 3+3?" in str(here.asked[-1].messages)

    async def test_whose_body_was_large_is_tried_again_whole(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await here.run("What is 2+2?", task_id="one")
            body = Submit.model_validate({"task_id": "one", "content": "x" * 400_000})
            await here.bus.submit(SUBMIT_IN, body, "assistant", "one", message_id="another")
            await buried(here)
            ticket = await Guest(here.bus).retry("one")
            assert (await ticket.result(30)).state == "completed"
            assert "x" * 400_000 in str(here.asked[-1].messages)

    @pytest.mark.parametrize(("body", "why"), [(b'{"contents": 1}', "content"), (b'{"content": " "}', "empty")])
    async def test_that_is_no_task_cannot_be_tried_again_and_stays(self, nats_url: str, body: bytes, why: str) -> None:
        async with house(nats_url) as here:
            await here.bus.js.publish("task.submit.assistant", body, headers={"Nats-Msg-Id": "bad"})
            await buried(here)
            with pytest.raises(BodyInvalid, match=why):
                await Guest(here.bus).retry("bad")
            assert [each.task_id for each in await Guest(here.bus).buried()] == ["bad"]

    async def test_that_is_dropped_is_gone(self, nats_url: str) -> None:
        async with house(nats_url) as here:
            await used_twice(here, "one", "What is 3+3?")
            await buried(here)
            await Guest(here.bus).drop("one")
            assert await Guest(here.bus).buried() == []
            with pytest.raises(TaskNotFound, match="'one'"):
                await Guest(here.bus).drop("one")


class TestATaskThatBreaksItsWorker:
    """A defect of the service stands in for one that no task is known to meet."""

    @pytest.mark.parametrize("unavailable", [0, 6], ids=["at once", "after it was put back often"])
    async def test_is_buried_after_five_times(
        self, nats_url: str, monkeypatch: pytest.MonkeyPatch, unavailable: int
    ) -> None:
        brought = chain([Unavailable("nobody is there")] * unavailable, repeat(ZeroDivisionError("a defect")))
        assert await self._tried(nats_url, monkeypatch, brought) == (unavailable + 5, "run_poisoned")

    async def test_goes_on_where_it_breaks_it_less_often(self, nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        errors = chain([Unavailable("nobody is there")] * 6, [ZeroDivisionError("a defect")] * 4)
        assert await self._tried(nats_url, monkeypatch, errors) == (11, None)

    async def _tried(
        self, url: str, monkeypatch: pytest.MonkeyPatch, errors: Iterator[Exception]
    ) -> tuple[int, str | None]:
        """Return how often a task was tried, each time with the next error, and as what it failed."""
        monkeypatch.setattr(working, "RETRY_S", 0.01)
        runs, tried = Runner.run, 0

        async def run(runner: Runner, task: Task, *, fresh: bool) -> Finished | Parked:
            nonlocal tried
            tried += 1
            if (error := next(errors, None)) is not None:
                raise error
            return await runs(runner, task, fresh=False)

        monkeypatch.setattr(Runner, "run", run)
        async with house(url) as here:
            outcome = await here.run("What is 2+2?")
        return tried, outcome.failure.code if outcome.failure is not None else None
