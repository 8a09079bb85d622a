"""What a step of a function is to the rooms that carry it out: the same each time, so that it happens once."""

import json
from dataclasses import replace

from pydantic import JsonValue

from natscope.agents import Approval, Reply, Result, Step
from natscope.contracts import model
from natscope.contracts.approval import Decision, Waiting
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock
from natscope.contracts.contract import now
from natscope.contracts.errors import BudgetExhausted, Failure, NatscopeError, Refused
from natscope.contracts.message import Message
from natscope.contracts.model import Output
from natscope.contracts.run import Performed
from natscope.contracts.task import Finished
from services.agent import children
from services.agent.custom.branches import At
from services.agent.custom.folding import RUN_LIMIT, hook_names, shapes_of
from services.agent.delegating import child_of, why_not
from services.agent.hooks.folding import of_question
from services.agent.hooks.questioning import Place
from services.agent.hooks.shaping import adjusted
from services.agent.loop import MAX_STEPS
from services.agent.own import ASK_AGENT
from services.agent.permitting import verdict_on
from services.agent.refusing import refuse
from services.agent.state import State, call_id, spent


def done(at: At, value: JsonValue, **more: object) -> Performed:
    """Return the entry that says what a step has given."""
    return Performed.model_validate(_where(at) | {"value": value} | more)


def failed(at: At, error: NatscopeError) -> Performed:
    """Return the entry that says what a step has raised."""
    return Performed.model_validate(_where(at) | {"failure": Failure.of(error)})


def _where(at: At) -> dict[str, object]:
    return {"position": at.position, "kind": at.step.kind, "name": at.step.name, "digest": at.step.digest}


def id_of(state: State, at: At) -> str:
    """Return the id under which a step is carried out once."""
    return call_id(replace(state, place=at.position), 0)


def request_of(state: State, at: At) -> str:
    """Return the id under which a model is asked; another one once hooks have shaped the question any further."""
    shaped = shapes_of(state, at.position)
    return id_of(state, at) + (f"-k{shaped}" if shaped else "")


def place_of(state: State, at: At) -> Place:
    """Return where a question to a model stands, as hooks know it: each has a prompt of its own."""
    name, _ = hook_names(state, at.position)
    return Place(request_of(state, at), name, name, name)


def limit_before(state: State, *, asked: int) -> BudgetExhausted | None:
    """Return what a function is told if its agent may ask no model any more; `asked` are being asked now."""
    limit = MAX_STEPS if state.step + asked >= state.agent.limits.max_steps else spent(state)
    if limit is None:
        return None
    return BudgetExhausted(f"the agent's limit {limit!r} is reached; no model is asked", details={RUN_LIMIT: limit})


def chat_of(state: State, at: At) -> model.Chat:
    """Return what to ask the model."""
    agent, task, body, id = state.agent, state.started.task, at.step.body, id_of(state, at)
    name, _ = hook_names(state, at.position)
    told, hint = of_question(state, "system_prompt", name), of_question(state, "before_reasoning", name)
    prompt = told.prompt if told is not None and told.prompt is not None else body["system"] or agent.system_prompt
    system = {"name": "system", "role": "system", "content": prompt}
    given = body["messages"] if isinstance(body["messages"], list) else []
    more = [{"name": "system", "role": "user", "content": hint.hint}] if hint is not None and hint.hint else []
    messages = [
        Message.model_validate({**each, "id": f"{id}-{place}", "created_at": state.started.at})
        for place, each in enumerate([system, *given, *more])
        if isinstance(each, dict)
    ]
    wanted = body["tools"] if isinstance(body["tools"], list) else []
    asked = model.Chat(
        request_id=request_of(state, at),
        model=str(body["model"] or agent.model),
        messages=messages,
        tools=[spec for spec in state.tools if spec.name in wanted],
        output=Output.model_validate(body["output"]) if body["output"] is not None else None,
        generation=agent.generation,
        tenant=task.tenant,
        agent=agent.name,
        session=task.lane,
    )
    return adjusted(state, name, asked) if state.hooked else asked


def replied(at: At, chatted: model.Chatted) -> Performed:
    """Return what a model has said, as the journal keeps it."""
    told = Reply(message=chatted.message, finish_reason=chatted.finish_reason, output=chatted.output)
    spent = {"usage": chatted.usage, "cost_usd": chatted.cost_usd or 0.0}
    return done(at, told.model_dump(mode="json"), **spent)


