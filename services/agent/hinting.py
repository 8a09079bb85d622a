"""Runtime hints: what the model is told of its run behind the conversation, and nobody keeps as anybody's words."""

from services.agent.state import State
from services.agent.window import share_taken

_EARLY = 0.2
"""So much before a summary is made the model is told; AgentScope 2's `context_buffer_ratio`."""
_SHOWN = 200


def hint_for(state: State) -> str | None:
    """Return the hints that the agent has asked for; the same from the same journal, so that the ask is the same."""
    found = [_time(state), _nearly_full(state), *_failing(state), _open_tasks(state)]
    lines = [f"- {each}" for each in found if each is not None]
    return "\n".join(["For your information, not from the user:", *lines]) if lines else None


def _time(state: State) -> str | None:
    if not state.agent.hints.time:
        return None
    return f"It is {state.messages[-1].created_at:%A, %Y-%m-%d %H:%M} UTC."


def _nearly_full(state: State) -> str | None:
    share, at = share_taken(state), state.agent.compression.at
    if not state.agent.hints.nearly_full or share is None or share < at - _EARLY:
        return None
    return f"About {share:.0%} of your window is taken; at {at:.0%} what was said before is replaced by a summary."


def _failing(state: State) -> list[str]:
    if not state.agent.hints.failing:
        return []
    return [
        f"This call has failed {times} times in a row: {call[:_SHOWN]}"
        for call, times in state.failures.items()
        if times > 1
    ]


def _open_tasks(state: State) -> str | None:
    left = state.open_tasks
    if not state.agent.hints.open_tasks or left is None or not left.tasks:
        return None
    more = [f"and {left.more} more, which task_list shows"] if left.more else []
    return "\n  ".join(["On your list of tasks is left:", *left.tasks, *more])
