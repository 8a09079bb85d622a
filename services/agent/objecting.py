"""Objections to an answer: the model is told, and writes it again, as often as any other fault allows."""

from dataclasses import replace

from natscope.contracts.run import Judged
from services.agent.fault import Fault
from services.agent.own import FINISH
from services.agent.reasking import OBJECTION, given_up
from services.agent.state import State


def is_in_vain(state: State) -> bool:
    """Return whether there are objections to the latest reply, and the model is not asked to mend it again."""
    return given_up(state.fault) == OBJECTION


def judged(state: State, entry: Judged) -> State:
    """Return the state once a critic has judged the latest reply."""
    state = replace(
        state,
        judged=state.judged | {entry.critic},
        usage=state.usage + entry.usage,
        cost_usd=state.cost_usd + (entry.cost_usd or 0.0),
        takeovers=(),
    )
    if entry.acceptable:
        return state
    spent = entry.usage.input_tokens + entry.usage.output_tokens
    return objected(state, "\n".join(entry.objections), spent)


def objected(state: State, reason: str, cost: int = 0) -> State:
    """Return the state once somebody, for so many tokens, has objected to the latest reply, which was to be the answer.

    Without one it is a function's, which is not run again. What counts is what was spent since the first objection of
    the run, whatever the model did in between.
    """
    reply = state.reply
    if reply is None:
        return replace(state, limit=OBJECTION)
    before, spent = state.objections, state.usage.input_tokens + state.usage.output_tokens
    if before is None:
        first = reply.usage.input_tokens + reply.usage.output_tokens + cost
        fault = Fault("objection", (reason,), first_tokens=first)
        state = replace(state, objected_at=spent)
    else:
        fault = replace(before, errors=(*before.errors, reason), more_tokens=spent - state.objected_at)
    calls = reply.message.tool_uses
    fault = replace(fault, calls=frozenset(place for place, call in enumerate(calls) if call.name == FINISH))
    owed = state.output if fault.is_given_up or state.limit is not None else None
    return replace(state, fault=fault, objections=fault, output=owed)
