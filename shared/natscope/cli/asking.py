"""`natscope ask`, `chat` and `watch`: tasks submitted, talked about, and looked at."""

import json
import sys
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from natscope import client
from natscope.cli.attending import attend
from natscope.cli.outcome import COMPLETED, code_for, tell
from natscope.cli.screen import Screen
from natscope.cli.telling import Answer, JsonLines, Teller, printable
from natscope.cli.typed import Lines, is_attended
from natscope.client.following import follow
from natscope.client.hubs import listen
from natscope.client.looking import last, sequence_of
from natscope.client.submitting import check_agent
from natscope.contracts import event
from natscope.contracts.contract import new_id
from natscope.contracts.errors import NatscopeError

NAME = "natscope-cli"


@dataclass(frozen=True)
class Ask:
    """What `natscope ask` was told."""

    agent: str
    question: str
    files: tuple[str, ...] = ()
    session: str | None = None
    task_id: str | None = None
    stream: bool = True
    as_json: bool = False
    timeout_s: float | None = None


def teller_for(*, as_json: bool, stream: bool = True, asks: bool = False) -> Teller:
    """Return who tells a task: programs get JSON, people the steps or, without streaming, the bare answer."""
    if as_json:
        return JsonLines()
    return Screen(asks=asks) if stream else Answer()


async def ask(asked: Ask) -> int:
    """Submit one task and tell it; return the exit code."""
    async with client.open(name=NAME) as house:
        asks = is_attended()
        teller = teller_for(as_json=asked.as_json, stream=asked.stream, asks=asks)
        return await ask_in(house, asked, teller, Lines() if asks else None)


async def ask_in(house: client.House, asked: Ask, teller: Teller, lines: Lines | None = None) -> int:
    """Submit one task in an open house and tell it; return the exit code.

    If steps are shown, whoever types `lines` is asked about calls that wait for a person.
    """
    with house.span(asked.agent, session=asked.session):
        ticket = await house.submit(
            asked.agent,
            asked.question,
            session=asked.session,
            task_id=asked.task_id,
            files=asked.files,
            stream=asked.stream,
        )
        teller.submitted(ticket.task_id, asked.agent, asked.session)
        asks = lines if isinstance(teller, Screen) else None
        return await attend(ticket, teller, timeout_s=asked.timeout_s, asks=asks)


async def chat(agent: str, *, session: str | None, as_json: bool) -> int:
    """Ask line by line in one session, until the input ends; return the exit code of the last that failed."""
    session = session or f"chat-{new_id()[:12]}"
    code = COMPLETED
    lines = Lines()
    async with client.open(name=NAME) as house:
        await check_agent(house.bus, agent)
        sys.stderr.write(f"session {session}; Ctrl-C stops an answer, Ctrl-D leaves\n")
        while (line := await lines.next(f"{agent}> ")) is not None:
            if line.strip():
                asked = Ask(agent, line.strip(), session=session, as_json=as_json)
                try:
                    teller = teller_for(as_json=as_json, asks=is_attended())
                    code = await ask_in(house, asked, teller, lines if is_attended() else None) or code
                except NatscopeError as error:
                    tell(error, as_json=as_json)
                    code = code_for(error)
    return code


async def watch_task(task_id: str, *, after: int, as_json: bool) -> int:
    """Tell a task that somebody submitted, from its first event on; return the exit code for its outcome."""
    async with client.open(name=NAME) as house:
        ticket = house.ticket(task_id)
        begun = await last(house.bus, event.HAPPENED.stream or "", event.HAPPENED.at(task_id))
        if begun is None and await ticket.outcome() is None:
            sys.stderr.write(f"waiting for task {task_id!r}…\n")
        return await attend(ticket, teller_for(as_json=as_json), stops=False, after=after)


async def watch_hub(hub: str | None, *, after: int | None, as_json: bool) -> int:
    """Show what is said in a hub, or in all of them (None), until Ctrl-C."""
    console = Console(highlight=False, soft_wrap=True)
    async with client.open(name=NAME) as house:
        async for heard in listen(house.bus, hub, after=after):
            message = heard.said.message
            if as_json:
                line = {"sequence": heard.sequence, "hub": heard.hub, "said": heard.said.model_dump(mode="json")}
                print_json(line)
            else:
                where = "" if hub else f"#{heard.hub} "
                console.print(Text.assemble((where, "dim"), (message.name, "bold"), f": {printable(message.text)}"))
    return COMPLETED


async def watch_all(*, as_json: bool) -> int:
    """Show the steps of all tasks as they happen, a line each, until Ctrl-C; pieces of text are left out."""
    console = Console(highlight=False, soft_wrap=True)
    stream = event.HAPPENED.stream or ""
    async with client.open(name=NAME) as house:
        newest = await last(house.bus, stream, event.HAPPENED.wildcard)
        after = sequence_of(newest) if newest else 0
        async for kept in follow(house.bus, stream, event.HAPPENED.wildcard, after=after):
            if kept is None:
                continue
            happened = await house.bus.read(event.HAPPENED, kept.message)
            if as_json:
                print_json({"kind": "event", "sequence": kept.sequence, "event": happened.model_dump(mode="json")})
            elif not happened.type.endswith("_delta"):
                console.print(Text.assemble((happened.task_id, "dim"), f" {_line_of(happened)}"))
    return COMPLETED


def print_json(value: object) -> None:
    """Write `value` as one line of JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _line_of(happened: event.TaskEvent) -> str:
    match happened:
        case event.ReplyStart():
            detail = f"{happened.agent}, session {happened.session}"
        case event.ToolMissing():
            detail = happened.tool
        case event.ToolCallEnd():
            detail = happened.call.name
        case event.ToolResult():
            detail = f"{happened.result.name}: {happened.result.state}"
        case event.TextEnd():
            detail = " ".join(happened.text.split())[:100]
        case event.ReplyEnd():
            detail = happened.state
        case event.LimitReached():
            detail = happened.limit
        case _:
            detail = ""
    return printable(f"{happened.type.replace('_', ' ')} {detail}".rstrip())
