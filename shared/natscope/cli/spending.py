"""`natscope models` and `usage`: which models there are, and what was used of them."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from natscope import client
from natscope.cli.asking import NAME, print_json
from natscope.cli.listing import listed, show, table_of
from natscope.cli.telling import printable
from natscope.contracts import model


async def models(*, as_json: bool) -> None:
    """List the models that agents may name, and what is wrong with the models file if anything is."""
    async with client.open(name=NAME) as house:
        found = await house.models_file()
    if as_json:
        for info in found.models:
            print_json(info.model_dump(mode="json"))
    else:
        show(models_table(found.models))
    if found.fault is not None:
        text = f"the models file is not in force, the one before it is: {printable(found.fault)}"
        Console(stderr=True, soft_wrap=True).print(text, style="red", markup=False, highlight=False)


async def usage(scope: model.Scope, name: str | None, *, as_json: bool) -> None:
    """Tell what one of a scope has used, or all of them."""
    async with client.open(name=NAME) as house:
        found = await house.usage(scope, name)
    listed(found, as_json, usage_table(scope, found), f"no {scope} has used anything yet")


def models_table(found: Iterable[model.ModelInfo]) -> Table:
    """Return the models as a table."""
    table = table_of("model", "for", "runs", "window", "takes", "$/M in, out", "ready")
    for info in found:
        table.add_row(
            info.alias,
            info.purpose,
            f"{info.provider}/{info.model}",
            f"{info.context_size:,}" if info.context_size else "?",
            " ".join(info.modalities) if info.modalities else "?",
            f"{info.price.input:g}, {info.price.output:g}" if info.price else "?",
            _ready(info),
        )
    return table


def usage_table(scope: str, found: Iterable[model.Account]) -> Table:
    """Return accounts as a table."""
    table = table_of(scope, "calls", "tokens in", "out", "$ used", "$ left", "left", "renewed")
    for account in found:
        table.add_row(
            printable(account.name),
            f"{account.calls:,}",
            f"{account.input_tokens:,}",
            f"{account.output_tokens:,}",
            f"{'over ' if account.unpriced_calls else ''}{account.cost_usd:,.4f}",
            _left(account.budget_usd, account.cost_usd + account.reserved_usd, ",.2f"),
            _left(account.budget_tokens, _tokens(account), ",.0f"),
            f"{account.resets_at:%Y-%m-%d %H:%M} UTC" if account.resets_at else "never",
        )
    return table


def _ready(info: model.ModelInfo) -> str:
    if not info.ready:
        return f"no: {info.remedy or '?'}"
    return f"yes, then {', '.join(info.fallbacks)}" if info.fallbacks else "yes"


def _tokens(account: model.Account) -> int:
    return account.input_tokens + account.output_tokens + account.reserved_tokens


def _left(budget: float | None, taken: float, form: str) -> str:
    return "-" if budget is None else format(max(0.0, budget - taken), form)
