"""`natscope trace`: a task's spans as a tree, with services, durations, tokens and errors."""

import os
from collections import defaultdict

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from natscope import client
from natscope.cli.asking import NAME, print_json
from natscope.cli.telling import counted, printable, wide_console
from natscope.telemetry import names
from natscope.telemetry.spans import SpanRecord

JAEGER = "http://127.0.0.1:16686"
SHOWN = {
    names.REQUEST_MODEL: "",
    names.TOOL: "",
    names.BACKEND: "in ",
    names.STEP: "step ",
    names.MEMORY_RECORDS: "records ",
}
"""Attributes that are drawn, and the word before their value."""


async def show(task_id: str, *, whole: bool, as_json: bool) -> None:
    """Draw the trace of a task, or say where it is if its spans are not kept here."""
    async with client.open(name=NAME) as house:
        draw(await house.trace(task_id), whole=whole, as_json=as_json)


def draw(trace: client.Trace, *, whole: bool = False, as_json: bool = False) -> None:
    """Draw a trace; unless `whole`, without the spans of publishing: what they led to stands in their place."""
    if as_json:
        for span in trace.spans:
            print_json(span.model_dump(mode="json"))
    elif not trace.spans or {span.service for span in trace.spans} <= {NAME, "client"}:
        Console(soft_wrap=True).print(
            f"The services' spans of trace {trace.trace_id} are not kept here. They went to the collector: "
            f"{os.environ.get('JAEGER_URL', JAEGER)}/trace/{trace.trace_id}",
            highlight=False,
        )
    else:
        wide_console().print(tree_of(trace, whole=whole))


def tree_of(trace: client.Trace, *, whole: bool = False) -> Tree:
    """Return the trace as a tree; spans whose parent is not kept stand at the top."""
    children = _children(trace.spans, whole=whole)
    services = len({span.service for span in trace.spans})
    failed = sum(1 for span in trace.spans if span.error)
    shown = sum(map(len, children.values()))
    spans = counted(len(trace.spans), "span")
    if shown < len(trace.spans):
        spans = f"{shown} of {spans} (--all shows every hop)"
    parts = [spans, counted(services, "service"), counted(failed, "error")]
    root = Tree(Text(f"trace {trace.trace_id} · {' · '.join(parts)}", style="bold"), guide_style="dim")
    _grow(root, None, children)
    for linked in trace.linked:
        root.add(Text(f"linked to trace {linked}", style="dim"))
    return root


def _children(spans: list[SpanRecord], *, whole: bool) -> dict[str | None, list[SpanRecord]]:
    known = {span.span_id: span for span in spans}
    passed = {span.span_id for span in spans if span.kind == "producer" and not span.error and not whole}
    children: dict[str | None, list[SpanRecord]] = defaultdict(list)
    for span in spans:
        parent = span.parent_id
        while parent in passed:
            parent = known[parent].parent_id
        if span.span_id not in passed:
            children[parent if parent in known else None].append(span)
    return children


def _grow(tree: Tree, parent: str | None, children: dict[str | None, list[SpanRecord]]) -> None:
    for span in children[parent]:
        _grow(tree.add(_label(span)), span.span_id, children)


def _label(span: SpanRecord) -> Text:
    milliseconds = (span.end_ns - span.start_ns) / 1e6
    label = Text.assemble(
        (printable(span.name), "bold red" if span.error else "bold"), "  ", (span.service, "cyan"), "  "
    )
    label.append(f"{milliseconds:,.1f} ms", style="green")
    details = [f"{word}{span.attributes[name]}" for name, word in SHOWN.items() if name in span.attributes]
    if details := [detail for detail in details if detail not in span.name]:
        label.append("  " + ", ".join(details), style="dim")
    tokens = [span.attributes.get(name) for name in (names.INPUT_TOKENS, names.OUTPUT_TOKENS)]
    if any(token is not None for token in tokens):
        label.append(f"  {tokens[0] or 0} tokens in, {tokens[1] or 0} out", style="magenta")
    if span.error:
        label.append(f"  {printable(' '.join(span.error.split()))[:200]}", style="red")
    return label
