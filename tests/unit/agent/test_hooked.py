"""What a run is once hooks have decided something: the same from the same journal."""

from natscope.contracts.hook import Answer, Point
from natscope.contracts.model import Usage
from natscope.contracts.run import Hooked, JournalEntry, Judged
from services.agent.actions import AskModel, CallTools, Finish, Park
from services.agent.loop import after, decide, replay
from services.agent.state import request_id
from services.agent.thinking import question
from tests.unit.agent.test_loop import ADD, AT, replied, returned, started, use

FINISH = ADD.model_copy(update={"name": "finish"})


def hooked(point: Point, key: str, **answer: object) -> Hooked:
    given = Answer.model_validate({"do": "change"} | answer)
    return Hooked(at=AT, point=point, key=key, hooks=["h"], answer=given)


def objected(step: int) -> Hooked:
    return hooked("after_reply", str(step), do="again", reason="no")


class TestAChangedQuestion:
    def test_has_an_id_of_its_own_until_it_is_answered(self) -> None:
        state = replay([started()])
        assert request_id(state, 1) == "t-m1"
        state = after(state, hooked("before_reasoning", "1.0", hint="Now."))
        assert request_id(state, 1) == "t-m1-k1"
        state = after(state, replied(1, text="Well."))
        assert (request_id(state, 2), state.hooked) == ("t-m2", {})

    def test_is_the_same_from_the_same_journal(self) -> None:
        entries = [
            started(),
            hooked("before_reply", "0", content="Something else."),
            hooked("system_prompt", "a", prompt="Be brief."),
            hooked("before_reasoning", "1.0", hint="It is late."),
            hooked("before_model_call", "1.0.0", model="small", tools=[], tool_choice="none"),
        ]
        asked = question(replay(entries), [], AskModel(1))
        assert [message.text for message in asked.messages] == ["Be brief.", "Something else.", "It is late."]
        assert (asked.model, asked.tools, asked.tool_choice) == ("small", [], "none")
        assert asked == question(replay(entries), [], AskModel(1))

    def test_keeps_its_prompt_and_no_hint_in_the_steps_after(self) -> None:
        entries = [
            started(),
            hooked("system_prompt", "a", prompt="Be brief."),
            hooked("before_reasoning", "1.0", hint="It is late."),
            replied(1, text="Well."),
        ]
        asked = question(replay(entries), [], AskModel(2))
        assert [message.text for message in asked.messages] == ["Be brief.", "go", "Well."]


class TestAPermission:
    def test_is_what_hooks_make_of_it(self) -> None:
        entries: list[JournalEntry] = [started(), replied(1, use())]
        for verdict, kind in (("allow", CallTools), ("ask", Park), ("deny", CallTools)):
            wanted = decide(replay([*entries, hooked("permission", "t-t1-0", verdict=verdict)]))
            assert isinstance(wanted, kind)


class TestAnAnswer:
    def test_is_the_changed_one(self) -> None:
        state = replay([started(), replied(1, text="Well."), hooked("after_reply", "1", content="Better.")])
        finish = decide(state)
        assert isinstance(finish, Finish)
        assert (finish.message.text, state.messages[-1].text) == ("Better.", "Better.")

    def test_that_is_objected_to_is_written_twice_more_at_most(self) -> None:
        entries: list[JournalEntry] = [started()]
        for step in (1, 2):
            entries += [replied(step, text=f"Try {step}."), objected(step)]
            assert decide(replay(entries)) == AskModel(step + 1)
        entries += [replied(3, text="Try 3."), objected(3)]
        finish, state = decide(replay(entries)), replay(entries)
        assert isinstance(finish, Finish)
        assert (finish.limit, finish.message.text) == ("objection", "Try 3.")
        assert [message.text for message in state.messages] == ["go", "Try 3."]

    def test_is_not_asked_for_again_once_that_has_cost_twice_the_first(self) -> None:
        dear = {"usage": Usage(input_tokens=200)}
        first = [started(), replied(1, text="One.", usage=Usage(input_tokens=100)), objected(1)]
        finish = decide(replay([*first, replied(2, text="Two.", **dear), objected(2)]))
        assert isinstance(finish, Finish)
        assert (finish.limit, finish.message.text) == ("objection", "Two.")

    def test_as_a_value_is_owed_again(self) -> None:
        begun = started()
        spec = type(begun.agent).model_validate(begun.agent.model_dump() | {"output": {"json_schema": {}}})
        ends = use(id="f", n=1).model_copy(update={"name": "finish"})
        begun = begun.model_copy(update={"agent": spec, "tools": [*begun.tools, FINISH]})
        entries = [begun, replied(1, ends), returned(1, 0, ends), objected(1)]
        state = replay(entries)
        assert (decide(state), state.output) == (AskModel(2), None)
        state = after(state, replied(2, use(id="g", n=2).model_copy(update={"name": "finish"})))
        assert [message.text for message in state.messages if message.role == "user"] == ["go"]
        assert len(state.messages) == 2


class TestAVerdict:
    def test_counts_what_it_has_cost_into_what_a_try_costs(self) -> None:
        usage = Usage(input_tokens=100)
        told = {"at": AT, "critic": 0, "by": "m", "acceptable": False, "objections": ["no"], "usage": usage}
        entries: list[JournalEntry] = [started()]
        for step in (1, 2):
            entries += [replied(step, text="Well.", usage=usage), Judged.model_validate(told | {"step": step})]
            assert decide(replay(entries)) == AskModel(step + 1)
        state = replay([*entries, replied(3, text="Well.", usage=usage), Judged.model_validate(told | {"step": 3})])
        assert isinstance(decide(state), Finish)
        assert (state.usage.input_tokens, state.fault and state.fault.more_tokens) == (600, 400)

    def test_that_accepts_changes_nothing_but_the_bill(self) -> None:
        accepts = Judged(at=AT, step=1, critic=0, by="m", acceptable=True, usage=Usage(input_tokens=9))
        state = replay([started(), replied(1, text="Well."), accepts])
        assert isinstance(decide(state), Finish)
        assert (state.fault, state.judged, state.usage.input_tokens) == (None, {0}, 10)
