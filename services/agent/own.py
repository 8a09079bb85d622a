"""The tools that an agent carries out itself, as the model and the loop see them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydantic import JsonValue

from natscope.contracts.agent import AgentSpec, Skill
from natscope.contracts.tool import FINISH as FINISH
from natscope.contracts.tool import ToolSpec

RESET_TOOLS = "reset_tools"
SKILL = "skill"
ASK_USER = "ask_user"
ASK_AGENT = "ask_agent"
PLAN = "plan"
HAND_OVER = "hand_over"
ASSIGN = "assign"
TELL_TEAM = "tell_team"
NAMES = (RESET_TOOLS, SKILL, FINISH, ASK_USER, ASK_AGENT, PLAN, HAND_OVER, ASSIGN, TELL_TEAM)

ACTIVE = "active_groups"
"""In a result's metadata: the groups that are on from then on."""
KEPT = "kept"
"""In a result's metadata: files that are in the workspace from the next call on."""

Schema = dict[str, JsonValue]


@dataclass(frozen=True)
class Others:
    """The agents with whom an agent has to do, as far as they are applied."""

    asked: list[AgentSpec]
    """Whom it may ask."""
    heirs: list[AgentSpec]
    """To whom it may hand the conversation over."""
    team: list[AgentSpec]
    """Of whom the team is that it leads."""
    seated: bool
    """Whether it is a member of another's team."""


def own_specs(agent: AgentSpec, skills: list[Skill], others: Others) -> list[ToolSpec]:
    """Return what the model is told of the agent's own tools, as far as the agent has use for them."""
    found: list[ToolSpec] = []
    if agent.groups:
        found.append(_reset_tools(agent))
    if skills:
        found.append(_skill(skills))
    if ASK_USER in agent.tools:
        found.append(_ask_user())
    if others.asked:
        found.append(_ask_agent(others.asked))
    if others.heirs:
        found.append(_hand_over(others.heirs))
    if others.team:
        found.append(_assign(others.team))
    if others.team or (others.seated and agent.strategy == "react"):
        found.append(_tell_team())
    if agent.output is not None:
        text = "End the task with its answer."
        described = agent.output.description
        found.append(_spec(FINISH, f"{text} {described}" if described else text, agent.output.json_schema))
    return found


def is_on(agent: AgentSpec, active: frozenset[str], tool: str) -> bool:
    """Return whether the model is offered `tool` while these groups are on."""
    groups = [group for name, group in agent.groups.items() if name in active]
    patterns = [*agent.tools, *(pattern for group in groups for pattern in group.tools)]
    return (tool in NAMES and tool != ASK_USER) or any(fnmatchcase(tool, pattern) for pattern in patterns)


def group_of(agent: AgentSpec, tool: str) -> str | None:
    """Return the first group that holds `tool`."""
    groups = agent.groups.items()
    return next((name for name, group in groups if any(fnmatchcase(tool, each) for each in group.tools)), None)


def switched(agent: AgentSpec, tools: list[ToolSpec], active: list[str]) -> str:
    """Return what the model reads when just these groups are on."""
    on = [spec.name for spec in tools if is_on(agent, frozenset(active), spec.name) and spec.name not in NAMES]
    notes = [f"{name}: {agent.groups[name].notes}" for name in active if agent.groups[name].notes]
    return "\n".join([f"On now: {', '.join(on) or 'no tool'}.", *notes])


def _reset_tools(agent: AgentSpec) -> ToolSpec:
    groups: Schema = {
        name: {"type": "boolean", "default": False, "description": group.description}
        for name, group in agent.groups.items()
    }
    text = "Switch groups of tools on; a group that is not named true is switched off. Call it before you need them."
    return _spec(RESET_TOOLS, text, {"type": "object", "properties": groups, "additionalProperties": False})


def _ask_user() -> ToolSpec:
    parameters: Schema = {
        "type": "object",
        "properties": {
            "question": {"type": "string", "description": "What to ask, in full: whoever reads it sees nothing else."},
            "options": {"type": "array", "items": {"type": "string"}, "description": "Answers to choose from, if any."},
        },
        "required": ["question"],
        "additionalProperties": False,
    }
    text = "Ask the person whom the task is for, and wait for the answer, however long it takes."
    return _spec(ASK_USER, text, parameters).model_copy(update={"external": True})


def _ask_agent(others: list[AgentSpec]) -> ToolSpec:
    parameters: Schema = {
        "type": "object",
        "properties": {
            "agent": _one_of(others),
            "message": {"type": "string", "minLength": 1, "description": "The task, in full: it sees nothing else."},
        },
        "required": ["agent", "message"],
        "additionalProperties": False,
    }
    text = _headed("Have another agent do something, and get its answer. Several may be asked at once.", others)
    return _spec(ASK_AGENT, text, parameters)


def _hand_over(heirs: list[AgentSpec]) -> ToolSpec:
    parameters: Schema = {
        "type": "object",
        "properties": {
            "agent": _one_of(heirs),
            "note": {"type": "string", "description": "What it should know besides the conversation, which it sees."},
        },
        "required": ["agent"],
        "additionalProperties": False,
    }
    text = _headed("Hand the conversation over to another agent, who goes on and answers in your place.", heirs)
    return _spec(HAND_OVER, text, parameters)


def _assign(team: list[AgentSpec]) -> ToolSpec:
    parameters: Schema = {
        "type": "object",
        "properties": {
            "agent": _one_of(team),
            "message": {"type": "string", "minLength": 1, "description": "What it is to do now."},
            "member": {
                "type": "string",
                "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$",
                "description": "A name of yours for the member, if several are to be of the same agent.",
            },
        },
        "required": ["agent", "message"],
        "additionalProperties": False,
    }
    text = (
        "Give a member of your team something to do, and get its answer. A member keeps what it was told and has done, "
        "and hears what the others answer. Assign to several at once where they can work at the same time; what one "
        "member is assigned it does in turn. The team is of:"
    )
    return _spec(ASSIGN, _headed(text, team), parameters)


def _tell_team() -> ToolSpec:
    parameters: Schema = {
        "type": "object",
        "properties": {
            "message": {"type": "string", "minLength": 1},
            "to": {"type": "string", "description": "Who alone is to hear it, by name; if it is left out, all do."},
        },
        "required": ["message"],
        "additionalProperties": False,
    }
    text = (
        "Tell all of your team, or one of them, something that they should know; who is at work hears it before its "
        "next step."
    )
    return _spec(TELL_TEAM, text, parameters)


def _skill(skills: list[Skill]) -> ToolSpec:
    parameters: Schema = {
        "type": "object",
        "properties": {"name": _one_of(skills)},
        "required": ["name"],
        "additionalProperties": False,
    }
    return _spec(SKILL, "Read how something is done, before you do it.", parameters)


def _one_of(named: Sequence[AgentSpec | Skill]) -> Schema:
    return {"type": "string", "enum": [each.name for each in named]}


def _headed(text: str, named: Sequence[AgentSpec | Skill]) -> str:
    """Return `text` with a line below it for each of what is named."""
    return "\n".join([text, *(f"- {each.name}: {each.description}" for each in named)])


def _spec(name: str, description: str, parameters: Schema) -> ToolSpec:
    return ToolSpec(name=name, description=description, parameters=parameters, read_only=True, idempotent=True)


def listing(skills: list[Skill]) -> str:
    """Return what the model is told of its skills from the beginning."""
    return _headed(f"Skills, to be read with the tool `{SKILL}` before you do what they are for:", skills)


def answer_text(output: JsonValue) -> str:
    """Return a structured answer as text."""
    return json.dumps(output, ensure_ascii=False)
