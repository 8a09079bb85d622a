"""`natscope agents`, `tools`, `runs` and `apply`: what there is, in tables or as JSON lines."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from natscope import client
from natscope.cli.asking import NAME, print_json
from natscope.cli.telling import printable, wide_console
from natscope.client.agent_files import read_all
from natscope.client.waiting import Unfinished
from natscope.contracts import tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.task import Finished

NUMBERS = ("steps", "seconds", "tokens in", "out", "calls", "window", "$/M in", "$ used", "$ left", "left")
RUNS = ("task", "agent", "state", "finished", "seconds", "tokens in", "out", "answer")
SPARED = ("out", "tokens in", "finished", "seconds", "agent", "state", "answer")
"""What a narrow screen leaves out of a list of runs, in this order; a task's id is never shortened."""
GAP = 2
LEAST_ANSWER = 12
STATES = {"completed": "green", "failed": "red", "limited": "yellow", "interrupted": "yellow"}


async def agents(*, as_json: bool) -> None:
    """List the agents that are applied."""
    async with client.open(name=NAME) as house:
        found = await house.agents()
    listed(found, as_json, _agents(found), "no agents; `natscope apply deploy/agents`")


async def tools(*, as_json: bool) -> None:
    """List the tools of every host that answers."""
    async with client.open(name=NAME) as house:
        found = await house.tools()
    listed(found, as_json, _tools(found), "nobody serves a tool; is the tool-executor running?")


async def runs(*, limit: int, as_json: bool) -> None:
    """List the tasks that wait or run, and those finished last."""
    async with client.open(name=NAME) as house:
        unfinished = await house.unfinished(limit=limit)
        finished = await house.runs(limit=limit)
    if as_json:
        for task in unfinished:
            line = {"task_id": task.task_id, "agent": task.agent, "state": "unfinished", "session": task.session}
            print_json(line | ({"not_before": task.not_before.isoformat()} if task.not_before else {}))
    rows = [_row(task) for task in unfinished] + [_run(outcome) for outcome in finished]
    table = runs_table(rows, width=wide_console().width)
    listed(finished, as_json, table, "no tasks yet" if not unfinished else None)


async def apply(place: Path, *, as_json: bool) -> None:
    """Apply the agents of a file or folder: all of them, or none if one is wrong."""
    specs = await asyncio.to_thread(read_all, place)
    table = table_of("agent", "what happened")
    async with client.open(name=NAME) as house:
        for spec in specs:
            change = await house.apply(spec)
            table.add_row(spec.name, change)
            if as_json:
                print_json({"agent": spec.name, "change": change})
    if not as_json:
        show(table)


def listed(found: Sequence[BaseModel], as_json: bool, table: Table, none: str | None) -> None:
    """Print what was found: as JSON lines, as a table, or that there is `none`."""
    if as_json:
        for each in found:
            print_json(each.model_dump(mode="json"))
    elif none and not found:
        Console(stderr=True).print(none)
    else:
        show(table)


def table_of(*columns: str) -> Table:
    """Return an empty table; on a narrow screen its last column is cut, on a pipe nothing is."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column in columns:
        last = column == columns[-1]
        table.add_column(
            column, justify="right" if column in NUMBERS else "left", no_wrap=True, ratio=1 if last else None
        )
    return table


def show(table: Table) -> None:
    """Print a table."""
    wide_console().print(table, crop=False)


def _agents(found: Iterable[AgentSpec]) -> Table:
    table = table_of("agent", "model", "tools", "steps", "description")
    for spec in found:
        table.add_row(
            spec.name, spec.model, ", ".join(spec.tools), str(spec.limits.max_steps), printable(spec.description)
        )
    return table


def _tools(found: Iterable[tool.Listed]) -> Table:
    table = table_of("tool", "host", "runs code in", "description")
    for host in found:
        for spec in host.tools:
            first = printable(spec.description).strip().partition("\n")[0]
            table.add_row(spec.name, host.host, host.backend or "", first)
    return table


def runs_table(rows: Sequence[Sequence[str | Text]], *, width: int) -> Table:
    """Return runs as a table that is as wide as its screen at most, unless an id alone is wider."""
    shown = list(RUNS)
    widest = {name: max(len(cell) for cell in (name, *(row[place] for row in rows))) for place, name in enumerate(RUNS)}
    needed = widest | {"answer": LEAST_ANSWER}
    for name in SPARED:
        if sum(needed[each] + GAP for each in shown) > width:
            shown.remove(name)
    table = table_of(*shown)
    table.columns[0].min_width = widest["task"]
    if "answer" in shown:
        table.columns[-1].max_width = width - sum(widest[each] + GAP for each in shown[:-1])
    for row in rows:
        table.add_row(*(cell for name, cell in zip(RUNS, row, strict=True) if name in shown))
    return table


def _row(waiting: Unfinished) -> list[str | Text]:
    at = waiting.not_before
    state = f"from {at:%m-%d %H:%M}" if at else "unfinished"
    return [waiting.task_id, waiting.agent, Text(state, style="cyan"), "", "", "", "", ""]


def _run(outcome: Finished) -> list[str | Text]:
    seconds = (outcome.finished_at - outcome.started_at).total_seconds()
    answer = " ".join(printable(outcome.failure.message if outcome.failure else outcome.text).split())
    return [
        outcome.task_id,
        outcome.agent,
        Text(outcome.state, style=STATES.get(outcome.state, "")),
        f"{outcome.finished_at:%m-%d %H:%M:%S}",
        f"{seconds:.2f}",
        f"{outcome.usage.input_tokens:,}",
        f"{outcome.usage.output_tokens:,}",
        answer[:200],
    ]
