"""A run as its journal tells it: what the loop decides by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import JsonValue

from natscope.contracts import approval
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import FileBlock, ToolResultBlock, ToolUseBlock
from natscope.contracts.errors import Failure
from natscope.contracts.hook import Point
from natscope.contracts.message import Message
from natscope.contracts.model import Usage
from natscope.contracts.run import Hooked, ModelReplied, Parked, Part, Performed, Started
from natscope.contracts.task import Finished, Submit
from natscope.contracts.tool import OpenTasks, ToolSpec
from services.agent.fault import Fault
from services.agent.own import FINISH, is_on
from services.agent.plan import Plan

TOKENS = "tokens"
MONEY = "usd"


@dataclass(frozen=True)
class State:
    """A run, as its journal tells it."""

    started: Started
    messages: tuple[Message, ...] = ()
    """What this run has added to the conversation: the task, replies, results, steering."""
    step: int = 0
    reply: ModelReplied | None = None
    results: tuple[ToolResultBlock, ...] = ()
    """Results of the latest reply's calls, as they came."""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    tool_calls: int = 0
    fault: Fault | None = None
    """What is wrong with the latest reply."""
    failures: Mapping[str, int] = field(default_factory=dict[str, int])
    """How often calls have failed since one has succeeded, by what they ask for."""
    open_tasks: OpenTasks | None = None
    """What is left on the session's list of tasks, as far as the conversation tells."""
    limit: str | None = None
    """The limit that was reached before the latest reply, which is the last then."""
    active: frozenset[str] = frozenset()
    """Groups of tools that are on."""
    kept: tuple[FileBlock, ...] = ()
    """Files that results have left for the workspace."""
    output: JsonValue = None
    """The answer as a value, once `finish` was called."""
    decisions: Mapping[str, approval.Decision] = field(default_factory=dict[str, approval.Decision])
    """What was decided about calls of the latest reply, by the calls' ids."""
    rules: tuple[approval.Rule, ...] = ()
    """Rules that decisions have added."""
    parked: Parked | None = None
    """What the run waits with, if it waits."""
    promised: Mapping[str, approval.Waiting] = field(default_factory=dict[str, approval.Waiting])
    """The tasks that it has waited with last, with what each may spend, by their calls' ids."""
    waited: timedelta = timedelta()
    """How long it has waited in all."""
    heard_in: Mapping[str, int] = field(default_factory=dict[str, int])
    """Up to where in the log of each of its teams' hubs it has heard, besides what it recalled at first."""
    heard: int = 0
    """Up to where in the stream CONTROL steering was heard."""
    told: int = 0
    """Up to where in the stream EVENTS all that was told is kept."""
    unanswered: bool = False
    """Whether something was slipped in behind the latest reply."""
    redirects: int = 0
    """How often what was under way was dropped."""
    summary: Message | None = None
    """What the model is given instead of the past and the first `covered` messages."""
    covered: int = 0
    compressions: int = 0
    compressed_at: int | None = None
    """After which step that was last."""
    plan: Plan | None = None
    """The latest plan that can be carried out."""
    wrong_plans: int = 0
    """Plans in a row that cannot."""
    hooked: Mapping[tuple[Point, str], Hooked] = field(default_factory=dict[tuple[Point, str], Hooked])
    """What hooks have decided since the latest reply, by the point and what it was about."""
    shaped: int = 0
    """How often they have changed, since then, what the model is asked."""
    prompt: tuple[str, str] | None = None
    """The agent whose system prompt they have changed, and to what."""
    put_off: frozenset[str] = frozenset()
    """Calls of the latest reply that the run has waited with, by their ids; hooks are not asked about them again."""
    judged: frozenset[int] = frozenset()
    """The critics that have judged the latest reply, by their places."""
    objections: Fault | None = None
    """What the run's answers were objected to."""
    objected_at: int = 0
    """How many tokens it had spent when that was first."""
    performed: Mapping[str, Performed] = field(default_factory=dict[str, Performed])
    """What its own function has asked for, by the positions in it."""
    place: str | None = None
    """The position in its own function that this is about."""
    successor: Part | None = None
    """Who takes the conversation over once the latest reply's calls are done."""
    handed: tuple[str, ...] = ()
    """The agents that have handed it over, whom the task asked first."""
    helps: int = 0
    """How often a person has helped the run on."""
    left_alone: bool = False
    """Whether nobody has, once, in time."""
    aborted: Failure | None = None
    """Why it is to end, as a person has decided who was asked for help."""
    holder: str = ""
    """The process that has the run in hand, or had it last."""
    takeovers: tuple[str, ...] = ()
    """The processes it was taken over from since the last step, one after the other."""
    resumptions: int = 0
    """How often anybody has gone on with it in all."""
    ended: Finished | None = None

    @property
    def agent(self) -> AgentSpec:
        """The agent as it was when the run started."""
        return self.started.agent

    @property
    def tools(self) -> list[ToolSpec]:
        """The tools the model is offered now."""
        return [spec for spec in self.started.tools if is_on(self.agent, self.active, spec.name)]

    @property
    def owes_output(self) -> bool:
        """Whether the agent has declared what its answer looks like, and has not given it."""
        return self.agent.output is not None and self.output is None


