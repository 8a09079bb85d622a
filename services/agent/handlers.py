"""The agent's doors: ask and wait, and interrupts."""

from nats.aio.msg import Msg

from natscope.bus import Bus, Doors
from natscope.bus.answering import Say
from natscope.bus.envelope import read
from natscope.contracts import agent, task
from natscope.contracts.contract import new_id
from services.agent.fronting import Fronting
from services.agent.intake import submitted
from services.agent.running import Runner


def doors(fronting: Fronting, bus: Bus) -> Doors:
    """Return the doors, on `bus`."""
    house = Doors(bus)

    @house.converses(agent.ASK, workers=1024, reader=lambda data: submitted(data, new_id()))
    async def ask(body: task.Submit, keys: tuple[str, ...], say: Say) -> None:
        await fronting.converse(keys[0], body, say)

    return house


async def listen_for_interrupts(runner: Runner, bus: Bus) -> None:
    """Stop runs of this process when their interrupts are published."""

    async def interrupt(message: Msg) -> None:
        body = read(task.Interrupt, message.data or b"{}", where=message.subject)
        runner.interrupt(task.INTERRUPT.keys_in(message.subject)[0], body.reason)

    await bus.nc.subscribe(task.INTERRUPT.wildcard, cb=interrupt)
