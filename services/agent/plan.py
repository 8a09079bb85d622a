"""A plan that is being carried out: what was meant, what has come of it, and what may begin."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import JsonValue, TypeAdapter, ValidationError

from natscope.bus.envelope import explain
from natscope.contracts.blocks import ToolResultBlock
from natscope.contracts.plan import Step

_STEPS = TypeAdapter(list[Step])


@dataclass(frozen=True)
class Plan:
    """One plan of a run. What earlier plans have done stays done."""

    number: int
    """Counts the plans of the run from 1."""
    reply: int
    """The model call that made it."""
    index: int
    """Which of that reply's calls it is."""
    steps: tuple[Step, ...]
    done: tuple[Step, ...] = ()
    """Steps of earlier plans that stand."""
    results: Mapping[str, ToolResultBlock] = field(default_factory=dict[str, ToolResultBlock])
    """What came of the steps that have ended, and of those in `done`, by their ids."""
    begun: frozenset[str] = frozenset()
    """Steps whose tasks are known to be submitted."""
    failed_before: tuple[str, ...] = ()
    """The steps of the plan before that have failed."""
    closed: bool = False
    """Whether the model was given what came of it, or it was dropped."""

    def succeeded(self, id: str) -> bool:
        """Return whether the step is done."""
        return id in self.results and self.results[id].state == "success"

    @property
    def failed(self) -> tuple[str, ...]:
        """The steps that have ended otherwise."""
        return tuple(step.id for step in self.steps if step.id in self.results and not self.succeeded(step.id))

    @property
    def is_done(self) -> bool:
        """Whether every step is done."""
        return all(self.succeeded(step.id) for step in self.steps)

    @property
    def ready(self) -> tuple[Step, ...]:
        """The steps that may begin: not ended, not begun, and all that they wait for is done."""
        open_steps = (step for step in self.steps if step.id not in self.results and step.id not in self.begun)
        return tuple(step for step in open_steps if all(map(self.succeeded, step.depends_on)))

    @property
    def under_way(self) -> tuple[Step, ...]:
        """The steps that have begun and not ended."""
        return tuple(step for step in self.steps if step.id in self.begun and step.id not in self.results)


def steps_in(arguments: Mapping[str, JsonValue]) -> tuple[Step, ...]:
    """Return the steps as the model has written them.

    Raises:
        ValueError: they are none.
    """
    try:
        return tuple(_STEPS.validate_python(arguments.get("steps")))
    except ValidationError as error:
        raise ValueError(f"`steps` are no steps: {explain(error)}") from error


def why_not(steps: tuple[Step, ...], *, before: Plan | None, agents: Iterable[str], most: int) -> str | None:
    """Return why these steps are no plan, in words for the model; None if they are one."""
    known = {step.id for step in steps}
    if not steps:
        return "A plan has at least one step."
    if len(steps) > most:
        return f"The plan has {len(steps)} steps; it may have {most}."
    if len(known) < len(steps):
        return "Two steps have the same id."
    if before is not None and following(before, 0, 0, steps).is_done:
        return "Every step of this plan is done already."
    stand = {step.id for step in standing(before, steps)}
    for step in steps:
        missing = [name for name in step.depends_on if name not in known | stand]
        if missing:
            return f"Step {step.id!r} depends on {missing[0]!r}, and there is no such step."
        if step.agent is not None and step.agent not in agents:
            return f"Step {step.id!r} is for {step.agent!r}; there is no such agent to ask."
    circle = circle_in(steps)
    return f"Steps wait for each other, none could begin: {' → '.join(circle)}." if circle else None


def circle_in(steps: Iterable[Step]) -> list[str]:
    """Return the ids of steps that wait for each other, the first once more at the end; empty: none do."""
    waits = {step.id: step.depends_on for step in steps}
    free: set[str] = set()
    while fresh := {id for id, others in waits.items() if id not in free and free.issuperset(set(others) & set(waits))}:
        free |= fresh
    stuck = [id for id in waits if id not in free]
    path: list[str] = []
    here = stuck[0] if stuck else None
    while here is not None and here not in path:
        path.append(here)
        here = next(other for other in waits[here] if other in stuck)
    return [*path[path.index(here) :], here] if here is not None else []


def standing(before: Plan | None, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps that earlier plans have done, without those that `steps` name for something else."""
    if before is None:
        return ()
    anew = {step.id: step.do for step in steps}
    done = (step for step in (*before.done, *before.steps) if before.succeeded(step.id))
    return tuple(step for step in done if anew.get(step.id, step.do) == step.do)


def following(before: Plan | None, reply: int, index: int, steps: tuple[Step, ...]) -> Plan:
    """Return the plan that these steps are, after the one before."""
    if before is None:
        return Plan(1, reply, index, steps)
    done = standing(before, steps)
    results = {step.id: before.results[step.id] for step in done}
    named = {step.id for step in steps}
    kept = tuple(step for step in done if step.id not in named)
    return Plan(before.number + 1, reply, index, steps, kept, results, failed_before=before.failed)


def ended(plan: Plan, name: str, result: ToolResultBlock) -> Plan:
    """Return the plan once a step has ended."""
    return replace(plan, results={**plan.results, name: result})
