"""What of a journal is said aloud: the lines of the `CHAT` log."""

import json
from collections.abc import Iterable

from natscope.contracts.blocks import text_of
from natscope.contracts.message import Message
from natscope.contracts.run import JournalEntry, Judged, ModelReplied, Started, Steered, ToolReturned
from natscope.telemetry.dialogue import is_dialogue_written, say


def tell_dialogue(task: str, entry: JournalEntry) -> None:
    """Write what an entry adds to the dialogue of `task`, if anybody wants to read it."""
    if is_dialogue_written():
        for who, text in said_in(entry):
            say(task, who, text)


def said_in(entry: JournalEntry) -> Iterable[tuple[str, str]]:
    """Return who says what in an entry; a reply's calls and their results are told beside what is said."""
    match entry:
        case Started():
            yield f"{entry.task.name} → {entry.agent.name}", text_of(entry.task.content) or "(no text)"
        case Steered():
            yield entry.message.name, text_of(entry.message.content)
        case ModelReplied():
            yield from _reply(entry.message)
        case ToolReturned():
            result = entry.result
            yield f"{result.name} ({result.state})", text_of(result.output)
        case Judged():
            yield f"{entry.by} judges", "; ".join(entry.objections) or "acceptable"
        case _:
            return


def _reply(message: Message) -> Iterable[tuple[str, str]]:
    if text := text_of(message.content):
        yield message.name, text
    for call in message.tool_uses:
        yield f"{message.name} → {call.name}", call.raw_input or json.dumps(call.input, ensure_ascii=False)
