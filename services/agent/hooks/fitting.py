"""Which answers of a hook fit which point, and what the answers of several come to."""

from natscope.contracts.errors import BodyInvalid
from natscope.contracts.hook import Answer, Asked, Point

_CHANGES: dict[Point, frozenset[str]] = {
    "before_reply": frozenset({"content"}),
    "after_reply": frozenset({"content", "output"}),
    "system_prompt": frozenset({"prompt"}),
    "before_reasoning": frozenset({"hint"}),
    "after_reasoning": frozenset({"content"}),
    "before_model_call": frozenset({"messages", "model", "generation", "tools", "tool_choice"}),
    "after_model_call": frozenset({"content"}),
    "permission": frozenset({"verdict"}),
    "before_acting": frozenset({"arguments"}),
    "after_acting": frozenset({"content", "state"}),
    "before_compression": frozenset({"hint"}),
    "after_compression": frozenset({"content"}),
}
"""What a hook may change at a point."""
_SKIPS: dict[Point, frozenset[str]] = {
    "before_reply": frozenset({"content"}),
    "before_reasoning": frozenset({"content"}),
    "before_model_call": frozenset({"content"}),
    "before_acting": frozenset({"content", "state"}),
    "before_compression": frozenset({"content"}),
}
"""What stands for what is skipped."""


def check(point: Point, answer: Answer) -> None:
    """Return if `answer` fits `point`.

    Raises:
        BodyInvalid: it does not; the message says what would.
    """
    given = _given(answer)
    match answer.do:
        case "go_on" | "refuse":
            may, must = frozenset[str](), False
        case "change":
            may, must = _CHANGES[point], True
        case "skip" if point in _SKIPS:
            may, must = _SKIPS[point], True
        case "again" if point == "after_reply":
            if not answer.reason.strip():
                raise BodyInvalid("`again` needs a `reason`, which the model is told")
            may, must = frozenset[str](), False
        case _:
            raise BodyInvalid(f"`do: {answer.do}` is nothing that can be done at `{point}`")
    if strange := sorted(given - may):
        raise BodyInvalid(f"`{strange[0]}` is nothing that `do: {answer.do}` gives at `{point}`")
    if must and not given:
        raise BodyInvalid(f"`do: {answer.do}` at `{point}` needs one of {', '.join(sorted(may))}")


def _given(answer: Answer) -> frozenset[str]:
    values = ((name, getattr(answer, name)) for name in type(answer).model_fields)
    return frozenset(name for name, value in values if value is not None and name not in ("do", "reason"))


def both(before: Answer | None, answer: Answer) -> Answer:
    """Return what two answers come to, of which the second was asked with what the first had changed."""
    if before is None:
        return answer
    if answer.do != "change":
        return answer
    return before.model_copy(update={name: getattr(answer, name) for name in {"reason", *_given(answer)}})


def with_changes(asked: Asked, answer: Answer | None) -> Asked:
    """Return what the next hook is asked, with what those before it have changed."""
    if answer is None:
        return asked
    changed: dict[str, object] = {}
    if answer.content is not None and asked.result is not None:
        result = {"output": answer.content, "state": answer.state or asked.result.state}
        changed["result"] = asked.result.model_copy(update=result)
    elif answer.content is not None and asked.message is not None:
        changed["message"] = asked.message.model_copy(update={"content": answer.content})
    if answer.arguments is not None and asked.call is not None:
        changed["call"] = asked.call.model_copy(update={"input": answer.arguments})
    for name in ("prompt", "messages", "model", "tools", "verdict", "output"):
        if (value := getattr(answer, name)) is not None:
            changed[name] = value
    return asked.model_copy(update=changed)