def call_of(at: At) -> ToolUseBlock:
    """Return the call of a tool that a step is."""
    call = ToolUseBlock.model_validate(at.step.body["call"])
    raw = call.raw_input or json.dumps(call.input)
    return call.model_copy(update={"id": call.id or f"c{at.position}", "raw_input": raw})


def held(state: State, at: At) -> Waiting | None:
    """Return what a tool's call waits with, if its permissions want somebody to decide, or somebody outside acts."""
    if at.step.kind == "ask":
        return _held_back(state, at)
    if at.step.kind != "tool":
        return None
    call, id = call_of(at), id_of(state, at)
    if id in state.decisions or refuse(state, call) is not None:
        return None
    verdict = verdict_on(replace(state, place=at.position), 0, call)
    external = any(spec.name == call.name and spec.external for spec in state.tools)
    if verdict.behaviour == "deny" or (verdict.behaviour == "allow" and not external):
        return None
    wait = state.agent.permissions.wait
    return Waiting(
        call_id=id,
        call=call,
        kind="answer" if external else "approval",
        reason=verdict.reason if verdict.behaviour == "ask" else "",
        rules=[] if external else list(verdict.suggestions),
        until=now() + wait if wait is not None else None,
    )


def _held_back(state: State, at: At) -> Waiting | None:
    """Return what a step that asks another agent waits with, if hooks want somebody to decide."""
    id, answer = id_of(state, at), of_question(state, "permission", id_of(state, at))
    if answer is None or answer.verdict != "ask" or id in state.decisions:
        return None
    return Waiting(call_id=id, call=ask_of(at), kind="approval", reason=answer.reason)


def ask_of(at: At) -> ToolUseBlock:
    """Return the call that asking another agent is."""
    return ToolUseBlock(id=at.position, name=ASK_AGENT, input=at.step.body)


def waiting_of(state: State, at: At) -> Waiting:
    """Return what a step waits with that is neither a model's nor a tool's.

    The id of what others act upon tells of what was asked: a decision is for that question alone.
    """
    id, kind, body = f"{id_of(state, at)}-{at.step.digest[:8]}", at.step.kind, at.step.body
    call = ToolUseBlock(id=at.position, name=ASK_AGENT if kind == "ask" else kind, input=body)
    if kind == "ask":
        return Waiting(call_id=id, call=call, kind="task", task=child_of(id))
    told = {"call_id": id, "call": call, "kind": "time" if kind == "wake" else "approval", "until": body["until"]}
    return Waiting.model_validate(told | {"reason": str(body.get("question") or "")})


def step_of(waiting: Waiting) -> At:
    """Return the step that waits, from what the journal has of it."""
    kind, body = ("ask" if waiting.kind == "task" else "wake"), waiting.call.input
    return At(waiting.call.id, Step(kind, str(body.get("agent", "")), body))


def barred(state: State, at: At) -> Refused | None:
    """Return why another agent may not be asked, if it may not."""
    if (why := why_not(state, ask_of(at))) is not None:
        return Refused(why, remedy="name it in the agent's `agents`")
    answer, decision = of_question(state, "permission", id_of(state, at)), state.decisions.get(id_of(state, at))
    if answer is not None and (answer.do == "refuse" or answer.verdict == "deny"):
        return Refused(f"another agent may not be asked: {answer.reason or 'no reason given'}")
    if decision is not None and decision.verdict != "approve":
        return Refused(f"another agent may not be asked: {decision.reason or 'no reason given'}")
    if decision is not None and decision.arguments not in (None, at.step.body):
        return Refused("another agent was approved of with other arguments, which its function has not given")
    return None


def answered(at: At, outcome: Finished) -> Performed:
    """Return what another agent has answered, as the journal keeps it."""
    call = ask_of(at)
    told = Result(block=children.result_of(call, 0, outcome), output=outcome.output)
    return done(at, told.model_dump(mode="json"), usage=outcome.usage, cost_usd=outcome.cost_usd)


def decided(at: At, decision: Decision) -> Performed:
    """Return what a person has decided, as the journal keeps it."""
    said = Approval(approved=decision.verdict == "approve", reason=decision.reason, arguments=decision.arguments)
    return done(at, said.model_dump(mode="json"))


def returned(at: At, block: ToolResultBlock) -> Performed:
    """Return what a tool has given, as the journal keeps it."""
    return done(at, Result(block=block).model_dump(mode="json"))
