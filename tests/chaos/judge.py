"""Holding the promises against the facts: what is broken, and the table of what was done."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from natscope.contracts.blocks import text_of
from natscope.contracts.run import ModelReplied, Started, ToolReturned
from natscope.contracts.task import Finished
from tests.chaos import story
from tests.chaos.facts import Event, Facts, entries_of

GATEWAY = "model-gateway"
WINDOW_S = 110.0
"""So long the server drops an event that is told again under its id (two minutes, and who tells it may be slow)."""

LATE_S = 1.0
"""So much later than it was sent may a busy provider write a question down; who sent it may be dead by then."""


@dataclass(frozen=True)
class Done:
    """A tool call that has its result, and what it was."""

    task: str
    agent: str
    number: int
    tool: str
    state: str
    text: str


def broken(facts: Facts) -> list[str]:
    """Return every promise that was not kept, in words; none is what is wanted."""
    return [*_unfinished(facts), *_wrong(facts), *_acted_twice(facts), *_paid_twice(facts), *_misheard(facts)]


def doubles_of_the_control(facts: Facts) -> int:
    """Return how many calls the tool without a ledger has carried out more than once."""
    return sum(times > 1 for mark, times in facts.booked.items() if mark.startswith(story.CARELESS))


def done(facts: Facts) -> Iterator[Done]:
    """Give every tool call that has its result."""
    for task, journal in facts.journals.items():
        started = journal[0]
        if not isinstance(started, Started):
            continue
        number = int(task.split("-")[1])
        for entry in journal:
            if isinstance(entry, ToolReturned):
                told = entry.result
                yield Done(task, started.agent.name, number, told.name, told.state, text_of(told.output).strip())


def _unfinished(facts: Facts) -> Iterator[str]:
    tasks = {story.task_of(number) for number in range(facts.runs)} | set(facts.journals)
    for task in sorted(tasks):
        outcomes = facts.outcomes.get(task, ())
        entries = Counter(entry.entry for entry in facts.journals.get(task, ()))
        if not outcomes:
            yield f"{task}: {'stuck' if entries else 'lost'}: {dict(entries)}"
        elif len(outcomes) > 1:
            yield f"{task}: {len(outcomes)} outcomes"
        elif (entries["started"], entries["ended"]) != (1, 1):
            yield f"{task}: a journal with {dict(entries)}"


def _wrong(facts: Facts) -> Iterator[str]:
    for each in done(facts):
        denied = each.tool == story.BOOK and story.verdict_on(each.number) == "deny"
        said = {"success": story.right(each.agent, each.number, each.tool), "unknown": each.text}
        if denied:
            said = {"denied": f"The call was denied: {story.TOO_DEAR}"}
        aide = facts.outcomes.get(f"{each.task}-t1-3")
        if each.tool == story.ASK and aide:
            said = {"success": aide[0].text}
        if said.get(each.state) != each.text:
            yield f"{each.task}: {each.tool} came to {each.state}: {each.text[:120]!r}"
    for task, outcomes in facts.outcomes.items():
        yield from _wrong_answer(facts, task, outcomes[0])


def _wrong_answer(facts: Facts, task: str, outcome: Finished) -> Iterator[str]:
    journal = facts.journals.get(task, ())
    results = [entry.result for entry in journal if isinstance(entry, ToolReturned)]
    asked = next((e.message.tool_uses for e in journal if isinstance(e, ModelReplied)), [])
    by_call = {result.id: story.as_told(result.state, text_of(result.output)) for result in results}
    wanted = story.final([by_call.get(call.id, "") for call in asked])
    if outcome.state != "completed" or outcome.text != wanted or len(results) != len(asked):
        why = f" ({outcome.failure.message[:200]})" if outcome.failure else ""
        yield f"{task}: {outcome.state}{why}: {outcome.text[:200]!r}, not {wanted[:200]!r}"


def _acted_twice(facts: Facts) -> Iterator[str]:
    for each in done(facts):
        counts, mark = (facts.booked, f"{each.tool}-{each.number}")
        if each.tool == story.PYTHON:
            counts, mark = facts.counted, f"{each.agent}-{each.number}"
        if counts is None or each.tool not in (story.PYTHON, story.BOOK):
            continue
        times = counts.get(mark, 0)
        if times not in {"success": (1,), "unknown": (0, 1)}.get(each.state, (0,)):
            yield f"{each.task}: {each.tool} was carried out {times} times; its result is {each.state}"


def _paid_twice(facts: Facts) -> Iterator[str]:
    deaths = [at for name, at in facts.kills if name == GATEWAY]
    for call, times in facts.asked.items():
        for before, after in pairwise(times):
            if not any(before - LATE_S <= death <= after for death in deaths):
                yield f"{call}: asked for twice, {after - before:.2f} s apart, and no gateway had died in between"


def _misheard(facts: Facts) -> Iterator[str]:
    for number in range(facts.runs):
        task = story.task_of(number)
        kept = facts.events.get(task, ())
        heard = list(facts.heard.get(task, ()))
        if heard != [event.sequence for event in kept][: len(heard)] or not _ends(kept, heard):
            yield f"{task}: the client heard {len(heard)} of {len(kept)} events, or not in their order"
        twice = [new.id for old, new in _again(kept) if new.at - old.at < WINDOW_S]
        if twice:
            yield f"{task}: events told twice: {twice[:5]}"
        ends = sum(event.type == "reply_end" for event in kept)
        if ends != 1:
            yield f"{task}: {ends} times the end of its reply"


def _again(kept: Sequence[Event]) -> Iterator[tuple[Event, Event]]:
    """Give each event that was told again, behind the one that it repeats."""
    known: dict[str, Event] = {}
    for event in kept:
        if event.id in known:
            yield known[event.id], event
        known[event.id] = event


def _ends(kept: Sequence[Event], heard: Sequence[int]) -> bool:
    """Return whether what was heard goes up to the end of the reply."""
    types = {event.sequence: event.type for event in kept}
    return bool(heard) and types.get(heard[-1]) == "reply_end"


def table(facts: Facts, *, seconds: float) -> str:
    """Return what was killed, handed on and really done."""
    killed = Counter(name for name, _ in facts.kills)
    entries = entries_of(facts.journals)
    calls = list(done(facts))
    asked = [len(times) for times in facts.asked.values()]
    per = {tool: Counter(each.state for each in calls if each.tool == tool) for tool in (story.PYTHON, story.BOOK)}
    control = {mark: n for mark, n in facts.booked.items() if mark.startswith(story.CARELESS)}
    careful = {mark: n for mark, n in facts.booked.items() if mark.startswith(f"{story.BOOK}-")}
    tasks = len(facts.journals)
    late = sum(1 for kept in facts.events.values() for _ in _again(kept))
    rows = [
        ("runs submitted", f"{facts.runs} (tasks with those of asked agents: {tasks}), in {seconds:.0f} s"),
        ("kills", f"{sum(killed.values())}: " + ", ".join(f"{name} {n}" for name, n in killed.most_common())),
        ("outcomes", f"{sum(map(len, facts.outcomes.values()))} of {len(facts.outcomes)} tasks"),
        ("tasks delivered again", f"{max(0, facts.deliveries - tasks)} (counted by the server)"),
        ("runs taken over", f"{entries['resumed']}, parked {entries['parked']} times, {entries['decided']} decisions"),
        (
            "model calls",
            f"{len(asked)} by request id, {sum(asked)} HTTP requests: {sum(n > 1 for n in asked)} paid again",
        ),
        ("programs in cells", f"{dict(per[story.PYTHON])}; {_told(facts.counted)}"),
        ("bookings, with ledger", f"{dict(per[story.BOOK])}; {_told(careful)}"),
        ("bookings, the control", _told(control)),
        ("events heard", f"{sum(map(len, facts.heard.values()))} by the client; {late} told again after two minutes"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)


def _told(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return "real executions cannot be counted in these cells"
    return f"{sum(counts.values())} real executions, {sum(n > 1 for n in counts.values())} more than once"
