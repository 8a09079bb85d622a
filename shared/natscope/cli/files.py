"""`natscope files …`: what each command takes, and nothing of what it does."""

from pathlib import Path
from typing import Annotated

import typer

from natscope.cli import checks
from natscope.cli.outcome import run

commands = typer.Typer(help="See, bring and fetch a session's files.", no_args_is_help=True)

Session = Annotated[str, typer.Argument(help="The conversation they belong to.", callback=checks.name)]
Paths = Annotated[list[str], typer.Argument(help="Paths in the workspace.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]


@commands.command()
def ls(
    session: Session,
    pattern: Annotated[str, typer.Argument(help="Only files like this, e.g. `**/*.csv`.")] = "**",
    as_json: Json = False,
) -> None:
    """List the files."""
    from natscope.cli import filing

    raise typer.Exit(run(filing.ls(session, pattern, as_json=as_json), as_json=as_json))


@commands.command()
def get(
    session: Session,
    paths: Paths,
    to: Annotated[Path, typer.Option(help="Folder to put them in, each under its own path.")] = Path(),
    as_json: Json = False,
) -> None:
    """Fetch files."""
    from natscope.cli import filing

    raise typer.Exit(run(filing.get(session, paths, to, as_json=as_json), as_json=as_json))


@commands.command()
def put(
    session: Session,
    places: Annotated[list[Path], typer.Argument(help="Files, or folders with all that is in them.", exists=True)],
    into: Annotated[str, typer.Option(help="Folder of the workspace; without, its top.")] = "",
    as_json: Json = False,
) -> None:
    """Bring files; those that are there are replaced."""
    from natscope.cli import filing

    raise typer.Exit(run(filing.put(session, places, into, as_json=as_json), as_json=as_json))


@commands.command()
def rm(session: Session, paths: Paths, as_json: Json = False) -> None:
    """Remove files, or folders with all that is in them."""
    from natscope.cli import filing

    raise typer.Exit(run(filing.rm(session, paths, as_json=as_json), as_json=as_json))


@commands.command()
def snapshot(
    session: Session,
    archive: Annotated[Path, typer.Argument(help="The archive to write, a tar.")],
    as_json: Json = False,
) -> None:
    """Save the whole workspace as one archive."""
    from natscope.cli import filing

    raise typer.Exit(run(filing.snapshot(session, archive, as_json=as_json), as_json=as_json))


@commands.command()
def restore(
    session: Session,
    archive: Annotated[Path, typer.Argument(help="An archive that `snapshot` wrote.", exists=True, dir_okay=False)],
    as_json: Json = False,
) -> None:
    """Fill the workspace from an archive; what it held before is gone."""
    from natscope.cli import filing

    raise typer.Exit(run(filing.restore(session, archive, as_json=as_json), as_json=as_json))
