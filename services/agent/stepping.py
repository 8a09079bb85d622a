"""Beginning the tasks that calls and steps of a plan are; what comes of a plan's steps is told and written down."""

from collections.abc import Iterator

from natscope.bus import Bus
from natscope.contracts import event
from natscope.contracts.approval import Waiting
from natscope.contracts.blocks import ContentBlock, TextBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.errors import BusUnavailable, NatscopeError
from natscope.contracts.event import TaskEvent
from natscope.contracts.plan import Step
from natscope.contracts.run import JournalEntry, StepEnded, ToolReturned
from natscope.contracts.task import Submit
from services.agent import children
from services.agent.acting import not_begun
from services.agent.ending import handed_over, result_event
from services.agent.loop import waiting_of
from services.agent.plan import Plan
from services.agent.planning import is_step, step_of
from services.agent.recording import Record
from services.agent.shortening import files_left_by, shortened
from services.agent.state import State, call_id, open_calls_of
from services.agent.teaming import take_seats


async def begin_tasks(bus: Bus, record: Record, begun: set[str]) -> bool:
    """Begin the tasks that open calls are; whether all could be. One that cannot has a result that says so.

    Raises:
        BusUnavailable: the server is away for a minute; it may have begun one of them, which nobody may deny then.
    """
    await take_seats(bus, record.state, begun)
    step, all_begun = record.state.step, await begin_steps(bus, record, begun)
    for index, call in open_calls_of(record.state):
        each = next((each for each in waiting_of(record.state) if each.call_id == call_id(record.state, index)), None)
        if each is None or each.task is None or each.task in begun:
            continue
        try:
            agent = await children.begin(bus, record.state, each)
        except BusUnavailable:
            raise
        except NatscopeError as error:
            await record.returned(not_begun(call, index, error))
            all_begun = False
            continue
        begun.add(each.task)
        id, task = f"{step}.{index}.delegated", record.task_id
        told = event.Delegated(id=id, task_id=task, step=step, call_id=call.id, agent=agent, child=each.task)
        await record.teller.tell(told)
    return all_begun


async def begin_steps(bus: Bus, record: Record, begun: set[str]) -> bool:
    """Submit the tasks that steps of the plan are; whether all could be. One that cannot has ended with that."""
    plan, all_begun = record.state.plan, True
    if plan is None:
        return True
    steps = list(filter(is_step, waiting_of(record.state)))
    if steps and not plan.begun and begun.isdisjoint(each.task or "" for each in steps):
        await record.teller.tell(_made(record.task_id, plan))
    for each in steps:
        step = step_of(plan, each)
        if each.task is None or each.task in begun or step.id in plan.begun:
            continue
        agent, body = _submission(record.state, plan, step, each)
        try:
            await children.submit(bus, agent, body)
        except BusUnavailable:
            raise
        except NatscopeError as error:
            result = _not_begun(each, error)
            entry = StepEnded(plan=plan.number, name=step.id, result=result)
            record.happened(entry)
            for told in told_of(record.task_id, entry, record.state):
                await record.teller.tell(told)
            all_begun = False
            continue
        begun.add(each.task)
        id = f"plan.{plan.number}.{plan.steps.index(step)}.begun"
        told = event.StepBegun(
            id=id, task_id=record.task_id, plan=plan.number, name=step.id, agent=agent, child=each.task
        )
        await record.teller.tell(told)
    return all_begun


async def ended_steps(bus: Bus, state: State) -> list[StepEnded]:
    """Return what the steps have come to that a parked run waits for, as far as it is there."""
    plan, found = state.plan, list[StepEnded]()
    if plan is None or state.parked is None:
        return found
    for each in filter(is_step, state.parked.waiting):
        outcome = await children.outcome_of(bus, each)
        if outcome is None:
            continue
        step = step_of(plan, each)
        result = children.result_of(each.call, plan.steps.index(step), outcome)
        most = state.agent.limits.tool_result_bytes
        result = await shortened(result, limit=most, blobs=bus.blobs, name=each.call_id)
        usage, cost_usd = outcome.usage, outcome.cost_usd
        found.append(StepEnded(plan=plan.number, name=step.id, result=result, usage=usage, cost_usd=cost_usd))
    return found


def told_of(task_id: str, entry: JournalEntry, state: State) -> Iterator[TaskEvent]:
    """Yield what is told once an entry has led to `state`, if somebody else has brought a result with it.

    With the last step, the call that the plan is has its result.
    """
    if isinstance(entry, ToolReturned):
        yield result_event(task_id, entry)
        yield from handed_over(task_id, entry)
    plan = state.plan
    if plan is None or not isinstance(entry, StepEnded):
        return
    place = next(place for place, step in enumerate(plan.steps) if step.id == entry.name)
    id = f"plan.{plan.number}.{place}.ended"
    yield event.StepEnded(id=id, task_id=task_id, plan=plan.number, name=entry.name, result=entry.result)
    if plan.closed and state.results:
        id = f"{state.step}.{plan.index}.result"
        yield event.ToolResult(id=id, task_id=task_id, step=state.step, result=state.results[-1])


def _made(task_id: str, plan: Plan) -> event.PlanMade | event.Replanned:
    steps = list(plan.steps)
    if plan.number == 1:
        return event.PlanMade(id="plan.1", task_id=task_id, plan=1, steps=steps)
    failed = list(plan.failed_before)
    return event.Replanned(id=f"plan.{plan.number}", task_id=task_id, plan=plan.number, steps=steps, failed=failed)


def _submission(state: State, plan: Plan, step: Step, waiting: Waiting) -> tuple[str, Submit]:
    """Return who does a step, and the task it is: with the run's own task, and what the steps before it gave."""
    agent = step.agent or state.agent.name
    given = [(id, plan.results[id]) for id in step.depends_on]
    content = [*_text(state, step, given), *_attached(state.started.task.content)]
    for _, result in given:
        content += [*_attached(result.output), *files_left_by(result)]
    body = children.task_for(state, waiting, content)
    own = {"step_of": state.started.task.task_id} if agent == state.agent.name else {}
    return agent, body.model_copy(update=own)


def _text(state: State, step: Step, given: list[tuple[str, ToolResultBlock]]) -> list[ContentBlock]:
    parts = [f"Do this: {step.do}"]
    parts += [f"The step {id!r} gave:\n{text_of(result.output)}" for id, result in given]
    whole = text_of(state.started.task.content)
    parts.append(f"It is the step {step.id!r} of a plan; others do the rest of it. The whole task is:\n{whole}")
    return [TextBlock(text="\n\n".join(parts))]


def _attached(content: list[ContentBlock]) -> list[ContentBlock]:
    return [block for block in content if not isinstance(block, (TextBlock, ThinkingBlock, ToolUseBlock))]


def _not_begun(waiting: Waiting, error: NatscopeError) -> ToolResultBlock:
    why: list[ContentBlock] = [TextBlock(text=f"The step could not be begun: {error}")]
    return ToolResultBlock(id=waiting.call.id, name=waiting.call.name, output=why, state="error")
