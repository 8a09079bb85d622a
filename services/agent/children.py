"""Agents that an agent asks: each is a task of its own, and the run waits for its outcome without a slot."""

from natscope.bus import Bus
from natscope.bus.ledger import latest
from natscope.contracts.approval import Waiting
from natscope.contracts.blocks import (
    ContentBlock,
    ResultState,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    plain,
)
from natscope.contracts.contract import new_id
from natscope.contracts.message import Content
from natscope.contracts.run import Parked, ToolReturned
from natscope.contracts.task import FINISHED, INTERRUPT, SUBMIT_IN, Finished, Interrupt, Submit
from services.agent.asking import persist
from services.agent.own import ASSIGN
from services.agent.seats import seated
from services.agent.sharing import left
from services.agent.shortening import shortened
from services.agent.state import State, call_id, open_calls_of

_STATES: dict[str, ResultState] = {"completed": "success", "limited": "success", "interrupted": "interrupted"}


def submission(state: State, waiting: Waiting) -> tuple[str, Submit]:
    """Return whom a call asks, and the task it is, the same each time."""
    call = waiting.call
    body = task_for(state, waiting, plain(str(call.input["message"])))
    return str(call.input["agent"]), seated(state, call, body) if call.name == ASSIGN else body


def task_for(state: State, waiting: Waiting, content: Content) -> Submit:
    """Return a task that the run waits for: with its share of what the run may still spend."""
    task, rest = state.started.task, left(state).shared(1)
    return Submit(
        task_id=waiting.task or "",
        content=content,
        name=state.agent.name,
        tenant=task.tenant,
        tokens=rest.tokens if waiting.tokens is None else waiting.tokens,
        usd=rest.usd if waiting.usd is None else waiting.usd,
        asked_by=[*task.asked_by, state.agent.name],
        awaited_by=[*task.awaited_by, task.task_id],
    )


async def begin(bus: Bus, state: State, waiting: Waiting) -> str:
    """Submit the task that a call is, once however often this is called, and return whom it asks."""
    agent, body = submission(state, waiting)
    await submit(bus, agent, body)
    return agent


async def submit(bus: Bus, agent: str, body: Submit) -> None:
    """Submit a task that a run waits for, once however often this is called.

    Raises:
        BusUnavailable: the server is away for a minute; it may have the task.
        NatscopeError: the server refuses the task.
    """
    await persist(lambda: bus.submit(SUBMIT_IN, body, agent, body.lane, message_id=body.task_id))


async def stop(bus: Bus, waiting: Waiting) -> None:
    """Interrupt the task that a call is."""
    if waiting.task is not None:
        task, body, id = waiting.task, Interrupt(reason="whoever asked was stopped"), new_id()
        await persist(lambda: bus.submit(INTERRUPT, body, task, message_id=id))


async def is_any_over(bus: Bus, parked: Parked) -> bool:
    """Return whether an agent that a parked run has asked has its outcome."""
    return any([await outcome_of(bus, each) is not None for each in parked.waiting if each.kind == "task"])


async def returned(bus: Bus, state: State) -> list[ToolReturned]:
    """Return the results of the agents that a parked run has asked, as far as they are there."""
    waiting = {each.call_id: each for each in state.parked.waiting} if state.parked is not None else {}
    found: list[ToolReturned] = []
    for index, call in open_calls_of(state):
        each = waiting.get(call_id(state, index))
        outcome = await outcome_of(bus, each) if each is not None and each.kind == "task" else None
        if outcome is None:
            continue
        result = result_of(call, index, outcome)
        name = call_id(state, index)
        result = await shortened(result, limit=state.agent.limits.tool_result_bytes, blobs=bus.blobs, name=name)
        spent = {"usage": outcome.usage, "cost_usd": outcome.cost_usd}
        found.append(ToolReturned.model_validate({"step": state.step, "result": result, **spent}))
    return found


async def outcome_of(bus: Bus, waiting: Waiting) -> Finished | None:
    """Return what the task that the run waits for has come to; None: nothing yet."""
    found = await latest(bus, FINISHED.stream or "", FINISHED.at(waiting.task or ""))
    if found is None:
        return None
    data = await bus.envelope.unpack(found.data or b"", found.headers)
    return FINISHED.adapter.validate_json(data)


def result_of(call: ToolUseBlock, index: int, outcome: Finished) -> ToolResultBlock:
    """Return what a task has come to as the result of the call that it is."""
    output: list[ContentBlock] = [TextBlock(text=outcome.text)] if outcome.text else []
    if outcome.failure is not None:
        output = [TextBlock(text=f"The agent {outcome.agent!r} failed: {outcome.failure.message}")]
    elif outcome.message is not None:
        spoken = (TextBlock, ThinkingBlock, ToolUseBlock)
        output += [block for block in outcome.message.content if not isinstance(block, spoken)]
    return ToolResultBlock(
        id=call.id,
        name=call.name,
        output=output,
        state=_STATES.get(outcome.state, "error"),
        metadata={"index": index, "task": outcome.task_id},
    )
