"""Functions that the tests run as agents."""

import asyncio
import itertools
from datetime import timedelta

from pydantic import JsonValue

import natscope
from natscope.agents import Reply
from natscope.contracts.errors import Refused, RunFenced, SpecInvalid
from natscope.contracts.message import Message
from natscope.contracts.model import Output

_RUNS = itertools.count()


@natscope.agent
async def sums(ctx: natscope.Context, message: Message) -> str:
    """Ask a model and a tool at once, then a model with what they gave."""
    word, total = await ctx.gather(_word(ctx), _sum(ctx))
    at, id, luck = await ctx.now(), await ctx.uuid(), await ctx.random()
    last = await ctx.model(f"{word} {total} {at} {id} {luck}")
    return f"{word} {total}: {last.text}"


async def _word(ctx: natscope.Context) -> str:
    return (await ctx.model("A word.")).text


async def _sum(ctx: natscope.Context) -> str:
    return (await ctx.tool("add", {"a": 2, "b": 3})).text


@natscope.agent
async def steps(ctx: natscope.Context, message: Message) -> str:
    """Ask a model, then a tool."""
    said = await ctx.model(message.text)
    return f"{said.text} {(await ctx.tool('add', {'a': 2, 'b': 2})).text}"


@natscope.agent
async def at_once(ctx: natscope.Context, message: Message) -> str:
    """Ask a model twice at the same time."""
    return " ".join(each.text for each in await ctx.gather(ctx.model("One."), ctx.model("Two.")))


@natscope.agent
async def tries(ctx: natscope.Context, message: Message) -> str:
    """Ask a model and another agent, and say which errors that raises."""
    said: list[str] = []
    for work in (ctx.model("Well?"), ctx.ask("one", "Go.")):
        try:
            said.append((await work).text)
        except Refused as error:
            said.append(f"{type(error).__name__}: {error.message}")
    return " | ".join(said)


@natscope.agent
async def careful(ctx: natscope.Context, message: Message) -> dict[str, JsonValue]:
    """Wait for a person between two models."""
    draft = await ctx.model("Draft.")
    said = await ctx.approve(f"Send {draft.text!r}?", {"to": "all"})
    if not said.approved:
        return {"sent": False, "why": said.reason}
    return {"sent": (await ctx.model("Send.")).text, "to": (said.arguments or {"to": "all"})["to"]}


@natscope.agent
async def unheard(ctx: natscope.Context, message: Message) -> str:
    """Wait for a person, a quarter of a second at most."""
    return f"{await ctx.approve('Well?', wait=timedelta(seconds=0.25))}"


@natscope.agent
async def sleepy(ctx: natscope.Context, message: Message) -> str:
    """Sleep between two models."""
    before = await ctx.model("Before.")
    await ctx.sleep(0.3)
    return f"{before.text}, then {(await ctx.model('After.')).text}"


@natscope.agent
async def crowds(ctx: natscope.Context, message: Message) -> str:
    """Ask three agents at once."""
    await ctx.gather(*(ctx.ask("one", f"{message.text} {place}.") for place in range(3)))
    return "Over."


@natscope.agent
async def spins(ctx: natscope.Context, message: Message) -> str:
    """Ask the time for ever."""
    while True:
        await ctx.now()


VERDICT = Output(
    name="verdict",
    json_schema={
        "type": "object",
        "required": ["objections"],
        "properties": {"objections": {"type": "array", "items": {"type": "string"}}},
    },
)


@natscope.agent
async def edited(ctx: natscope.Context, message: Message) -> Reply:
    """Ask for a judgment of each draft, and write again what is objected to, twice at most."""
    draft = await ctx.model(message.text)
    for _ in range(2):
        verdict = await ctx.model(f"What is wrong with {draft.text!r}?", output=VERDICT)
        found = verdict.output["objections"] if isinstance(verdict.output, dict) else None
        if not found:
            break
        draft = await ctx.model(f"{message.text} Mind: {found}")
    return draft


@natscope.agent
async def half_said(ctx: natscope.Context, message: Message) -> str:
    """Say half of a surrogate pair, wherever the message says."""
    if message.text == "model":
        await ctx.model("\ud83d")
    if message.text == "tool":
        await ctx.tool("add", {"a": float("nan"), "b": 2})
    if message.text == "caught":
        try:
            await ctx.model("\ud83d")
        except SpecInvalid:
            return "caught"
    return "\ud83d"


@natscope.agent
async def endless_number(ctx: natscope.Context, message: Message) -> float:
    """Answer with what JSON has no word for."""
    return float("inf")


@natscope.agent
async def feels_fenced(ctx: natscope.Context, message: Message) -> None:
    """Raise what only the journal can know."""
    raise RunFenced("not mine")


@natscope.agent
async def swarms(ctx: natscope.Context, message: Message) -> None:
    """Ask more people at once than a run may ask for things."""
    await ctx.gather(*(ctx.approve("Well?") for _ in range(10_001)))


@natscope.agent
async def clings(ctx: natscope.Context, message: Message) -> str:
    """Ask a model, whatever is raised."""
    while True:
        try:
            await ctx.model("More.")
        except BaseException:
            continue


@natscope.agent
async def naps_on(ctx: natscope.Context, message: Message) -> str:
    """Await something that no journal has, and take no refusal."""
    for _ in range(20_000):
        try:
            await asyncio.sleep(0)
        except BaseException:
            continue
    return "rested"


@natscope.agent
async def leads(ctx: natscope.Context, message: Message) -> str:
    """Ask two agents at once, and one that it may not ask."""
    answers = await ctx.gather(ctx.ask("one", "Go."), ctx.ask("one", "Go on."))
    try:
        await ctx.ask("stranger", "Hello?")
    except Exception as error:
        return " | ".join([*(each.text for each in answers), type(error).__name__])
    return "unreached"


@natscope.agent
async def spends(ctx: natscope.Context, message: Message) -> str:
    """Ask a model again and again."""
    while True:
        await ctx.model("More.")


@natscope.agent
async def breaks(ctx: natscope.Context, message: Message) -> None:
    """Raise something."""
    raise KeyError("drawer")


@natscope.agent
async def waits(ctx: natscope.Context, message: Message) -> str:
    """Wait for steering and say what was heard."""
    await ctx.approve("Ready?")
    return " and ".join(each.text for each in await ctx.heard())


@natscope.agent
async def recalls(ctx: natscope.Context, message: Message) -> str | None:
    """Say what was said before, if anything was."""
    past = [each.text for each in ctx.past]
    return " | ".join([*past, message.text]) if past else ""


@natscope.agent
async def strange(ctx: natscope.Context, message: Message) -> object:
    """Return what is no answer."""
    return object()


@natscope.agent
async def naps(ctx: natscope.Context, message: Message) -> None:
    """Await something that no journal has."""
    await asyncio.sleep(0.1)


@natscope.agent
async def drifts(ctx: natscope.Context, message: Message) -> None:
    """Ask for something else each time that it is run."""
    await ctx.model(f"Run {next(_RUNS)}")
    await ctx.approve("Well?")


def no_agent() -> None:
    """Nothing that may be run."""
