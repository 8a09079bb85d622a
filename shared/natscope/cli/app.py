"""The command line: what each command takes, and nothing of what it does."""

import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from natscope.cli import checks, controls, dlq, files, schedule
from natscope.cli.outcome import run

app = typer.Typer(
    name="natscope",
    help="Agents on NATS: durable, sandboxed, traced.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 completed, 1 failed, 2 wrong usage, 3 unavailable, 4 refused, 5 limit, 130 interrupted.",
)

app.add_typer(files.commands, name="files")
app.add_typer(dlq.commands, name="dlq")
app.add_typer(schedule.commands, name="schedule")

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]
Scope = Literal["tenant", "agent", "session", "provider", "model"]
Session = Annotated[
    str | None, typer.Option("--session", "-s", help="The conversation it belongs to.", callback=checks.name)
]


@app.callback()
def options(
    url: Annotated[
        str, typer.Option(envvar="NATS_URL", help="Where NATS is; user and password come from the environment.")
    ] = "nats://127.0.0.1:4222",
) -> None:
    """Agents on NATS: durable, sandboxed, traced."""
    os.environ["NATS_URL"] = url


def _exit(command: Coroutine[Any, Any, int | None], *, as_json: bool = False, fast: bool = False) -> NoReturn:
    raise typer.Exit(run(command, as_json=as_json, fast=fast))


@app.command()
def ask(
    agent: Annotated[str, typer.Argument(help="Whom to ask; `natscope agents` lists them.")],
    question: Annotated[str, typer.Argument(help="What to ask.")],
    file: Annotated[list[str] | None, typer.Option("--file", "-f", help="A file to attach; may be repeated.")] = None,
    session: Session = None,
    task_id: Annotated[
        str | None, typer.Option(help="Asked again under the same id, it is one task.", callback=checks.name)
    ] = None,
    stream: Annotated[bool, typer.Option(help="Show what happens as it happens; without, only the answer.")] = True,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to wait; the task goes on after that.", callback=checks.seconds)
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask an agent, show its steps and its answer. Ctrl-C interrupts the run."""
    from natscope.cli import asking

    if not question.strip():
        raise typer.BadParameter("the question is empty")
    asked = asking.Ask(
        agent, question, tuple(file or ()), session, task_id, stream=stream, as_json=as_json, timeout_s=timeout
    )
    _exit(asking.ask(asked), as_json=as_json)


@app.command()
def chat(
    agent: Annotated[str, typer.Argument(help="Whom to talk to.")] = "assistant",
    session: Session = None,
    as_json: Json = False,
) -> None:
    """Talk to an agent, line by line, in one session."""
    from natscope.cli import asking

    _exit(asking.chat(agent, session=session, as_json=as_json), as_json=as_json)


@app.command()
def watch(
    task: Annotated[
        str | None, typer.Option(help="One task, from its first event to its outcome.", callback=checks.name)
    ] = None,
    hub: Annotated[
        str | None, typer.Option(help="What is said in a hub; `*` for all of them.", callback=checks.hub)
    ] = None,
    after: Annotated[int | None, typer.Option(help="Begin behind this sequence number.")] = None,
    as_json: Json = False,
) -> None:
    """Watch all tasks, one task, or a hub, live. Ctrl-C only leaves."""
    from natscope.cli import asking

    if task and hub:
        raise typer.BadParameter("either --task or --hub")
    if task:
        command = asking.watch_task(task, after=after or 0, as_json=as_json)
    elif hub:
        command = asking.watch_hub(None if hub == "*" else hub, after=after, as_json=as_json)
    else:
        command = asking.watch_all(as_json=as_json)
    _exit(command, as_json=as_json)


@app.command()
def agents(as_json: Json = False) -> None:
    """List the agents."""
    from natscope.cli import listing

    _exit(listing.agents(as_json=as_json), as_json=as_json)


@app.command()
def tools(as_json: Json = False) -> None:
    """List the tools and who serves them."""
    from natscope.cli import listing

    _exit(listing.tools(as_json=as_json), as_json=as_json)


app.command()(controls.decide)
app.command()(controls.steer)
app.command()(controls.interrupt)


@app.command()
def serve(
    places: Annotated[
        list[str],
        typer.Argument(help="Python files or modules with tools (`@natscope.tool`) and hooks (`@natscope.hook`)."),
    ],
    host: Annotated[
        str, typer.Option(help="Processes of the same host share what is asked.", callback=checks.name)
    ] = "tools",
    namesakes: Annotated[
        Literal["refuse", "rename", "override"], typer.Option(help="If another host has a tool of that name.")
    ] = "refuse",
    reload: Annotated[bool, typer.Option(help="Serve changed files anew, without a gap.")] = True,
) -> None:
    """Serve your own tools, and hooks by the names of their functions, to every agent, until Ctrl-C."""
    from natscope.cli import serving

    offer = serving.Offer(tuple(places), host, namesakes)
    _exit(serving.reloading(offer) if reload else serving.once(offer), fast=True)


@app.command()
def mcp(
    agent: Annotated[list[str] | None, typer.Option(help="Offer this agent only; may be repeated.")] = None,
    tools: Annotated[bool, typer.Option("--tools", help="Offer the house's tools too.")] = False,
    http: Annotated[
        int | None, typer.Option(min=0, max=65535, help="A port for streamable HTTP; 0: a free one.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; beyond this machine NATSCOPE_MCP_TOKEN has to be set.")
    ] = "127.0.0.1",
) -> None:
    """Offer the agents to MCP clients: over standard input and output, or over HTTP."""
    from natscope.cli.mcp import running

    _exit(running.serve(running.Way(tuple(agent or ()), tools, http, host)), fast=True)


@app.command()
def models(as_json: Json = False) -> None:
    """List the models: what each is for, who runs it, what it costs, and whether it can be used."""
    from natscope.cli import spending

    _exit(spending.models(as_json=as_json), as_json=as_json)


@app.command()
def usage(
    by: Annotated[Scope, typer.Option(help="List all of this kind.")] = "tenant",
    tenant: Annotated[str | None, typer.Option(help="One tenant; `default` has what names none.")] = None,
    agent: Annotated[str | None, typer.Option(help="One agent.")] = None,
    session: Session = None,
    provider: Annotated[str | None, typer.Option(help="One provider, by its name in the models file.")] = None,
    model: Annotated[str | None, typer.Option(help="One model: `provider/model`.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what models were used for, what it cost, and what of the budgets is left."""
    from natscope.cli import spending

    named: dict[Scope, str | None] = {
        "tenant": tenant,
        "agent": agent,
        "session": session,
        "provider": provider,
        "model": model,
    }
    given: list[tuple[Scope, str | None]] = [(scope, name) for scope, name in named.items() if name is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"either --{given[0][0]} or --{given[1][0]}")
    scope, name = given[0] if given else (by, None)
    _exit(spending.usage(scope, name, as_json=as_json), as_json=as_json)


@app.command()
def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    as_json: Json = False,
) -> None:
    """List unfinished tasks and those finished last."""
    from natscope.cli import listing

    _exit(listing.runs(limit=limit, as_json=as_json), as_json=as_json)


