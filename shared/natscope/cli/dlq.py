"""`natscope dlq …`: what each command takes, and nothing of what it does."""

from typing import Annotated

import typer

from natscope.cli import checks
from natscope.cli.outcome import run

commands = typer.Typer(help="See tasks that nobody could carry out, try them again or drop them.", no_args_is_help=True)

Task = Annotated[str, typer.Argument(help="The task's id.", callback=checks.name)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]


@commands.command()
def ls(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    as_json: Json = False,
) -> None:
    """List the tasks that were buried, the newest first."""
    from natscope.cli import burying

    raise typer.Exit(run(burying.ls(limit=limit, as_json=as_json), as_json=as_json))


@commands.command()
def show(task: Task, as_json: Json = False) -> None:
    """Show why a task was buried, and its body."""
    from natscope.cli import burying

    raise typer.Exit(run(burying.show(task, as_json=as_json), as_json=as_json))


@commands.command()
def retry(task: Task, as_json: Json = False) -> None:
    """Submit a task again, as a new one."""
    from natscope.cli import burying

    raise typer.Exit(run(burying.retry(task, as_json=as_json), as_json=as_json))


@commands.command()
def drop(task: Task, as_json: Json = False) -> None:
    """Remove a task from the list; its outcome stays."""
    from natscope.cli import burying

    raise typer.Exit(run(burying.drop(task, as_json=as_json), as_json=as_json))
