"""What a run does in other rooms, between the hooks that its agent has; without hooks, at once."""

from dataclasses import dataclass

from natscope.bus import Bus
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.message import Message
from natscope.contracts.model import Chatted
from natscope.contracts.run import Compressed
from natscope.contracts.tool import Called
from services.agent.acting import Actor
from services.agent.actions import AskModel, Finish
from services.agent.custom.loading import Functions
from services.agent.hooks.asking import Hooking
from services.agent.hooks.guarding import guarded, permitted
from services.agent.hooks.questioning import (
    began,
    had_a_word,
    opened_summary,
    place_of,
    reviewed,
    reviewed_summary,
    shaped,
)
from services.agent.hooks.standing import Standing
from services.agent.judging import Judges, judged_event
from services.agent.recording import Record
from services.agent.thinking import Thinker, question


@dataclass
class Hands:
    """What a run works with."""

    bus: Bus
    thinker: Thinker
    actor: Actor
    functions: Functions
    hooking: Hooking
    judges: Judges
    attempts: int


class Deeds:
    """The deeds of one run."""

    def __init__(self, hands: Hands, record: Record, past: list[Message]) -> None:
        self._hands = hands
        self._record = record
        self._past = past
        self.hooks = Standing(hands.hooking, record)
        """What stands around them."""

    @property
    def _hooked(self) -> bool:
        return bool(self._record.state.agent.hooks)

    @property
    def are_kept_first(self) -> bool:
        """Whether a reply must be written before anything comes of it: hooks may make another one of it."""
        return self._hooked and (self.hooks.stands("after_model_call") or self.hooks.stands("after_reasoning"))

    async def look_back(self) -> None:
        """Find out what whoever held the run before had begun."""
        if self._hooked:
            await self.hooks.look_back()

    async def prepare(self) -> None:
        """Have the hooks judge the task, and the calls of the latest reply, before anything becomes of them."""
        if self._hooked:
            await began(self.hooks)
            await permitted(self.hooks)

    async def think(self, wanted: AskModel) -> Chatted:
        """Return what the model says to step `wanted` (see `Thinker.think`)."""
        thinker, record = self._hands.thinker, self._record
        if not self._hooked:
            return await thinker.think(record.state, self._past, wanted, record.teller)
        place = place_of(record.state, wanted.step)
        given = await shaped(self.hooks, place, lambda: question(record.state, self._past, wanted))
        if given is not None:
            return given
        sent = await self.hooks.rewritten(place.call, question(record.state, self._past, wanted).messages)
        reply = await thinker.think(record.state, self._past, wanted, record.teller, sent=sent)
        return await reviewed(self.hooks, place, reply)

    async def summarise(self) -> Compressed:
        """Return a summary of what was said before (see `Thinker.compress`)."""
        thinker = self._hands.thinker
        if not self._hooked:
            return await thinker.compress(self._record.state, self._past)
        await opened_summary(self.hooks, self._past)
        return await reviewed_summary(self.hooks, await thinker.compress(self._record.state, self._past))

    async def act(self, index: int, call: ToolUseBlock) -> Called:
        """Return the outcome of a call (see `Actor.act`)."""
        actor, record = self._hands.actor, self._record
        if not self._hooked:
            return await actor.act(record.state, index, call, record.teller)
        return await guarded(self.hooks, actor, record.state, index, call, record.teller)

    @property
    def may_object(self) -> bool:
        """Whether anybody is asked about what is to be the run's answer."""
        return self._hooked or bool(self._record.state.agent.critics)

    async def object_to(self, wanted: Finish) -> bool:
        """Have what is to be the run's answer judged, and return whether there is something to it: go on from that."""
        return (self._hooked and await had_a_word(self.hooks, wanted)) or await self._criticised(wanted)

    async def _criticised(self, wanted: Finish) -> bool:
        """Have the critics judge an answer that could still be mended, up to the first that objects."""
        for place in range(len(self._record.state.agent.critics)):
            state = self._record.state
            if wanted.limit is not None or state.limit is not None or state.fault is not None:
                break
            if place not in state.judged:
                entry = await self._hands.judges.judge(state, place, wanted)
                await self._record.written(entry)
                await self._record.teller.tell(judged_event(self._record.task_id, entry))
        return self._record.state.fault is not None and not wanted.limit
