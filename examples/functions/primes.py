"""An agent that is a function: two programs at the same time, a person who decides, and a sum. It survives any crash.

AGENT_FUNCTIONS=examples/functions natscope up   # in one terminal
natscope apply examples/primes.yaml              # in another
natscope ask primes 'How many primes lie between 1000 and 10000?'
"""

import natscope
from natscope.contracts.message import Message

PROGRAM = "print(sum(n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1)) for n in range({})))"


async def below(ctx: natscope.Context, limit: int) -> int:
    result = await ctx.tool("execute_python", {"code": PROGRAM.format(limit)})
    return int(result.text)


@natscope.agent
async def between(ctx: natscope.Context, message: Message) -> str:
    low, high = await ctx.gather(below(ctx, 1_000), below(ctx, 10_000))
    said = await ctx.approve(f"There are {low} and {high}. Tell the difference?")
    return f"{high - low} primes lie between." if said.approved else f"I am not to tell: {said.reason}"