@app.command()
def apply(
    place: Annotated[Path, typer.Argument(help="An agent's YAML file, or a folder of them.")],
    as_json: Json = False,
) -> None:
    """Declare agents: check their files and put them into force."""
    from natscope.cli import listing

    _exit(listing.apply(place, as_json=as_json), as_json=as_json)


@app.command()
def trace(
    task: Annotated[str, typer.Argument(help="The task's id.", callback=checks.name)],
    whole: Annotated[bool, typer.Option("--all", help="Also the spans of publishing.")] = False,
    as_json: Json = False,
) -> None:
    """Draw a task's trace as a tree."""
    from natscope.cli import tracing

    _exit(tracing.show(task, whole=whole, as_json=as_json), as_json=as_json)


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="Where streams and files are kept.", callback=checks.folder)] = Path(
        ".natscope"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of NATS on 127.0.0.1; 0: a free one.")] = 4222,
    agents: Annotated[Path | None, typer.Option(help="Agents to apply.", show_default="deploy/agents")] = None,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.", callback=checks.level)] = "WARNING",
) -> None:
    """Run the whole platform in one process: a real NATS server and every service. No Docker needed."""
    from natscope.cli import upping
    from natscope.cli.logs import log_at

    log_at(log_level)
    _exit(upping.up(data, port=port, agents=agents), fast=True)


@app.command()
def demo(
    file: Annotated[Path | None, typer.Option(help="Another table to ask about.", show_default=False)] = None,
) -> None:
    """Start the platform, ask one question about a real file, show the steps, the answer and the trace."""
    from natscope.cli import demo

    _exit(demo.demo(file=file), fast=True)


@app.command()
def version() -> None:
    """Print the version."""
    from natscope.telemetry.setup import VERSION

    typer.echo(f"natscope {VERSION}")
