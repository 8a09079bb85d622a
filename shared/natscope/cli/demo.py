"""`natscope demo`: one question about a real file, answered on this machine, with its trace."""

import os
import sys
from pathlib import Path

from rich.console import Console

from natscope import client
from natscope.cli import asking, tracing, upping
from natscope.cli.embedded import DATA, bus_settings, embedded
from natscope.cli.outcome import run
from natscope.cli.screen import Screen
from natscope.contracts.contract import new_id

AGENT = "assistant"
QUESTION = "Which species has the longest flippers on average?"
FILE = Path("examples/data/penguins.csv")


async def demo(*, file: Path = FILE, data: Path = DATA / "demo") -> int:
    """Start the house on a free port, ask about `file`, show steps, answer and trace; return the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"$ natscope ask {AGENT} '{QUESTION}' --file {file}", style="bold")
    async with embedded(data, port=0) as url:
        await upping.describe(console, url, example=False)
        _say_what_answers(console)
        task_id = new_id()
        asked = asking.Ask(AGENT, QUESTION, (str(file),), task_id=task_id)
        async with client.open(bus_settings(url), name=asking.NAME) as house:
            code = await asking.ask_in(house, asked, Screen(together=True))
            console.print()
            tracing.draw(await house.trace(task_id))
    return code


def _say_what_answers(console: Console) -> None:
    if os.environ.get("OPENAI_API_KEY"):
        console.print("  OPENAI_API_KEY is set: a real model answers.\n")
    else:
        console.print("  No OPENAI_API_KEY: a script stands in for the model. The code it writes is really run.\n")


if __name__ == "__main__":
    sys.exit(run(demo(), fast=True))
