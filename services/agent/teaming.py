"""Teams at work: members take their seats, and everybody is heard by all, in the team's hub."""

import asyncio

from nats import errors as nats_errors
from nats.js import errors as js_errors

from natscope.bus import Bus
from natscope.bus.ledger import latest
from natscope.contracts import hub
from natscope.contracts.errors import BodyInvalid, BusUnavailable
from natscope.contracts.memory import Position
from natscope.contracts.run import Heard
from natscope.contracts.task import Submit
from services.agent.asking import insist
from services.agent.ending import heard_event
from services.agent.recording import Record
from services.agent.seats import heard_up_to, hub_of, hubs_of, members_of, to_be_heard
from services.agent.state import State

PATIENCE_S = 60.0


async def take_seats(bus: Bus, state: State, seated: set[str]) -> None:
    """Let the members hear the team's hub, from now on; again is no harm. `seated` grows by their sessions.

    Raises:
        Unavailable: the memory does not answer.
    """
    if state.agent.team is None:
        return
    new = {session: who for session, who in members_of(state).items() if session not in seated}
    name = hub_of(state.started.task)
    joins = (hub.Join(hub=name, session=session, agent=who[0], name=who[1]) for session, who in new.items())
    asks = (insist(bus, hub.JOIN, join, deadline_s=PATIENCE_S, patience_s=PATIENCE_S) for join in joins)
    await asyncio.gather(*asks)
    seated.update(new)


async def placed(bus: Bus, task: Submit, position: Position) -> Position:
    """Return the position of a leader's memory, with where its team's hub stands now."""
    name = hub_of(task)
    found = await latest(bus, hub.SAID.stream or "", hub.SAID.at(name))
    return position.model_copy(update={"hubs": {**position.hubs, name: found.seq or 0 if found is not None else 0}})


async def hear(bus: Bus, record: Record) -> bool:
    """Take in what was said in the run's teams since it has listened last; whether there was anything."""
    news = False
    for name in hubs_of(record.state):
        after = heard_up_to(record.state, name)
        while (found := await _next(bus, name, after)) is not None:
            after, said = found
            message = to_be_heard(record.state, name, said) if said is not None else None
            if message is None:
                continue
            entry = Heard(hub=name, sequence=after, message=message)
            await record.append(entry)
            await record.teller.tell(heard_event(record.task_id, entry))
            news = True
    return news


async def _next(bus: Bus, name: str, after: int) -> tuple[int, hub.Said | None] | None:
    """Return where the next words behind `after` stand, and what they are; None: there are none."""
    try:
        found = await bus.js.get_msg(
            hub.SAID.stream or "", seq=after + 1, subject=hub.SAID.at(name), next=True, direct=True
        )
    except js_errors.NotFoundError:
        return None
    except (nats_errors.Error, js_errors.Error) as error:
        raise BusUnavailable(f"the hub {name!r} cannot be read: {error!r}") from error
    try:
        data = await bus.envelope.unpack(found.data or b"", found.headers)
        return int(found.seq or 0), hub.SAID.adapter.validate_json(data)
    except (BodyInvalid, ValueError):
        return int(found.seq or 0), None
