"""`natscope demo`: one question about a real file, answered on this machine, with its trace."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from natscope import client
from natscope.cli import asking, tracing, upping
from natscope.cli.embedded import HOME, bus_settings, embedded, find_deploy
from natscope.cli.outcome import run
from natscope.cli.screen import Screen
from natscope.contracts.contract import new_id

AGENT = "assistant"
QUESTION = "Which species has the longest flippers on average?"
FILE = Path("examples/data/penguins.csv")


async def demo(*, file: Path | None = None) -> int:
    """Start the house in a temporary folder, ask about `file`, show steps, answer and trace; return the exit code."""
    find_deploy()
    with TemporaryDirectory(prefix="natscope-demo-") as data:
        return await _demo(file or HOME / FILE, Path(data))


async def _demo(file: Path, data: Path) -> int:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"$ natscope ask {AGENT} '{QUESTION}' --file {file}", style="bold")
    async with embedded(data, port=0) as url:
        await upping.describe(console, url, example=False)
        console.print()
        task_id = new_id()
        asked = asking.Ask(AGENT, QUESTION, (str(file),), task_id=task_id)
        async with client.open(bus_settings(url), name=asking.NAME) as house:
            code = await asking.ask_in(house, asked, Screen(together=True))
            console.print()
            tracing.draw(await house.trace(task_id))
    return code


if __name__ == "__main__":
    sys.exit(run(demo(), fast=True))
