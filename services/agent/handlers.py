"""The agent's doors: ask and wait, schedules, and what is said to runs."""

from nats.aio.msg import Msg

from natscope.bus import Bus, Doors
from natscope.bus.answering import Say
from natscope.bus.envelope import read
from natscope.contracts import agent, approval, schedule, task
from natscope.contracts.contract import new_id
from services.agent.fronting import Fronting
from services.agent.intake import submitted
from services.agent.running import Runner
from services.agent.scheduling.schedules import Schedules
from services.agent.working import Worker


def doors(fronting: Fronting, schedules: Schedules, bus: Bus) -> Doors:
    """Return the doors, on `bus`."""
    house = Doors(bus)
    house.answers(schedule.ADD)(schedules.add)
    house.answers(schedule.LIST)(lambda _: schedules.listed())
    house.answers(schedule.PAUSE)(lambda body: schedules.pause(body.name))
    house.answers(schedule.RESUME)(lambda body: schedules.resume(body.name))
    house.answers(schedule.REMOVE)(lambda body: schedules.remove(body.name))

    @house.converses(agent.ASK, workers=1024, reader=lambda data: submitted(data, new_id()))
    async def ask(body: task.Submit, keys: tuple[str, ...], say: Say) -> None:
        await fronting.converse(keys[0], body, say)

    return house


async def listen(runner: Runner, worker: Worker, bus: Bus) -> None:
    """Hear what is said about runs of this process: interrupts, steering, and decisions they wait for."""

    async def interrupt(message: Msg) -> None:
        body = read(task.Interrupt, message.data or b"{}", where=message.subject)
        (task_id,) = task.INTERRUPT.keys_in(message.subject)
        here = runner.interrupt(task_id, body.reason)
        worker.wake(task_id)
        worker.line.interrupt(task_id, body.reason)
        if not here:
            await worker.deferred.interrupt(task_id)

    async def steer(message: Msg) -> None:
        data = await bus.envelope.unpack(message.data, message.headers)
        body = read(task.Steer, data, where=message.subject)
        (task_id,) = task.STEER.keys_in(message.subject)
        runner.steer(task_id, redirect=body.redirect)
        if body.redirect:
            worker.wake(task_id)

    async def decide(message: Msg) -> None:
        worker.wake(*approval.DECIDE.keys_in(message.subject))

    async def child_ended(message: Msg) -> None:
        await worker.child_ended(*task.FINISHED.keys_in(message.subject))

    await bus.nc.subscribe(task.FINISHED.wildcard, cb=child_ended)
    await bus.nc.subscribe(task.INTERRUPT.wildcard, cb=interrupt)
    await bus.nc.subscribe(task.STEER.wildcard, cb=steer)
    await bus.nc.subscribe(approval.DECIDE.wildcard, cb=decide)
