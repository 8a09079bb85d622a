"""Tasks that nobody could carry out, on the screen."""

import sys

from natscope import client
from natscope.cli.asking import NAME, print_json
from natscope.cli.listing import listed, table_of
from natscope.cli.telling import printable


async def ls(*, limit: int, as_json: bool) -> None:
    """List the tasks that were buried."""
    async with client.open(name=NAME) as house:
        found = await house.buried(limit=limit)
    table = table_of("task", "agent", "deliveries", "code", "reason")
    for each in found:
        agent = each.subject.split(".")[2]
        reason = printable(each.failure.message)
        table.add_row(printable(each.task_id), agent, str(each.deliveries), each.failure.code, reason)
    listed(found, as_json, table, "no task is buried")


async def show(task_id: str, *, as_json: bool) -> None:
    """Show why a task was buried, and its body."""
    async with client.open(name=NAME) as house:
        found = await house.burial(task_id)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    lines = (f"{found.subject}, delivered {found.deliveries} times", str(found.failure.error()), "", found.body)
    sys.stdout.write("\n".join(map(printable, lines)) + "\n")


async def retry(task_id: str, *, as_json: bool) -> None:
    """Submit a task again."""
    async with client.open(name=NAME) as house:
        ticket = await house.retry(task_id)
    if as_json:
        print_json({"task_id": ticket.task_id})
        return
    sys.stdout.write(f"{ticket.task_id}\n")
    sys.stderr.write(f"submitted again; `natscope watch --task {ticket.task_id}` shows it\n")


async def drop(task_id: str, *, as_json: bool) -> None:
    """Remove a task from the list."""
    async with client.open(name=NAME) as house:
        await house.drop(task_id)
    if as_json:
        print_json({"dropped": task_id})
        return
    sys.stderr.write(f"task {task_id} is dropped\n")
