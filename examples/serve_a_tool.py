"""Serve a tool from any process: a typed async function is all it takes. Agents find it by its name.

natscope up                      # in one terminal
python examples/serve_a_tool.py  # in another; Ctrl-C ends it
natscope tools                   # in a third: `exchange` is there, for every agent that lists it
"""

import asyncio
from typing import Annotated, Literal

from pydantic import Field

from natscope import client

RATES = {"EUR": 1.0, "USD": 1.17, "JPY": 172.9}
Currency = Literal["EUR", "USD", "JPY"]


async def exchange(
    amount: Annotated[float, Field(gt=0, description="How much")], source: Currency, target: Currency = "EUR"
) -> str:
    """Convert an amount of money at the rates of the day."""
    return f"{amount / RATES[source] * RATES[target]:.2f} {target}"


async def main() -> None:
    async with client.serve(client.tool(exchange, idempotent=True), host="bank") as tools:
        print(f"serving {', '.join(tool.spec.name for tool in tools)}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
