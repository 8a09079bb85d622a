"""Functions run step by step, and run again: the same positions, the same answers, or a named difference."""

import asyncio
import gc
import random
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta

import pytest

import natscope
from natscope.agents import Context, FunctionAgent, Result
from natscope.contracts.blocks import TextBlock, ToolResultBlock
from natscope.contracts.errors import FunctionFailed, RunDiverged, SpecInvalid, ToolUnavailable
from natscope.contracts.message import Message
from natscope.contracts.run import Performed
from natscope.contracts.task import Submit
from services.agent.custom.asking import done, failed
from services.agent.custom.branches import MOST_UNJOURNALED, At, Branches
from services.agent.custom.replaying import Replay

TASK = Submit.model_validate({"content": "Go."})
MESSAGE = Message.model_validate({"name": "user", "role": "user", "content": "Go."})
STUBBORN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Python itself complains of a coroutine that cannot be closed, once it is collected: the test sees to that."""
Performer = Callable[[At], Performed]


def result(at: At) -> Performed:
    """A performer whose tools say their name, and whose clock stands still."""
    match at.step.kind:
        case "tool":
            text = [TextBlock(text=f"{at.step.name} at {at.position}")]
            block = ToolResultBlock(id=at.position, name=at.step.name, output=list(text))
            return done(at, Result(block=block).model_dump(mode="json"))
        case "now":
            return done(at, datetime(2026, 1, 1, tzinfo=UTC).isoformat())
        case _:
            return done(at, None)


def play(
    agent: FunctionAgent,
    journal: dict[str, Performed] | None = None,
    *,
    performer: Performer = result,
    pick: Callable[[list[At]], At] = lambda waiting: waiting[0],
    most: int = 1000,
) -> tuple[Branches, dict[str, Performed]]:
    """Run `agent` on a journal; `pick` says what comes to its end next, and after `most` new steps it is killed."""
    journal = dict(journal or {})
    replay, branches = Replay(journal), Branches(agent(Context(TASK), MESSAGE))
    asked, waiting = branches.begin(), list[At]()
    while True:
        while asked:
            at = asked.pop(0)
            entry = replay.kept(at)
            if entry is None:
                waiting.append(at)
                continue
            asked += give(branches, entry)
        if branches.over or not most:
            break
        most -= 1
        at = pick(waiting)
        waiting.remove(at)
        journal[at.position] = performer(at)
        asked = give(branches, journal[at.position])
    if branches.over:
        replay.end()
    branches.close()
    return branches, journal


def _counting(known: dict[str, Performed], twice: list[str]) -> Performer:
    """Return a performer that notes what was done before."""
    known = dict(known)

    def performer(at: At) -> Performed:
        twice.extend([at.position] if at.position in known else [])
        return result(at)

    return performer


def give(branches: Branches, entry: Performed) -> list[At]:
    if entry.failure is not None:
        return branches.failed(entry.position, entry.failure.error())
    return branches.answered(entry.position, entry.value)


@natscope.agent
async def in_turn(ctx: Context, message: Message) -> str:
    first = await ctx.tool("one")
    second = await ctx.tool("two")
    return f"{message.text} {first.text}, {second.text}"


class Nap:
    """Something to await that is of no ctx."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def empty() -> None:
    """Ask for nothing."""


async def twice(ctx: Context, name: str) -> str:
    await ctx.tool(name)
    return (await ctx.tool(name)).text


@natscope.agent
async def at_once(ctx: Context, message: Message) -> str:
    await ctx.tool("before")
    parts = await ctx.gather(twice(ctx, "a"), twice(ctx, "b"), twice(ctx, "c"))
    return ", ".join([*parts, (await ctx.tool("after")).text])


