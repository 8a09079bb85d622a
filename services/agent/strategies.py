"""How agents go about a task: which tools each strategy offers its model, and what the next reply has to call."""

from pydantic import JsonValue

from natscope.contracts.agent import AgentSpec
from natscope.contracts.task import Submit
from natscope.contracts.tool import ToolSpec
from services.agent.delegating import DEPTH
from services.agent.own import FINISH, PLAN
from services.agent.planning import HINT, PROMPT, owes_plan, plans
from services.agent.state import State

_FINISH = f"Give your answer by calling {FINISH}."


def cast(agent: AgentSpec, task: Submit) -> AgentSpec:
    """Return the agent in the part that it plays in `task`.

    A step of a plan is done, not planned again; agents that ask through each other do not plan at the deepest level.
    """
    if task.step_of is not None:
        agent = agent.model_copy(update={"output": None})
    if plans(agent) and (task.step_of is not None or len(task.asked_by) + 1 >= DEPTH):
        return agent.model_copy(update={"strategy": "react"})
    if agent.strategy == "dialog":
        return agent.model_copy(
            update={"tools": [], "groups": {}, "agents": [], "hands_over_to": [], "team": None, "skills": []}
        )
    return agent.model_copy(update={"skills": []}) if plans(agent) else agent


def offered(agent: AgentSpec, tools: list[ToolSpec], own: list[ToolSpec], others: list[AgentSpec]) -> list[ToolSpec]:
    """Return the tools that a run of the agent may ever be offered, of those it has."""
    if agent.strategy == "custom":
        return tools
    if not plans(agent):
        return [*tools, *own]
    return [plan_spec(agent, tools, others), *(spec for spec in own if spec.name == FINISH)]


def prompt_of(state: State) -> str:
    """Return the agent's system prompt, with what its strategy adds."""
    seat, asked_by = state.started.task.seat, state.started.task.asked_by
    parts = [state.agent.system_prompt]
    if seat is not None:
        purpose = f" The team is for this: {seat.purpose}" if seat.purpose else ""
        parts.append(f"You are {seat.member!r}, a member of a team that {asked_by[-1]!r} leads.{purpose}")
    if plans(state.agent):
        parts.append(PROMPT)
    return "\n\n".join(parts)


def choice_of(state: State) -> str:
    """Return what the next reply has to call. What must be called is forced at first, and left to a hint after that."""
    if state.agent.strategy == "react":
        return "auto"
    due = FINISH if state.owes_output else None
    if plans(state.agent):
        if owes_plan(state):
            due = PLAN
        elif state.unanswered or state.plan is None or not state.plan.is_done:
            return "required" if due else "auto"
        elif due is None:
            return "none"
    return due if due is not None and state.fault is None else "auto"


def hint_of(state: State) -> str | None:
    """Return what the model is told when it has called nothing, though it has to."""
    if state.reply is None or state.reply.message.tool_uses:
        return None
    if owes_plan(state):
        return HINT
    return _FINISH if state.owes_output else None


def _named(others: list[AgentSpec]) -> list[str]:
    return [f"- {other.name}: {other.description}" for other in others]


def plan_spec(agent: AgentSpec, tools: list[ToolSpec], others: list[AgentSpec]) -> ToolSpec:
    """Return what the model is told of planning."""
    names: list[JsonValue] = [agent.name, *(other.name for other in others)]
    fields: dict[str, JsonValue] = {
        "id": {"type": "string", "description": "A short name, by which other steps depend on it."},
        "do": {"type": "string", "description": "What is to be done, in full."},
        "depends_on": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Ids of the steps whose results it needs. Steps that need nothing of each other are done at "
            "the same time.",
        },
    }
    if others:
        fields["agent"] = {"type": "string", "enum": names, "description": "Who does it."}
    step: dict[str, JsonValue] = {"type": "object", "properties": fields, "required": ["id", "do"]}
    steps: JsonValue = {"type": "array", "items": step, "minItems": 1}
    lines = [f"- {each.name}: {each.description.strip().splitlines()[0]}" for each in tools if each.description.strip()]
    text = [
        "Make a plan of the task, and have it carried out. Whoever does a step is told the task, the step, and what "
        "the steps that it depends on gave. What was done under an earlier plan stays and may be depended on.",
        *(["A step can use these tools:", *lines] if lines else []),
        *(["Besides yourself, these may do a step:", *_named(others)] if others else []),
    ]
    parameters: dict[str, JsonValue] = {"type": "object", "properties": {"steps": steps}, "required": ["steps"]}
    return ToolSpec(name=PLAN, description="\n".join(text), parameters=parameters, read_only=True, idempotent=True)
