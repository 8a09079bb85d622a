"""Writes docs/reference/ from the code. `--check` writes nothing and fails if a page is not what it would write."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic_core import PydanticUndefined
from typer.core import TyperGroup
from typer.main import get_command

from natscope.cli.app import app
from natscope.contracts import event
from natscope.contracts.catalog import DOORS, Door
from natscope.contracts.contract import Contract
from natscope.contracts.door import Command, Durable, Event
from natscope.contracts.errors import Failure, NatscopeError

REFERENCE = Path(__file__).with_name("reference")
NOTE = "<!-- Written by docs/generate.py from shared/natscope/contracts. Do not edit; `make docs` writes it again. -->"
HEAD = f"""\
{NOTE}

# Subjects

Every door of the house: what may be published where, who answers, and what the bodies hold. Bodies are JSON; readers
ignore fields they do not know and write them back. Trace context, message id and claim checks travel in headers. A body
over 256 KiB is put into the object store, the header `Natscope-Body` refers to it,
and `Natscope-Body-Digest` says what it must be.

A *command* is answered once; a failure comes back as [`errors.Failure`](#errorsfailure), its code also in the header
`Nats-Service-Error-Code`. A *durable command* is kept by a stream until it is carried out; the stream's acknowledgement
is its answer. An *event* is a fact; nobody answers.
"""


def subjects() -> str:
    """Return the page of all doors, contracts, events and errors."""
    return "\n".join(
        [
            HEAD,
            *_overview(),
            *(line for door in DOORS for line in _door(door)),
            "\n# Task events\n\nWhat passes through `task.event.{task}`, told apart by `type`.\n",
            *_events(),
            "\n# Errors\n\nEvery failure has a stable code; the classes are in `natscope.contracts.errors`.\n",
            *_errors(),
            "\n# Contracts\n",
            *(line for kind in _reachable() for line in _contract(kind)),
        ]
    )


def commands() -> str:
    """Return the page of the `natscope` command."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    lines = [NOTE.replace("contracts", "cli"), "\n# The `natscope` command\n", f"{group.help}\n"]
    lines += [*_options(group), f"\n{group.epilog}"]
    for name, command in group.commands.items():
        lines += [f"\n## `natscope {name}`\n", f"{command.help}\n"]
        if not isinstance(command, TyperGroup):
            lines += _options(command)
            continue
        for inner, below in command.commands.items():
            lines += [f"\n### `natscope {name} {inner}`\n", f"{below.help}\n", *_options(below)]
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {"subjects.md": subjects, "cli.md": commands}


def _options(command: Any) -> Iterator[str]:
    yield "| argument or option | default | |"
    yield "| --- | --- | --- |"
    for option in command.params:
        if option.name not in ("install_completion", "show_completion", "help"):
            is_argument = option.param_type_name == "argument"
            name = option.name.upper() if is_argument else ", ".join([*option.opts, *option.secondary_opts])
            default = "*required*" if option.required else f"`{option.default}`" if option.default is not None else ""
            yield f"| `{name}` | {default} | {option.help or ''} |"


def _overview() -> Iterator[str]:
    yield "| subject | kind | who | stream | deadline | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for door in DOORS:
        deadline = f"{door.deadline_s:g} s" if isinstance(door, Command) else ""
        link = f"[`{door.template}`](#{_anchor(door.template)})"
        yield f"| {link} | {_kind(door)} | {door.room} | {_stream(door)} | {deadline} | {door.summary} |"


def _kind(door: Door) -> str:
    return {Command: "command", Durable: "durable command", Event: "event"}[type(door)]


def _stream(door: Door) -> str:
    return getattr(door, "stream", None) or ""


def _door(door: Door) -> Iterator[str]:
    yield f"\n## `{door.template}`\n"
    yield f"{door.summary}\n"
    if isinstance(door, Command):
        bodies = f"Ask: {_link(door.ask)}. Answer: {_link(door.answer)}."
        yield f"Answered by **{door.room}** within {door.deadline_s:g} s. {bodies}"
    elif isinstance(door, Durable):
        yield f"Carried out by **{door.room}**, kept in stream **{door.stream}**. Body: {_link(door.ask)}."
    else:
        kept = f", kept in stream **{door.stream}**" if door.stream else ", heard live only"
        yield f"Said by **{door.room}**{kept}. Body: {_body(door)}."


def _body(door: Event[Any]) -> str:
    if door.body is event.TaskEvent:
        return "a [task event](#task-events)"
    return " or ".join(_link(kind) for kind in _classes(door.body))


def _events() -> Iterator[str]:
    yield "| `type` | what it says | fields besides `id`, `task_id`, `at` |"
    yield "| --- | --- | --- |"
    for kind in _classes(event.TaskEvent):
        if kind is not event.UnknownEvent:
            fields = [f"`{name}`" for name in kind.model_fields if name not in ("id", "task_id", "at", "type")]
            yield f"| `{kind.model_fields['type'].default}` | {_first(kind)} | {', '.join(fields)} |"


def _errors() -> Iterator[str]:
    yield "| code | class | again? | what it means |"
    yield "| --- | --- | --- | --- |"
    for kind, depth in _tree(NatscopeError, 0):
        again = "yes" if kind.retryable else ""
        yield f"| `{kind.code}` | {'&emsp;' * depth}{kind.__name__} | {again} | {_first(kind)} |"


def _tree(root: type[NatscopeError], depth: int) -> Iterator[tuple[type[NatscopeError], int]]:
    yield root, depth
    for child in root.__subclasses__():
        if child.__module__ == root.__module__:
            yield from _tree(child, depth + 1)


def _contract(kind: type[Contract]) -> Iterator[str]:
    yield f"\n## `{_name(kind)}`\n"
    yield f"{inspect.getdoc(kind)}\n"
    if not kind.model_fields:
        return
    yield "| field | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    told = _told(kind)
    for name, info in kind.model_fields.items():
        type_, meaning = told.get(name, ("", ""))
        yield f"| `{name}` | `{type_}` | {_default(info)} | {meaning} |"


def _default(info: Any) -> str:
    if info.is_required():
        return "*required*"
    if info.default_factory is not None:
        return {"new_id": "*a fresh id*", "now": "*now*"}.get(getattr(info.default_factory, "__name__", ""), "empty")
    if info.default is PydanticUndefined:
        return ""
    if isinstance(info.default, Contract):
        return "*its defaults*"
    return f"`{info.default}`" if info.default != "" else "empty"


def _told(kind: type[Contract]) -> dict[str, tuple[str, str]]:
    """Return type and docstring of each field as the source says them, the bases' first."""
    told: dict[str, tuple[str, str]] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, Contract) and base is not Contract:
            told.update(_annotations(base))
    return told


