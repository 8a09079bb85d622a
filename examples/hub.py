"""Two agents in a hub: what one says, the other has heard before it speaks next.

natscope up                          # in one terminal
natscope watch --hub round-table     # in another: listen live
python examples/hub.py               # in a third
"""

import asyncio

from natscope import client
from natscope.contracts.agent import AgentSpec

HUB = "round-table"


async def main() -> None:
    async with client.open() as house:
        hub = house.hub(HUB)
        for name in ("ada", "grace"):
            await house.apply(AgentSpec(name=name, system_prompt=f"You are {name}. Be brief."))
            await hub.join(session=f"{name}-at-the-table", agent=name)

        await house.ask("ada", "What is 2+2?", session="ada-at-the-table", deadline_s=60)
        await house.ask("grace", "Do you agree?", session="grace-at-the-table", deadline_s=60)

        for message in await house.recall("grace-at-the-table"):
            print(f"grace remembers {message.name}: {message.text}")


if __name__ == "__main__":
    asyncio.run(main())
