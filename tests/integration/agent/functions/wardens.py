"""Hooks that the tests' agents have: what they do follows from what they are asked about, and they remember it."""

import asyncio
import contextlib
import sys
from collections import defaultdict

import natscope
from natscope.contracts.blocks import plain, text_of
from natscope.contracts.errors import RunFenced
from natscope.contracts.hook import Point
from natscope.contracts.message import Message
from natscope.hooks import Answer, Asked

asked: dict[str, list[Asked]] = defaultdict(list)
"""By task."""


@natscope.hook
async def watches(about: Asked) -> None:
    asked[about.task].append(about)


CHANGES: dict[Point, dict[str, object]] = {
    "before_reply": {"content": plain("Add, please.")},
    "before_model_call": {"model": "other", "tool_choice": "auto"},
    "before_compression": {"hint": "Leave the names out."},
    "after_compression": {"content": plain("All of it.")},
    "before_acting": {"arguments": {"a": 20, "b": 20}},
}


def _changed(about: Asked) -> dict[str, object]:
    match about.point:
        case "system_prompt":
            return {"prompt": f"{about.prompt} Politely."}
        case "before_reasoning":
            return {"hint": f"Step {about.step + 1}."}
        case "after_acting" if about.result is not None:
            return {"content": plain(f"{text_of(about.result.output)}!")}
        case "after_reasoning" if about.message is not None and not about.message.tool_uses:
            return {"content": plain(f"{about.message.text} So it is.")}
        case "after_reply" if about.message is not None:
            return {"content": plain(f"{about.message.text} Amen.")}
        case _:
            return CHANGES.get(about.point, {})


@natscope.hook
async def changes(about: Asked) -> Answer:
    """Change all there is to change at each point."""
    asked[about.task].append(about)
    changed = _changed(about)
    return Answer.model_validate({"do": "change", **changed}) if changed else Answer()


@natscope.hook
async def doubles(about: Asked) -> Answer:
    assert about.call is not None
    return Answer(do="change", arguments={name: value * 2 for name, value in about.call.input.items()})  # pyright: ignore[reportOperatorIssue]


@natscope.hook
async def forbids(about: Asked) -> Answer:
    return Answer(do="refuse", reason="not on a Sunday")


@natscope.hook
async def asks(about: Asked) -> Answer:
    asked[about.task].append(about)
    return Answer(do="change", verdict="ask", reason="somebody should look")


@natscope.hook
async def answers(about: Asked) -> Answer:
    """Stand for what would have come of it."""
    return Answer(do="skip", content=plain("Nobody had to."))


@natscope.hook
async def objects(about: Asked) -> Answer:
    assert about.message is not None
    return Answer(do="again", reason="too short") if len(about.message.text) < 5 else Answer()


@natscope.hook
async def hangs(about: Asked) -> Answer:
    await asyncio.Event().wait()
    return Answer()


@natscope.hook
async def clings(about: Asked) -> Answer:
    """Go on when it is cancelled; a second time it gives in, so that the test's own loop can end."""
    with contextlib.suppress(BaseException):
        await asyncio.Event().wait()
    await asyncio.Event().wait()
    return Answer()


@natscope.hook
async def feels_fenced(about: Asked) -> Answer:
    """Raise what only the journal can know."""
    raise RunFenced("not mine")


@natscope.hook
async def half_said(about: Asked) -> Answer:
    """Answer with half of a surrogate pair."""
    return Answer(do="change", arguments={"a": "\ud83d"})


@natscope.hook
async def breaks(about: Asked) -> Answer:
    raise KeyError("keys")


@natscope.hook
async def leaves(about: Asked) -> Answer:
    """End the process."""
    sys.exit(3)


@natscope.hook
async def misfits(about: Asked) -> Answer:
    return Answer(do="change", prompt="Nobody asked for that.")


@natscope.hook
async def wavers(about: Asked) -> Answer:
    """Answer otherwise each time."""
    asked[about.task].append(about)
    times = len(asked[about.task])
    if about.point == "before_acting":
        return Answer(do="change", arguments={"a": times, "b": times})
    return Answer(do="change", hint=f"Told {times} times.")


@natscope.hook
async def rewrites(about: Asked) -> Answer:
    """Keep the first and the last message, and put one of its own between them: another each time."""
    asked[about.task].append(about)
    note = Message(name="user", role="user", content=plain(f"Note {len(asked[about.task])}. {'x' * 40}"))
    return Answer(do="change", messages=[about.messages[0], note, about.messages[-1]])


@natscope.hook
async def shouts(about: Asked) -> Answer:
    """Send another wording of all that was said."""
    asked[about.task].append(about)
    loud = [each.model_copy(update={"content": plain(f"{each.text.upper()}!")}) for each in about.messages]
    return Answer(do="change", messages=loud)


@natscope.hook
async def regrets(about: Asked) -> Answer:
    """Have nothing to say at first, and forbid it when asked again."""
    asked[about.task].append(about)
    return Answer() if len(asked[about.task]) == 1 else Answer(do="refuse", reason="after all")


plain_function = forbids.function
