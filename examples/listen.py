"""Listen to an agent while it works: every step is an event, and a listener that comes late misses none.

natscope up                 # in one terminal
python examples/listen.py   # in another
"""

import asyncio

from natscope import client
from natscope.contracts import event


async def main() -> None:
    async with client.open() as house:
        ticket = await house.submit("assistant", "How many primes are there below 10000?", stream=True)
        async for heard in ticket.events():
            match heard.event:
                case event.TextDelta(delta=piece):
                    print(piece, end="", flush=True)
                case event.ToolCallEnd(call=call):
                    print(f"\n-> {call.name}")
                case event.ToolResult(result=result, backend=backend):
                    print(f"<- {result.state}, ran in {backend}")
                case _:
                    pass
        outcome = await ticket.result(deadline_s=60)
        print(f"\n{outcome.state}: {outcome.usage.output_tokens} tokens written")


if __name__ == "__main__":
    asyncio.run(main())
