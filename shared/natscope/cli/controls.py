"""`natscope decide`, `steer` and `interrupt`: what each takes, and nothing of what it does."""

from typing import Annotated, Literal

import typer

from natscope.cli import checks
from natscope.cli.outcome import run

Task = Annotated[str, typer.Argument(help="The task's id.", callback=checks.name)]


def decide(  # noqa: PLR0913 - each option by its name
    task: Task,
    call: Annotated[str | None, typer.Argument(help="The call; without, what the task waits with is listed.")] = None,
    verdict: Annotated[
        Literal["approve", "deny", "answer", "edit", "retry", "abort"] | None,
        typer.Argument(help="What is decided; the last three, and answer, about a run that needs help."),
    ] = None,
    text: Annotated[str, typer.Option("--text", "-t", help="The answer, the last message's words, or why not.")] = "",
    arguments: Annotated[
        str | None, typer.Option(help="Approve with these arguments instead, or those of --tool: a JSON object.")
    ] = None,
    tool: Annotated[str | None, typer.Option(help="Answer for the model with a call of this tool.")] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="Holds for the rest of the run, as 'allow execute_shell git *'; may be repeated."),
    ] = None,
    always: Annotated[bool, typer.Option("--always", help="Approve such calls for the rest of the run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")] = False,
) -> None:
    """Decide on calls that a task waits with, or list them."""
    from natscope.cli import deciding

    if call is None:
        raise typer.Exit(run(deciding.show(task, as_json=as_json), as_json=as_json))
    if verdict is None:
        raise typer.BadParameter("say approve, deny or answer; or of a run that needs help edit, retry or abort")
    if (wrong := deciding.why_not(verdict, text=text, arguments=arguments, tool=tool)) is not None:
        raise typer.BadParameter(wrong)
    if always and verdict != "approve":
        raise typer.BadParameter("--always goes with approve")
    typed = deciding.Typed(call, verdict, text, arguments, tool, tuple(rule or ()), always)
    raise typer.Exit(run(deciding.decide(task, typed), as_json=as_json))


def steer(
    task: Task,
    message: Annotated[str, typer.Argument(help="What the agent is told.")],
    redirect: Annotated[bool, typer.Option("--redirect", help="Drop what is under way for it.")] = False,
) -> None:
    """Tell a task something before its next model call."""
    from natscope.cli import deciding

    if not message.strip():
        raise typer.BadParameter("the message is empty")
    raise typer.Exit(run(deciding.steer(task, message, redirect=redirect)))


def interrupt(
    task: Task, reason: Annotated[str, typer.Option("--text", "-t", help="Why; the event `interrupted` has it.")] = ""
) -> None:
    """Stop a task, whether it runs, waits or parks; what it has produced is kept."""
    from natscope.cli import deciding

    raise typer.Exit(run(deciding.interrupt(task, reason)))
