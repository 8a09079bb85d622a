"""What hooks have decided of a function's steps: the same from the same journal, and no longer than it is needed."""

from pydantic import JsonValue

from natscope.agents import Step
from natscope.contracts.blocks import plain
from natscope.contracts.hook import Answer, Point
from natscope.contracts.run import Hooked, JournalEntry, Judged, Performed
from services.agent.custom.asking import chat_of, request_of
from services.agent.custom.branches import At
from services.agent.custom.folding import limit_of
from services.agent.loop import replay
from tests.unit.agent.test_loop import AT, started

TALK: JsonValue = [{"name": "u", "role": "user", "content": [{"type": "text", "text": "Go."}]}]
STEP = At("0-1-0", Step("model", "", {"messages": TALK, "system": None, "model": None, "tools": [], "output": None}))


def hooked(point: Point, **answer: object) -> Hooked:
    given = Answer.model_validate({"do": "change"} | answer)
    return Hooked(at=AT, point=point, key="c0-1-0", hooks=["h"], answer=given)


SHAPED: list[JournalEntry] = [
    started(),
    hooked("system_prompt", prompt="Be brief."),
    hooked("before_reasoning", hint="It is late."),
    hooked("before_model_call", model="small"),
]


class TestAQuestionOfAFunction:
    def test_is_put_as_hooks_have_shaped_it_under_an_id_of_its_own(self) -> None:
        asked = chat_of(replay(SHAPED), STEP)
        assert [message.text for message in asked.messages] == ["Be brief.", "Go.", "It is late."]
        assert (asked.model, asked.request_id) == ("small", "t-c0-1-0-k3")

    def test_keeps_its_id_when_hooks_change_what_came_of_it(self) -> None:
        state = replay([*SHAPED, hooked("after_model_call", content=plain("Well."))])
        assert request_of(state, STEP) == "t-c0-1-0-k3"

    def test_leaves_nothing_of_them_once_it_is_answered(self) -> None:
        other = At("0-2-0", STEP.step)
        state = replay([*SHAPED, Performed(at=AT, position="0-1-0", kind="model", name="", digest="")])
        assert (state.hooked, request_of(state, other)) == ({}, "t-c0-2-0")


class TestAnObjectionToAFunction:
    def test_is_the_limit_of_its_outcome(self) -> None:
        judged = Judged(at=AT, step=1, critic=0, by="m", acceptable=False, objections=["no"])
        assert limit_of(replay([started(), judged])) == "objection"
        assert limit_of(replay([started(), judged.model_copy(update={"acceptable": True})])) is None
