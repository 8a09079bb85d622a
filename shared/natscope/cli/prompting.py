"""Asking whoever sits at the terminal about the calls that a task waits with."""

import asyncio

from pydantic import JsonValue, TypeAdapter, ValidationError

from natscope.cli.telling import Teller
from natscope.cli.typed import Lines
from natscope.client.ticket import Ticket
from natscope.contracts import event
from natscope.contracts.approval import Decision, Waiting
from natscope.contracts.blocks import ToolUseBlock, plain
from natscope.contracts.contract import new_id
from natscope.contracts.errors import BodyInvalid, NatscopeError
from natscope.contracts.tool import FINISH

_OBJECT = TypeAdapter[dict[str, JsonValue]](dict[str, JsonValue])
APPROVAL = "[y]es, [a]lways, [n]o or why not, {…} other arguments, Enter: later > "
ANSWER = "the answer, Enter: later > "
HELP = "[r]etry, [a]bort, or the answer in the model's place, Enter: later > "
_PROMPTS = {"approval": APPROVAL, "answer": ANSWER, "needs_human": HELP}


class Prompter:
    """Asks about one task's calls, one after another."""

    def __init__(self, ticket: Ticket, teller: Teller, lines: Lines) -> None:
        self._ticket = ticket
        self._teller = teller
        self._lines = lines
        self._asked: asyncio.Queue[tuple[Ticket, Waiting]] = asyncio.Queue()

    def heard(self, said: event.TaskEvent) -> None:
        """Ask about the calls that an event says the task waits with, or one that it has asked."""
        if isinstance(said, event.ApprovalNeeded | event.ChildWaits):
            of = said.child if isinstance(said, event.ChildWaits) else said.task_id
            for each in said.waiting:
                if each.kind in _PROMPTS:
                    self._asked.put_nowait((Ticket(self._ticket.bus, of), each))

    async def run(self) -> None:
        """Ask for as long as this is not cancelled; what is not decided here waits on."""
        while True:
            ticket, each = await self._asked.get()
            try:
                await self._ask(ticket, each)
            except NatscopeError as error:
                self._teller.note(str(error))

    async def _ask(self, ticket: Ticket, waiting: Waiting) -> None:
        while waiting.call_id in {each.call_id for each in await ticket.waiting()}:
            line = await self._lines.next(_PROMPTS[waiting.kind])
            if not (line or "").strip():
                self._teller.note(f"it waits: `natscope decide {ticket.task_id}`")
                return
            try:
                decision = decided(waiting, (line or "").strip())
                await ticket.decide(decision)
            except ValidationError:
                self._teller.note("these arguments are no JSON object")
            except BodyInvalid as error:
                self._teller.note(str(error))
            else:
                return


def decided(waiting: Waiting, line: str) -> Decision:
    """Return what a line that is not empty decides about a call, or of a run that needs help.

    An object in the place of a model that owes an answer of some form is that answer.

    Raises:
        ValidationError: it begins as a JSON object, and is none.
    """
    call_id, said = waiting.call_id, line.lower()
    if waiting.kind == "needs_human" and said in ("r", "retry"):
        return Decision(call_id=call_id, verdict="retry")
    if waiting.kind == "needs_human" and said in ("a", "abort"):
        return Decision(call_id=call_id, verdict="abort")
    if waiting.kind == "needs_human" and waiting.output_schema is not None and line.startswith("{"):
        finish = ToolUseBlock(id=new_id(), name=FINISH, input=_OBJECT.validate_json(line), raw_input=line)
        return Decision(call_id=call_id, verdict="answer", output=[finish])
    if waiting.kind != "approval":
        return Decision(call_id=call_id, verdict="answer", output=plain(line))
    if line.startswith("{"):
        return Decision(call_id=call_id, verdict="approve", arguments=_OBJECT.validate_json(line))
    match said:
        case "y" | "yes":
            return Decision(call_id=call_id, verdict="approve")
        case "a" | "always":
            return Decision(call_id=call_id, verdict="approve", rules=waiting.rules)
        case "n" | "no":
            return Decision(call_id=call_id, verdict="deny")
        case _:
            return Decision(call_id=call_id, verdict="deny", reason=line)