class TestAFunctionThatIsRun:
    def test_is_given_what_it_asked_for_and_answers(self) -> None:
        branches, journal = play(in_turn)
        assert branches.answer == "Go. one at 0, two at 1"
        assert list(journal) == ["0", "1"]

    def test_does_several_things_at_once_at_positions_of_their_own(self) -> None:
        branches, journal = play(at_once)
        assert branches.answer == "a at 1-0-1, b at 1-1-1, c at 1-2-1, after at 2"
        assert set(journal) == {"0", "1-0-0", "1-0-1", "1-1-0", "1-1-1", "1-2-0", "1-2-1", "2"}

    @pytest.mark.parametrize("seed", range(20))
    def test_has_the_same_positions_however_its_parts_overtake_each_other(self, seed: int) -> None:
        branches, journal = play(at_once, pick=random.Random(seed).choice)
        assert (branches.answer, journal.keys()) == (play(at_once)[0].answer, play(at_once)[1].keys())

    def test_is_raised_what_a_step_has_raised(self) -> None:
        @natscope.agent
        async def careful(ctx: Context, message: Message) -> str:
            try:
                await ctx.tool("one")
            except ToolUnavailable as error:
                return error.message
            return "nothing"

        branches, journal = play(careful, performer=lambda at: failed(at, ToolUnavailable("gone")))
        assert branches.answer == "gone"
        assert play(careful, journal, performer=result)[0].answer == "gone"

    def test_waits_for_all_parts_before_it_is_raised_the_first_failure(self) -> None:
        @natscope.agent
        async def parts(ctx: Context, message: Message) -> str:
            await ctx.gather(ctx.tool("good"), ctx.tool("bad"), ctx.tool("worse"))
            return "unreached"

        def performer(at: At) -> Performed:
            return result(at) if at.step.name == "good" else failed(at, ToolUnavailable(at.step.name))

        branches, journal = play(parts, performer=performer, pick=lambda waiting: waiting[-1])
        assert str(branches.failure) == "bad"
        assert len(journal) == 3

    def test_is_told_when_it_awaits_something_that_cannot_be_replayed(self) -> None:
        @natscope.agent
        async def naps(ctx: Context, message: Message) -> None:
            await asyncio.sleep(1)

        async def run() -> BaseException | None:
            return play(naps)[0].failure

        failure = asyncio.run(run())
        assert isinstance(failure, SpecInvalid)
        assert "ctx.sleep" in str(failure)

    @STUBBORN
    def test_that_takes_no_refusal_of_what_it_awaits_is_ended_over_its_head(self) -> None:
        @natscope.agent
        async def naps(ctx: Context, message: Message) -> str:
            for _ in range(2 * MOST_UNJOURNALED):
                try:
                    await Nap()
                except BaseException:
                    continue
            return "rested"

        branches, _ = play(naps)
        assert isinstance(branches.failure, SpecInvalid)
        assert (branches.over, branches.given_up, branches.answer) == (True, True, None)
        del branches
        gc.collect()

    @STUBBORN
    def test_that_gathers_nothing_for_ever_is_ended_over_its_head(self) -> None:
        @natscope.agent
        async def gathers(ctx: Context, message: Message) -> str:
            for _ in range(2 * MOST_UNJOURNALED):
                try:
                    await ctx.gather(empty())
                except BaseException:
                    continue
            return "over"

        branches, _ = play(gathers)
        assert isinstance(branches.failure, FunctionFailed)
        assert branches.given_up
        del branches
        gc.collect()

    def test_that_gathers_nothing_thousands_of_times_goes_on(self) -> None:
        @natscope.agent
        async def gathers(ctx: Context, message: Message) -> str:
            for _ in range(MOST_UNJOURNALED // 2):
                await ctx.gather()
                await ctx.gather(empty())
            return (await ctx.tool("one")).text

        branches, _ = play(gathers)
        assert (branches.answer, branches.given_up) == (f"one at {MOST_UNJOURNALED}", False)

    def test_has_to_be_a_coroutine_function_of_two_parameters(self) -> None:
        async def short(ctx: Context) -> None: ...

        def plain(ctx: Context, message: Message) -> None: ...

        for wrong in (short, plain):
            with pytest.raises(SpecInvalid, match="is no agent"):
                natscope.agent(wrong)  # pyright: ignore[reportArgumentType]


class TestAFunctionThatIsRunAgain:
    @pytest.mark.parametrize("agent", [in_turn, at_once])
    def test_goes_on_from_any_instant_without_doing_anything_twice(self, agent: FunctionAgent) -> None:
        whole, steps = play(agent)
        for killed_after in range(len(steps) + 1):
            for seed in range(5):
                done_twice = list[str]()
                _, journal = play(agent, most=killed_after, pick=random.Random(seed).choice)

                performer = _counting(journal, done_twice)
                again, after = play(agent, journal, performer=performer)
                assert (again.answer, after.keys(), done_twice) == (whole.answer, steps.keys(), [])

    def test_gets_the_time_chance_and_ids_that_it_had(self) -> None:
        @natscope.agent
        async def lucky(ctx: Context, message: Message) -> list[str]:
            return [str(await ctx.now()), str(await ctx.random()), str(await ctx.uuid())]

        values = {"now": "2026-01-01T00:00:00+00:00", "random": 0.25, "uuid": "7b0a60f4-4af4-4a8c-8a2f-6b7f0a6a3e11"}
        first, journal = play(lucky, performer=lambda at: done(at, values[at.step.kind]))
        again, _ = play(lucky, journal, performer=lambda _: pytest.fail("nothing is asked for again"))
        assert first.answer == again.answer == ["2026-01-01 00:00:00+00:00", "0.25", values["uuid"]]

    def test_sleeps_until_the_time_that_it_had_meant(self) -> None:
        @natscope.agent
        async def sleepy(ctx: Context, message: Message) -> None:
            await ctx.sleep(timedelta(hours=2))

        _, journal = play(sleepy, most=1)
        woken = list[object]()
        play(sleepy, journal, performer=lambda at: woken.append(at.step.body["until"]) or result(at))
        assert woken == ["2026-01-01T02:00:00+00:00"]


class TestAFunctionThatHasChanged:
    @staticmethod
    def diverged(after: FunctionAgent, *, before: FunctionAgent = in_turn, most: int = 1000) -> RunDiverged:
        _, journal = play(before, most=most)
        with pytest.raises(RunDiverged) as caught:
            play(after, journal)
        return caught.value

    def test_is_named_when_it_asks_for_something_else(self) -> None:
        @natscope.agent
        async def other(ctx: Context, message: Message) -> None:
            await ctx.tool("one")
            await ctx.approve("May I?")

        error = self.diverged(other)
        assert (error.code, error.details["position"]) == ("run_diverged", "1")
        assert str(error.details["journal"]).startswith("tool 'two'")
        assert str(error.details["code"]).startswith("approve")

    def test_is_named_when_it_gives_other_arguments(self) -> None:
        @natscope.agent
        async def other(ctx: Context, message: Message) -> None:
            await ctx.tool("one", {"a": 1})

        error = self.diverged(other)
        assert error.details["position"] == "0"
        assert error.details["journal"] != error.details["code"]

    def test_is_named_when_it_ends_too_early(self) -> None:
        @natscope.agent
        async def other(ctx: Context, message: Message) -> None:
            await ctx.tool("one")

        assert "has ended" in str(self.diverged(other))

    def test_is_named_when_it_gathers_what_it_did_in_turn_or_the_other_way_round(self) -> None:
        @natscope.agent
        async def gathers(ctx: Context, message: Message) -> None:
            await ctx.gather(ctx.tool("one"), ctx.tool("two"))
            await ctx.tool("three")

        assert self.diverged(gathers).details["position"] in ("0", "2", "1")
        assert self.diverged(in_turn, before=gathers, most=1).details["position"] == "0"

    def test_goes_on_when_what_is_new_comes_behind_all_it_had(self) -> None:
        @natscope.agent
        async def longer(ctx: Context, message: Message) -> str:
            await ctx.tool("one")
            await ctx.tool("two")
            return (await ctx.tool("three")).text

        _, journal = play(in_turn)
        assert play(longer, journal)[0].answer == "three at 2"
