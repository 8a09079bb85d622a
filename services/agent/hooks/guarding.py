"""Carrying out a call between the hooks that stand around it."""

import json

from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.hook import Answer
from natscope.contracts.tool import Called
from services.agent.acting import Actor, instead
from services.agent.delegating import delegates, effective
from services.agent.hooks.standing import Standing
from services.agent.permitting import by_rules
from services.agent.refusing import refuse
from services.agent.state import State, call_id, open_calls_of
from services.agent.telling import Teller


async def permitted(hooks: Standing) -> None:
    """Have the hooks judge each open call that nobody has judged, before anything becomes of it."""
    state = hooks.state
    if not hooks.stands("permission"):
        return
    for index, call in open_calls_of(state):
        await judged(hooks, state, index, call)


async def judged(hooks: Standing, state: State, index: int, call: ToolUseBlock) -> None:
    """Have the hooks judge a call, unless somebody has, or it is of no use."""
    id, call = call_id(state, index), effective(state, index, call)
    if id in state.decisions or id in state.put_off or refuse(state, call) is not None:
        return
    verdict = by_rules(state, call)
    more = {"call": call, "verdict": verdict.behaviour, "reason": verdict.reason}
    await hooks.decided("permission", id, id, **more)


async def guarded(
    hooks: Standing, actor: Actor, state: State, index: int, call: ToolUseBlock, teller: Teller
) -> Called:
    """Return the outcome of a call as `Actor.act` does, or as the hooks have it."""
    id, call = call_id(state, index), effective(state, index, call)
    barred = actor.barred(state, index, call)
    if barred is not None or delegates(call):
        return barred or await actor.carry_out(state, index, call, teller)
    before = await hooks.decided("before_acting", id, id, call=call)
    if before is not None and before.do in ("skip", "refuse"):
        return _in_its_place(call, index, before)
    if before is not None and before.arguments is not None:
        told = {"input": before.arguments, "raw_input": json.dumps(before.arguments)}
        call = call.model_copy(update=told)
        if (barred := actor.barred(state, index, call)) is not None:
            return barred
    called = await actor.carry_out(state, index, call, teller)
    after = await hooks.decided("after_acting", id, call=call, result=called.result)
    return called if after is None else _changed(called, call, index, after)


def _in_its_place(call: ToolUseBlock, index: int, answer: Answer) -> Called:
    if answer.do == "refuse":
        return instead(call, index, "denied", f"It was refused, nothing ran: {_why(answer)}")
    called = instead(call, index, answer.state or "success", "")
    return called.model_copy(update={"result": called.result.model_copy(update={"output": answer.content or []})})


def _changed(called: Called, call: ToolUseBlock, index: int, answer: Answer) -> Called:
    if answer.do == "refuse":
        return instead(call, index, "denied", f"It ran, but its result is withheld: {_why(answer)}")
    changed: dict[str, object] = {"state": answer.state or called.result.state}
    if answer.content is not None:
        changed["output"] = answer.content
    return called.model_copy(update={"result": called.result.model_copy(update=changed)})


def _why(answer: Answer) -> str:
    return answer.reason or "no reason given"
