"""Critics: an answer is judged before it is one, by the run's own model, another model or another agent."""

import hashlib
import json

from pydantic import JsonValue

from natscope.bus import Bus
from natscope.contracts import event, model
from natscope.contracts.agent import Critic
from natscope.contracts.blocks import plain
from natscope.contracts.errors import BusUnavailable, Failure, NatscopeError
from natscope.contracts.message import Message, Role
from natscope.contracts.run import Judged
from services.agent.actions import Finish
from services.agent.asking import insist
from services.agent.compressing import transcript
from services.agent.custom.retelling import talk_of
from services.agent.registry import Agents
from services.agent.state import State

_PROMPT = "You judge what an assistant is about to answer. You are fair, and exact: you object to what matters only."
_ASKED = """\
Nobody has seen this answer yet. Judge it by this: {criteria}
If it is acceptable, say so. If not, object: say what is wrong with it and what would be right."""
_SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "acceptable": {"type": "boolean"},
        "objections": {"type": "array", "items": {"type": "string"}, "description": "Empty if it is acceptable."},
    },
    "required": ["acceptable", "objections"],
    "additionalProperties": False,
}
_OUTPUT = model.Output(name="verdict", json_schema=_SCHEMA)


class Judges:
    """Asks critics, through the model gateway."""

    def __init__(self, bus: Bus, agents: Agents, *, patience_s: float) -> None:
        self._bus = bus
        self._agents = agents
        self._patience_s = patience_s

    async def judge(self, state: State, place: int, wanted: Finish) -> Judged:
        """Return the verdict of the agent's critic at `place`; asked again after a crash, it is paid once.

        A critic that cannot be asked, or gives no verdict, has no objections; the entry says why.

        Raises:
            BusUnavailable: we cannot ask anybody.
        """
        critic = state.agent.critics[place]
        by = critic.agent or critic.model or state.agent.name
        told = {"step": state.step, "critic": place, "by": by}
        try:
            asked = await self._question(state, critic, place, wanted)
            chatted = await insist(
                self._bus, model.CHAT, asked, deadline_s=model.CHAT.deadline_s, patience_s=self._patience_s
            )
        except BusUnavailable:
            raise
        except NatscopeError as error:
            return Judged.model_validate(told | {"acceptable": True, "failure": Failure.of(error)})
        spent = {"usage": chatted.usage, "cost_usd": chatted.cost_usd, "model": chatted.model}
        return Judged.model_validate(told | spent | _verdict(chatted.output))

    async def _question(self, state: State, critic: Critic, place: int, wanted: Finish) -> model.Chat:
        task, alias, prompt = state.started.task, critic.model or state.agent.model, _PROMPT
        if critic.agent is not None:
            spec = await self._agents.get(critic.agent)
            alias, prompt = critic.model or spec.model, spec.system_prompt
        answer = wanted.message.text if state.output is None else json.dumps(state.output, ensure_ascii=False)
        talk = [message for message in talk_of(state) if message.id != wanted.message.id]
        text = f"<conversation>\n{transcript(state, talk)}\n</conversation>\n\n<answer>\n{answer}\n</answer>"
        digest = hashlib.sha256(f"{alias}\n{prompt}".encode()).hexdigest()[:8]
        id = f"{task.task_id}-j{state.step}-{place}-{digest}"

        def said(part: str, role: Role, words: str) -> Message:
            at = state.started.at
            return Message(id=f"{id}-{part}", name=part, role=role, content=plain(words), created_at=at)

        asked = _ASKED.format(criteria=critic.criteria)
        return model.Chat(
            request_id=id,
            model=alias,
            messages=[said("system", "system", prompt), said("user", "user", f"{text}\n\n{asked}")],
            output=_OUTPUT,
            tenant=task.tenant,
            agent=state.agent.name,
            session=task.lane,
        )


def judged_event(task_id: str, entry: Judged) -> event.Judged:
    """Return what is told of a verdict."""
    return event.Judged(
        id=f"{entry.step}.{entry.critic}.judged",
        task_id=task_id,
        step=entry.step,
        by=entry.by,
        acceptable=entry.acceptable,
        objections=entry.objections,
        failure=entry.failure,
    )


def _verdict(output: JsonValue) -> dict[str, object]:
    """Return what a critic has said; one that objects without a word has none."""
    said = output if isinstance(output, dict) else {}
    listed = said.get("objections")
    objections = [str(each).strip() for each in listed if str(each).strip()] if isinstance(listed, list) else []
    acceptable = said.get("acceptable") is not False or not objections
    return {"acceptable": acceptable, "objections": objections}
