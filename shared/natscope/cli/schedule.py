"""`natscope schedule …`: what each command takes, and nothing of what it does."""

from typing import Annotated, Literal

import typer

from natscope.cli import checks
from natscope.cli.outcome import run

commands = typer.Typer(help="Have agents do something again and again, or once at a time.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The schedule's name.", callback=checks.name)]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]


@commands.command()
def add(  # noqa: PLR0913 - each option by its name
    name: Name,
    agent: Annotated[str, typer.Argument(help="Whom to ask.")],
    question: Annotated[str, typer.Argument(help="What to ask each time.")],
    cron: Annotated[str | None, typer.Option(help="Minute, hour, day, month, weekday: '0 9 * * mon-fri'.")] = None,
    every: Annotated[float | None, typer.Option(help="Seconds between two times.", callback=checks.seconds)] = None,
    at: Annotated[str | None, typer.Option(help="Once: 2026-11-21T18:00:00+01:00.", callback=checks.instant)] = None,
    zone: Annotated[str, typer.Option(help="Whose clock --cron is about.")] = "UTC",
    missed: Annotated[
        Literal["skip", "once"], typer.Option(help="What becomes of times that nobody was there for.")
    ] = "once",
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="The conversation all belongs to.", callback=checks.name)
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a schedule. Each time is one task: `<name>-20261121T180000Z`."""
    from natscope.cli import scheduling

    if sum(each is not None for each in (cron, every, at)) != 1:
        raise typer.BadParameter("one of --cron, --every and --at says when")
    when = scheduling.When(cron, every, at, zone, missed)
    raise typer.Exit(
        run(scheduling.add(name, agent, question, when, session=session, as_json=as_json), as_json=as_json)
    )


@commands.command()
def ls(as_json: Json = False) -> None:
    """List the schedules."""
    from natscope.cli import scheduling

    raise typer.Exit(run(scheduling.ls(as_json=as_json), as_json=as_json))


@commands.command()
def pause(name: Name) -> None:
    """Submit no task of a schedule until it is resumed."""
    from natscope.cli import scheduling

    raise typer.Exit(run(scheduling.pause(name)))


@commands.command()
def resume(name: Name) -> None:
    """Go on with a schedule; times that passed meanwhile were not missed."""
    from natscope.cli import scheduling

    raise typer.Exit(run(scheduling.resume(name)))


@commands.command()
def rm(name: Name) -> None:
    """Remove a schedule; tasks it has submitted go on."""
    from natscope.cli import scheduling

    raise typer.Exit(run(scheduling.rm(name)))