def _annotations(kind: type) -> Iterator[tuple[str, tuple[str, str]]]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            type_ = ast.unparse(statement.annotation).replace("|", "\\|")
            said = following.value if isinstance(following, ast.Expr) else None
            meaning = str(said.value) if isinstance(said, ast.Constant) else ""
            yield statement.target.id, (type_, " ".join(meaning.split()).replace("|", "\\|"))


def _reachable() -> list[type[Contract]]:
    """Return every contract that passes through a door, in the order of their modules and sources."""
    found: set[type[Contract]] = set()
    waiting = [kind for door in DOORS for kind in _bodies(door)]
    while waiting:
        kind = waiting.pop()
        if kind not in found:
            found.add(kind)
            waiting += [inner for info in kind.model_fields.values() for inner in _classes(info.annotation)]
    found -= set(_classes(event.TaskEvent))
    return sorted(found, key=lambda kind: (kind.__module__, inspect.getsourcelines(kind)[1]))


def _bodies(door: Door) -> list[type[Contract]]:
    if isinstance(door, Command):
        return [door.ask, door.answer, Failure]
    return [door.ask] if isinstance(door, Durable) else _classes(door.body)


def _classes(annotation: Any) -> list[type[Contract]]:
    if isinstance(annotation, type) and issubclass(annotation, Contract):
        return [annotation]
    return [kind for inner in get_args(annotation) for kind in _classes(inner)]


def _name(kind: type) -> str:
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def _link(kind: type) -> str:
    return f"[`{_name(kind)}`](#{_anchor(_name(kind))})"


def _anchor(title: str) -> str:
    """Return a heading's anchor as GitHub makes it."""
    return "".join(letter for letter in title.lower() if letter.isalnum() or letter in "-_")


def _first(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split()).replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` say which differ; the exit code is 1 if one does."""
    stale = []
    for name, write in PAGES.items():
        page, text = REFERENCE / name, write() + "\n"
        if "--check" not in arguments:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            stale.append(f"{page.relative_to(Path(__file__).parents[1])} is out of date: run `make docs`")
    sys.stderr.writelines(f"{line}\n" for line in stale)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