def spent(state: State) -> str | None:
    """Return the limit on what a run may spend that is reached, if one is."""
    limits, usage = state.agent.limits, state.usage
    if limits.tokens is not None and usage.input_tokens + usage.output_tokens >= limits.tokens:
        return TOKENS
    return MONEY if limits.usd is not None and state.cost_usd >= limits.usd else None


def losses(state: State) -> int:
    """Return how many processes, at most, have died with the run in hand since its last step.

    A process dies once. That a run was taken over does not say that anybody died: after a restart of nats-server it is
    delivered again while its holder lives, and it may go to and fro between the same two, or come back to the same one.
    """
    return len({*state.takeovers} - {state.holder})


def within(spec: AgentSpec, task: Submit) -> AgentSpec:
    """Return the agent as it may act for `task`: with the task's limits where they are lower."""
    limits = spec.limits
    tokens = min((each for each in (limits.tokens, task.tokens) if each is not None), default=None)
    usd = min((each for each in (limits.usd, task.usd) if each is not None), default=None)
    if (tokens, usd) == (limits.tokens, limits.usd):
        return spec
    return spec.model_copy(update={"limits": limits.model_copy(update={"tokens": tokens, "usd": usd})})


def begin(started: Started) -> State:
    """Return the state of a run that has just started."""
    task = started.task
    asked = Message(
        id=f"{task.task_id}-0",
        name=task.name,
        role="user",
        content=task.content,
        metadata=task.metadata,
        created_at=started.at,
    )
    return State(started=started, messages=(asked,), active=active_of(started.agent), holder=started.holder)


def active_of(agent: AgentSpec) -> frozenset[str]:
    """Return the groups of tools that are on when the agent begins."""
    return frozenset(name for name, group in agent.groups.items() if group.active)


def open_calls_of(state: State) -> tuple[tuple[int, ToolUseBlock], ...]:
    """Return the calls of the latest reply that have no result, each with its index; in the last step only `finish`."""
    calls = state.reply.message.tool_uses if state.reply is not None else []
    done = {index_of(result) for result in state.results}
    left = tuple((index, call) for index, call in enumerate(calls) if index not in done)
    if state.limit is None:
        return left
    return tuple((index, call) for index, call in left if call.name == FINISH and state.owes_output)


def request_id(state: State, step: int) -> str:
    """Return the id under which the model is asked for `step`; another one once something else is to be asked."""
    again = f"-r{state.redirects}" if state.redirects else ""
    shorter = f"-s{state.compressions}" if state.compressions else ""
    helped = f"-h{state.helps}" if state.helps else ""
    shaped = f"-k{state.shaped}" if state.shaped else ""
    return f"{state.started.task.task_id}-m{step}{again}{shorter}{helped}{shaped}"


def results_id(state: State) -> str:
    """Return the id of the message with the results of the latest reply's calls."""
    return f"{state.started.task.task_id}-{state.step}-results"


def call_id(state: State, index: int) -> str:
    """Return the id of a call of the latest reply, unique within all tasks."""
    if state.place is not None:
        return f"{state.started.task.task_id}-c{state.place}"
    return f"{state.started.task.task_id}-t{state.step}-{index}"


def index_of(result: ToolResultBlock) -> int:
    """Return which of its reply's calls a result answers."""
    found = result.metadata.get("index")
    return found if isinstance(found, int) else 0
