"""Ask an agent about a file, from Python.

natscope up                 # in one terminal
python examples/ask.py      # in another
"""

import asyncio
from pathlib import Path

from natscope import client

TABLE = Path(__file__).with_name("data") / "penguins.csv"


async def main() -> None:
    async with client.open() as house:
        outcome = await house.ask(
            "assistant", "Which species has the longest flippers on average?", files=[TABLE], deadline_s=120
        )
        print(outcome.text)
        print(f"({outcome.state}, {outcome.tool_calls} tool call, task {outcome.task_id})")


if __name__ == "__main__":
    asyncio.run(main())
