"""Asking the model for one step, and telling what it writes while it writes."""

from nats.aio.msg import Msg

from natscope.bus import Bus
from natscope.bus.envelope import read
from natscope.contracts import event, model
from natscope.contracts.blocks import plain
from natscope.contracts.message import Message, Role
from natscope.contracts.run import Compressed
from services.agent.actions import AskModel
from services.agent.asking import insist
from services.agent.compressing import compress, shortened_talk
from services.agent.hinting import hint_for
from services.agent.hooks.shaping import adjusted, call_key, hooked_hint, hooked_prompt, withholds
from services.agent.loop import MAX_STEPS
from services.agent.own import FINISH, listing
from services.agent.planning import REPLANS
from services.agent.reasking import ARGUMENTS, EMPTY, REPEATED, correction, shown
from services.agent.state import MONEY, TOKENS, State, request_id
from services.agent.strategies import choice_of, hint_of, prompt_of
from services.agent.telling import Teller

_NOW = "Answer now with what you have; no tool can be called any more."
_AT_THE_LIMIT = {
    MAX_STEPS: f"The step limit is reached. {_NOW}",
    TOKENS: f"The token limit is reached. {_NOW}",
    MONEY: f"The spending limit is reached. {_NOW}",
    REPLANS: f"Steps have failed under plan after plan. {_NOW}",
    ARGUMENTS: f"Your calls could not be carried out as you wrote them. {_NOW}",
    EMPTY: f"Your answers were empty. {_NOW}",
    REPEATED: f"The same call has failed again and again. {_NOW}",
}


def question(state: State, past: list[Message], wanted: AskModel) -> model.Chat:
    """Return what to ask the model for step `wanted`; the same for every attempt, so that it is paid once."""
    agent = state.agent
    task = state.started.task

    def written(part: str, role: Role, text: str) -> Message:
        at = state.started.at
        return Message(id=f"{task.task_id}-{part}", name="system", role=role, content=plain(text), created_at=at)

    hint = [written("limit", "user", _AT_THE_LIMIT[wanted.limit])] if wanted.limit is not None else []
    if (missing := hint_of(state) or correction(state)) is not None and not hint:
        hint = [written(f"finish-{wanted.step}", "user", missing)]
    if (runtime := hint_for(state)) is not None:
        hint = [written(f"hint-{wanted.step}", "user", runtime), *hint]
    prompt = prompt_of(state)
    if state.started.skills:
        prompt = f"{prompt}\n\n{listing(state.started.skills)}"
    prompt = hooked_prompt(state) or prompt
    if (told := hooked_hint(state, wanted.step)) is not None:
        hint = [*hint, written(f"hook-{wanted.step}", "user", told)]
    last = FINISH if state.owes_output else "none"
    asked = model.Chat(
        request_id=request_id(state, wanted.step),
        model=agent.model,
        form="multi_agent" if task.seat is not None else "chat",
        messages=[written("system", "system", prompt), *shown(state, shortened_talk(state, past)), *hint],
        tools=state.tools,
        tool_choice=last if wanted.last else choice_of(state),
        generation=agent.generation,
        tenant=task.tenant,
        agent=agent.name,
        session=task.lane,
    )
    return adjusted(state, call_key(state, wanted.step), asked) if state.hooked else asked


class Thinker:
    """Asks the model gateway."""

    def __init__(self, bus: Bus, *, patience_s: float) -> None:
        self._bus = bus
        self._patience_s = patience_s

    async def think(
        self, state: State, past: list[Message], wanted: AskModel, teller: Teller, *, sent: list[Message] | None = None
    ) -> model.Chatted:
        """Return the model's reply to step `wanted`; its tokens are told if the task asks for them.

        It is asked `sent` where hooks have put that in the place of the conversation.

        Raises:
            NatscopeError: the gateway has given up, or nobody answered.
        """
        asked = question(state, past, wanted)
        if sent is not None:
            asked = asked.model_copy(update={"messages": sent})
        task = state.started.task
        id = f"{wanted.step}.start"
        await teller.tell(event.ModelCallStart(id=id, task_id=task.task_id, step=wanted.step, model=asked.model))
        return await self.ask(state, asked, wanted.step, teller)

    async def ask(self, state: State, asked: model.Chat, step: int, teller: Teller) -> model.Chatted:
        """Return the model's reply to `asked`; its tokens are told as those of `step` if the task asks for them.

        Raises:
            NatscopeError: the gateway has given up, or nobody answered.
        """
        task = state.started.task
        if not task.stream or withholds(state):
            return await self._ask(state, asked)
        listener = _Listener(teller, task.task_id, step)
        inbox = self._bus.nc.new_inbox()
        subscription = await self._bus.nc.subscribe(inbox, cb=listener.hear)
        try:
            return await self._ask(state, asked.model_copy(update={"deltas_to": inbox}))
        finally:
            await subscription.unsubscribe()

    async def compress(self, state: State, past: list[Message]) -> Compressed:
        """Return a summary of what was said before (see `compressing.compress`)."""
        return await compress(self._bus, state, past, patience_s=self._patience_s)

    async def forget(self, state: State, step: int) -> None:
        """Say that the reply to `step` is no longer wanted."""
        request = request_id(state, step)
        await self._bus.tell(model.CANCELLED, model.Cancelled(request_id=request), request)

    async def _ask(self, state: State, asked: model.Chat) -> model.Chatted:
        deadline = min(model.CHAT.deadline_s, state.agent.limits.deadline.total_seconds())
        return await insist(self._bus, model.CHAT, asked, deadline_s=deadline, patience_s=self._patience_s)


class _Listener:
    """Turns a gateway's deltas into a task's events."""

    def __init__(self, teller: Teller, task: str, step: int) -> None:
        self._teller = teller
        self._where = {"task_id": task, "step": step}
        self._attempt = 1
        self._next = 0
        self._begun: set[int] = set()

    async def hear(self, message: Msg) -> None:
        delta = read(model.Delta, message.data, where="delta")
        if delta.kind == "reset" or delta.attempt != self._attempt or delta.sequence < self._next:
            self._attempt, self._begun = delta.attempt, set()
            await self._teller.tell_delta(event.ModelReset.model_validate(self._where))
        self._next = delta.sequence + 1
        if delta.kind in ("reset", "end"):
            return
        where = self._where | {"block": delta.block}
        if delta.block not in self._begun:
            self._begun.add(delta.block)
            await self._teller.tell_delta(_started(delta, where))
        if delta.text:
            await self._teller.tell_delta(_PIECES[delta.kind].model_validate(where | {"delta": delta.text}))


_PIECES: dict[str, type[event.TextDelta | event.ThinkingDelta | event.ToolCallDelta]] = {
    "text": event.TextDelta,
    "thinking": event.ThinkingDelta,
    "tool_use": event.ToolCallDelta,
}


def _started(
    delta: model.Delta, where: dict[str, object]
) -> event.TextStart | event.ThinkingStart | event.ToolCallStart:
    if delta.kind == "tool_use":
        return event.ToolCallStart.model_validate(where | {"tool": delta.tool or ""})
    kind = event.TextStart if delta.kind == "text" else event.ThinkingStart
    return kind.model_validate(where)
