"""Planning as the loop sees it: a call of `plan` stays open until its steps, each a task of its own, have ended."""

from dataclasses import replace

from pydantic import JsonValue

from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Waiting
from natscope.contracts.blocks import ContentBlock, TextBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.errors import Failure, PlanInvalid
from natscope.contracts.plan import Step
from natscope.contracts.run import Decided, Parked, StepEnded
from services.agent.delegating import child_of, effective
from services.agent.own import KEPT, PLAN
from services.agent.plan import Plan, ended, following, steps_in, why_not
from services.agent.sharing import has_enough
from services.agent.state import State, call_id, index_of, spent

STEP = "step"
REPLANS = "replans"
WRONG = 1
"""How often the model may make a plan that is none."""
PROMPT = f"""\
You plan, others act. Say by calling `{PLAN}` which steps the task takes; you are given what came of each. Then answer \
the task with that, in full: nobody but you has seen it. If a step failed, make another plan for what is left, or \
answer with what there is."""
HINT = f"Make a plan first, by calling {PLAN}."


def plans(agent: AgentSpec) -> bool:
    """Return whether the agent plans."""
    return agent.strategy == "plan_execute"


def owes_plan(state: State) -> bool:
    """Return whether the agent has to make a plan and has made none."""
    return plans(state.agent) and state.plan is None


def adopted(state: State) -> State:
    """Return the state once the latest reply's plan, if it holds one, was looked at."""
    if not plans(state.agent) or state.reply is None or state.reply.finish_reason == "length":
        return state
    calls = [(index, call) for index, call in enumerate(state.reply.message.tool_uses) if call.name == PLAN]
    if not calls:
        return state
    index, call = calls[0]
    if _fault(state, call) is not None:
        return replace(state, wrong_plans=state.wrong_plans + 1)
    return replace(state, plan=following(state.plan, state.step, index, steps_in(call.input)), wrong_plans=0)


def rewritten(state: State, entry: Decided) -> State:
    """Return the state with the plan as somebody has approved it, if with other steps than the model's."""
    plan = _open(state)
    if plan is None or entry.decision.arguments is None or entry.decision.call_id != call_id(state, plan.index):
        return state
    call = effective(state, plan.index, state.reply.message.tool_uses[plan.index]) if state.reply else None
    if call is None or _fault(state, call) is not None:
        return replace(state, plan=replace(plan, closed=True))
    anew = following(plan, plan.reply, plan.index, steps_in(call.input))
    return replace(state, plan=replace(anew, number=plan.number, failed_before=plan.failed_before))


def refused(state: State, call: ToolUseBlock) -> str | None:
    """Return why a plan cannot be carried out, in words for the model; None if it can."""
    plan = _open(state)
    if plan is None or tuple(_steps(call)) != plan.steps:
        return _fault(state, call) or "It cannot be carried out any more."
    return None if waits_of(state) else "A limit of the run is reached; no step was begun."


def _fault(state: State, call: ToolUseBlock) -> str | None:
    made = sum(each.name == PLAN for each in state.reply.message.tool_uses) if state.reply is not None else 0
    if made > 1:
        return f"There can be one plan at a time, not {made}. Make one."
    try:
        steps = steps_in(call.input)
    except ValueError as error:
        return str(error)
    agents = [*state.agent.agents, state.agent.name]
    return why_not(steps, before=state.plan, agents=agents, most=state.agent.plan.steps)


def _steps(call: ToolUseBlock) -> tuple[Step, ...]:
    try:
        return steps_in(call.input)
    except ValueError:
        return ()


def failure_of(state: State) -> Failure | None:
    """Return why the run cannot go on for want of a plan; None if it can."""
    if state.wrong_plans <= WRONG or state.reply is None:
        return None
    call = next(call for call in state.reply.message.tool_uses if call.name == PLAN)
    why = f"the model's plans cannot be carried out: {_fault(state, call)}"
    return Failure.of(PlanInvalid(why, remedy="say what depends on what, or choose another model"))


