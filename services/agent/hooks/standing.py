"""The hooks of one run: asked in their order, what they decide is written down and told, and not asked for again."""

import asyncio
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase

from natscope.bus.ledger import latest
from natscope.bus.streams import CALLS, REPLIES
from natscope.contracts import event
from natscope.contracts.errors import BusUnavailable, Failure, HookRefused, NatscopeError
from natscope.contracts.hook import Answer, Asked, Hook, Point
from natscope.contracts.message import Message
from natscope.contracts.run import Hooked
from services.agent.compressing import summary_id
from services.agent.hooks.asking import Hooking
from services.agent.hooks.fitting import both, with_changes
from services.agent.hooks.folding import of_question
from services.agent.hooks.rewriting import kept, rewritten
from services.agent.recording import Record
from services.agent.state import State, call_id, open_calls_of, request_id

PATIENCE_S = 60.0
"""How long a run that is taken over waits for the ledgers."""
RETRY_S = 0.25
_ENDS = ("skip", "refuse", "again")


class Standing:
    """What stands around one run. What was settled before another process took it over stays settled."""

    def __init__(self, hooking: Hooking, record: Record) -> None:
        self._hooking = hooking
        self._record = record
        self._silent: set[tuple[Point, str]] = set()
        """Where no hook had anything to say."""
        self._begun: set[str] = set()
        """What whoever held the run before had begun, by the ids of calls and questions."""

    @property
    def state(self) -> State:
        """The run as it is by now."""
        return self._record.state

    def stands(self, point: Point) -> bool:
        """Return whether a hook stands there."""
        return any(point in hook.at for hook in self.state.agent.hooks)

    async def look_back(self) -> None:
        """Find out what whoever held the run before had begun: hooks are behind that."""
        state = self.state
        ids = [(CALLS, call_id(state, index)) for index, _ in open_calls_of(state)]
        ids += [(REPLIES, request_id(state, state.step + 1)), (REPLIES, summary_id(state))]
        for bucket, id in ids:
            await self.look_for(bucket, id)

    async def look_for(self, bucket: str, id: str) -> None:
        """Find out whether whoever held the run before had begun the call or question of that id."""
        if await self._is_known(bucket, id):
            self._begun.add(id)

    async def _is_known(self, bucket: str, id: str) -> bool:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await latest(self._hooking.bus, f"KV_{bucket}", f"$KV.{bucket}.{id}") is not None
            except BusUnavailable:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(RETRY_S)

    def has_begun(self, id: str) -> bool:
        """Return whether a call or a question had begun before this process took the run over."""
        return id in self._begun

    async def decided(
        self, point: Point, key: str, begun: str = "", *, keep: bool = False, **more: object
    ) -> Answer | None:
        """Return what the hooks of a point decide of what it is about; None: it goes on as it is.

        `more` is what they are asked about. If `begun` had begun before, only what is written of it counts. Silence is
        written down, too, where `keep` says that no ledger tells what had begun.

        Raises:
            RunFenced: another process holds the run.
        """
        answer = of_question(self.state, point, key)
        if answer is not None or not self.stands(point) or (point, key) in self._silent or self.has_begun(begun):
            return answer
        asked = self._asked(point, more)
        by: list[str] = []
        for hook in self._in_order(asked):
            given = await self._answer(hook, with_changes(asked, answer), key)
            if given.do == "go_on":
                continue
            by.append(hook.hook)
            answer = both(answer, given)
            if given.do in _ENDS:
                break
        if answer is None and not keep:
            self._silent.add((point, key))
            return None
        answer = answer or Answer()
        entry = Hooked(point=point, key=key, hooks=by, answer=answer)
        await self._record.written(await kept(self._hooking.bus.blobs, asked.messages, entry))
        return answer

    async def rewritten(self, key: str, messages: list[Message]) -> list[Message] | None:
        """Return what hooks have put in the place of the messages of the question that they call `key`.

        Raises:
            NatscopeError: it cannot be found (see `rewriting`).
        """
        entry = self.state.hooked.get(("before_model_call", key))
        return await rewritten(self._hooking.bus.blobs, messages, entry)

    async def asked(
        self, point: Point, key: str, begun: str = "", *, keep: bool = False, **more: object
    ) -> Answer | None:
        """As `decided`, where a refusal ends the run, or is raised in its function.

        Raises:
            HookRefused: a hook has refused it.
        """
        answer = await self.decided(point, key, begun, keep=keep, **more)
        if answer is not None and answer.do == "refuse":
            raise HookRefused(f"refused at `{point}`: {answer.reason or 'no reason given'}", details={"point": point})
        return answer

    def _asked(self, point: Point, more: dict[str, object]) -> Asked:
        state = self.state
        run = {"task": state.started.task.task_id, "agent": state.agent.name, "session": state.started.task.lane}
        spent = {"step": state.step, "usage": state.usage, "cost_usd": state.cost_usd}
        return Asked.model_validate({"point": point, **run, **spent, **more})

    def _in_order(self, asked: Asked) -> Iterator[Hook]:
        hooks = self.state.agent.hooks
        for hook in reversed(hooks) if asked.point.startswith("after_") else hooks:
            call = asked.call
            fits = call is None or not hook.tools or any(fnmatchcase(call.name, each) for each in hook.tools)
            if asked.point in hook.at and fits:
                yield hook

    async def _answer(self, hook: Hook, asked: Asked, key: str) -> Answer:
        try:
            answer = await self._hooking.ask(hook, asked)
        except NatscopeError as error:
            refuses = hook.on_failure == "refuse"
            reason = f"the hook {hook.hook!r} could not be asked: {error.message}"
            answer = Answer(do="refuse", reason=reason) if refuses else Answer()
            await self._tell(hook, asked, key, answer, Failure.of(error))
            return answer
        if answer.do != "go_on":
            await self._tell(hook, asked, key, answer, None)
        return answer

    async def _tell(self, hook: Hook, asked: Asked, key: str, answer: Answer, failure: Failure | None) -> None:
        place = self.state.agent.hooks.index(hook)
        told = event.Hooked(
            id=f"hook.{asked.point}.{key}.{place}",
            task_id=asked.task,
            step=asked.step,
            point=asked.point,
            hook=hook.hook,
            do=answer.do,
            reason=answer.reason,
            failure=failure,
        )
        await self._record.teller.tell(told)
