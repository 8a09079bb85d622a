"""Carrying out what a function asks of other rooms, and telling it."""

from dataclasses import replace

from natscope.contracts import event, model
from natscope.contracts.approval import Waiting
from natscope.contracts.blocks import TextBlock
from natscope.contracts.errors import NatscopeError, RequestConflict
from natscope.contracts.run import Performed
from services.agent import children
from services.agent.custom import asking
from services.agent.custom.branches import At
from services.agent.custom.replaying import diverged, told
from services.agent.doing import Hands
from services.agent.hooks.guarding import guarded
from services.agent.hooks.questioning import reviewed, shaped
from services.agent.hooks.standing import Standing
from services.agent.recording import Record
from services.agent.state import State


class Effects:
    """The models, tools and agents of one run. What they are asked has the same id each time, so it happens once."""

    def __init__(self, hands: Hands, record: Record, hooks: Standing) -> None:
        self._hands = hands
        self._record = record
        self._hooks = hooks
        self._teller = record.teller
        self._numbers: dict[str, int] = {}

    async def of(self, at: At) -> Performed:
        """Ask a model, or have a tool act, and return what came of it.

        Raises:
            RunDiverged: whoever held the run before has asked the model something else here.
        """
        return await (self._ask_model(at) if at.step.kind == "model" else self._call_tool(at))

    async def forget(self, at: At) -> None:
        """Say that what was asked is no longer wanted."""
        state = self._at(at)
        if at.step.kind == "tool":
            await self._hands.actor.forget(state, 0)
            return
        request = asking.request_of(state, at)
        await self._hands.bus.tell(model.CANCELLED, model.Cancelled(request_id=request), request)

    async def begin(self, at: At, waiting: Waiting) -> Performed | None:
        """Submit the task that another agent is asked for; what the function is told if it cannot be."""
        state = self._at(at)
        try:
            agent = await children.begin(self._hands.bus, state, waiting)
        except NatscopeError as error:
            return asking.failed(at, error)
        where = {"task_id": self._record.task_id, "step": state.step, "call_id": at.position}
        id, child = f"c{at.position}.delegated", waiting.task
        await self._teller.tell(event.Delegated.model_validate(where | {"id": id, "agent": agent, "child": child}))
        return None

    def _at(self, at: At) -> State:
        number = self._numbers.setdefault(at.position, len(self._numbers) + 1)
        return replace(self._record.state, place=at.position, step=number)

    async def _ask_model(self, at: At) -> Performed:
        state, task = self._at(at), self._record.task_id
        where = {"task_id": task, "step": state.step, "model": asking.chat_of(state, at).model}
        await self._teller.tell(event.ModelCallStart.model_validate(where | {"id": f"c{at.position}.start"}))
        try:
            reply = await self._reply_to(at)
        except RequestConflict as error:
            raise diverged(at.position, "another question to the model", told(at.step)) from error
        except NatscopeError as error:
            return asking.failed(at, error)
        for place, block in enumerate(reply.message.content):
            if isinstance(block, TextBlock):
                id = f"c{at.position}.{place}.end"
                end = event.TextEnd(id=id, task_id=task, step=state.step, block=place, text=block.text)
                await self._teller.tell(end)
        more = {"id": f"c{at.position}.end", "finish_reason": reply.finish_reason, "usage": reply.usage}
        await self._teller.tell(event.ModelCallEnd.model_validate(where | {"model": reply.model} | more))
        return asking.replied(at, reply)

    async def _reply_to(self, at: At) -> model.Chatted:
        """Return what a model says between the hooks around it."""
        if not self._record.state.agent.hooks:
            return await self._asked(at, asking.chat_of(self._at(at), at))
        place = asking.place_of(self._at(at), at)
        reply = await shaped(self._hooks, place, lambda: asking.chat_of(self._at(at), at))
        if reply is not None:
            return reply
        chat = asking.chat_of(self._at(at), at)
        if (sent := await self._hooks.rewritten(place.call, chat.messages)) is not None:
            chat = chat.model_copy(update={"messages": sent})
        return await reviewed(self._hooks, place, await self._asked(at, chat))

    async def _asked(self, at: At, chat: model.Chat) -> model.Chatted:
        state = self._at(at)
        return await self._hands.thinker.ask(state, chat, state.step, self._teller)

    async def _call_tool(self, at: At) -> Performed:
        state, call, task = self._at(at), asking.call_of(at), self._record.task_id
        end = event.ToolCallEnd(id=f"c{at.position}.call", task_id=task, step=state.step, block=0, call=call)
        await self._teller.tell(end)
        if state.agent.hooks:
            called = await guarded(self._hooks, self._hands.actor, state, 0, call, self._teller)
        else:
            called = await self._hands.actor.act(state, 0, call, self._teller)
        where = {"task_id": task, "step": state.step, "id": f"c{at.position}.result"}
        more = {"result": called.result, "backend": called.backend}
        await self._teller.tell(event.ToolResult.model_validate(where | more))
        return asking.returned(at, called.result)