def limit_of(state: State) -> str | None:
    """Return `replans` if no other plan may be made for one that has failed."""
    plan = state.plan
    over = plan is not None and plan.closed and bool(plan.failed) and plan.number > state.agent.plan.replans
    return REPLANS if over else None


def waits_of(state: State) -> tuple[Waiting, ...]:
    """Return the steps that are under way or may begin, as what the run waits for."""
    plan = _open(state)
    if plan is None:
        return ()
    waits = {step.id: _waiting(state, plan, place) for place, step in enumerate(plan.steps)}
    under_way = [waits[step.id] for step in plan.under_way]
    ready = () if spent(state) or not has_enough(state, under_way, len(plan.ready)) else plan.ready
    names = {step.id for step in (*plan.under_way, *ready)}
    return tuple(waits[step.id] for step in plan.steps if step.id in names)


def _waiting(state: State, plan: Plan, place: int) -> Waiting:
    id = f"{call_id(state, plan.index)}-{place}"
    name: JsonValue = plan.steps[place].id
    call = ToolUseBlock(id=id, name=STEP, input={"step": name})
    return Waiting(call_id=id, call=call, kind="task", task=child_of(id))


def step_of(plan: Plan, waiting: Waiting) -> Step:
    """Return the step of the plan that `waiting` is."""
    return next(step for step in plan.steps if step.id == waiting.call.input["step"])


def is_step(waiting: Waiting) -> bool:
    """Return whether the run waits for a step of its plan."""
    return waiting.kind == "task" and waiting.call.name == STEP


def begun(state: State, entry: Parked) -> State:
    """Return the state in which the steps that the run waits for have begun."""
    plan = _open(state)
    if plan is None:
        return state
    names = {str(each.call.input["step"]) for each in entry.waiting if is_step(each)}
    return replace(state, plan=replace(plan, begun=plan.begun | names))


def stepped(state: State, entry: StepEnded) -> tuple[State, ToolResultBlock | None]:
    """Return the state once a step has ended, and the result of the call that the plan is, if no other step is left."""
    state = replace(state, usage=state.usage + entry.usage, cost_usd=state.cost_usd + entry.cost_usd, takeovers=())
    plan = _open(state)
    if plan is None or plan.number != entry.plan:
        return state, None
    plan = ended(plan, entry.name, entry.result)
    state = replace(state, plan=plan)
    if waits_of(state) or state.reply is None:
        return state, None
    call = state.reply.message.tool_uses[plan.index]
    outcome = "success" if plan.is_done else "error"
    result = ToolResultBlock(id=call.id, name=call.name, state=outcome, metadata={"index": plan.index})
    return state, _with_steps(result, plan)


def closing(state: State, result: ToolResultBlock) -> tuple[State, ToolResultBlock]:
    """Return the state in which nothing of the plan is left open, if `result` is its call's, and the result in full."""
    plan = _open(state)
    if plan is None or result.name != PLAN or index_of(result) != plan.index:
        return state, result
    if KEPT not in result.metadata and result.state == "interrupted":
        result = _with_steps(result, plan)
    return replace(state, plan=replace(plan, closed=True)), result


def _with_steps(result: ToolResultBlock, plan: Plan) -> ToolResultBlock:
    output: list[ContentBlock] = [*result.output, TextBlock(text=_summary(plan))]
    kept: list[JsonValue] = []
    for step in plan.steps:
        if (came := plan.results.get(step.id)) is not None:
            output += [TextBlock(text=f"[{step.id}: {came.state}]"), *came.output]
            found = came.metadata.get(KEPT)
            kept += found if isinstance(found, list) else []
    return result.model_copy(update={"output": output, "metadata": {**result.metadata, KEPT: kept}})


def _summary(plan: Plan) -> str:
    if plan.is_done:
        return "Every step is done."
    left = [step.id for step in plan.steps if step.id not in plan.results]
    told = [f"Not done: {', '.join(plan.failed)}."] if plan.failed else []
    return " ".join([*told, f"Not begun or not over: {', '.join(left)}."] if left else told)


def _open(state: State) -> Plan | None:
    plan = state.plan
    return plan if plan is not None and not plan.closed and plan.reply == state.step else None
