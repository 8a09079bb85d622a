"""A run's steps in a line each, for clients that show progress."""

from natscope.contracts import event

LETTERS = 200


def step_of(happened: event.TaskEvent) -> str | None:
    """Return what to say of an event; None for those that are no step."""
    match happened:
        case event.ReplyStart(agent=agent, resumed=resumed):
            return f"{agent} {'goes on' if resumed else 'begins'}"
        case event.ModelCallStart(step=step, model=model):
            return f"step {step}: asks {model}"
        case event.ToolCallEnd(call=call):
            return f"calls {call.name}"
        case event.ToolResult(result=result):
            return f"{result.name}: {result.state}"
        case event.ToolProgress(text=text):
            return text.strip()[:LETTERS] or None
        case event.ApprovalNeeded(task_id=task):
            return f"waits until somebody decides on its calls (task {task})"
        case event.ChildWaits(agent=agent, child=child):
            return f"waits until somebody decides on the calls of {agent} (task {child})"
        case event.LimitReached(limit=limit):
            return f"has reached its limit of {limit}"
        case event.Interrupted(reason=reason):
            return f"was interrupted: {reason}" if reason else "was interrupted"
        case _:
            return None
