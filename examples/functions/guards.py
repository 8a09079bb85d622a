"""Hooks of an agent: programs that reach for the network are refused, and each answer says what it has cost.

AGENT_FUNCTIONS=examples/functions natscope up   # in one terminal
natscope apply examples/guarded.yaml             # in another
natscope ask guarded 'How many primes are there below 10000?'
"""

import natscope
from natscope.contracts.blocks import plain
from natscope.hooks import Answer, Asked

REACHES_OUT = ("socket", "urllib", "http.client")


@natscope.hook
async def no_network(asked: Asked) -> Answer | None:
    code = str(asked.call.input.get("code", "")) if asked.call is not None else ""
    if any(name in code for name in REACHES_OUT):
        return Answer(do="refuse", reason="programs stay in their cell; work with what is there")
    return None


@natscope.hook
async def tells_the_price(asked: Asked) -> Answer | None:
    if asked.message is None or asked.message.tool_uses:
        return None
    tokens = asked.usage.input_tokens + asked.usage.output_tokens
    return Answer(do="change", content=plain(f"{asked.message.text}\n\n({tokens} tokens)"))
