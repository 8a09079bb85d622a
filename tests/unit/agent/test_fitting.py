"""Which answers of hooks fit which point, and what several come to."""

import pytest

from natscope.contracts.blocks import plain
from natscope.contracts.errors import BodyInvalid
from natscope.contracts.hook import Answer, Asked, Point
from natscope.contracts.message import Message
from services.agent.hooks.fitting import both, check, with_changes


class TestAnAnswer:
    @pytest.mark.parametrize(
        ("point", "answer"),
        [
            ("permission", Answer()),
            ("after_acting", Answer(do="refuse", reason="no")),
            ("before_reply", Answer(do="skip", content=plain("Here."))),
            ("after_reply", Answer(do="again", reason="too short")),
            ("permission", Answer(do="change", verdict="ask")),
            ("before_acting", Answer(do="change", arguments={})),
            ("before_model_call", Answer(do="change", tools=[], tool_choice="none")),
            ("before_model_call", Answer(do="change", messages=[Message(name="u", role="user", content=plain("Go."))])),
        ],
    )
    def test_fits_where_it_can_be_done(self, point: Point, answer: Answer) -> None:
        check(point, answer)

    @pytest.mark.parametrize(
        ("point", "answer", "said"),
        [
            ("permission", Answer(do="change"), "needs one of verdict"),
            ("permission", Answer(do="change", prompt="x"), "`prompt` is nothing that"),
            ("permission", Answer(do="skip"), "nothing that can be done at `permission`"),
            ("before_reply", Answer(do="skip"), "needs one of content"),
            ("before_reply", Answer(do="again", reason="x"), "nothing that can be done"),
            ("after_reply", Answer(do="again"), "needs a `reason`"),
            ("before_acting", Answer(do="refuse", arguments={}), "`arguments` is nothing that"),
            ("before_acting", Answer(verdict="deny"), "`verdict` is nothing that `do: go_on`"),
        ],
    )
    def test_does_not_fit_anywhere_else_and_the_failure_says_why(self, point: Point, answer: Answer, said: str) -> None:
        with pytest.raises(BodyInvalid, match=said):
            check(point, answer)


class TestSeveralAnswers:
    def test_add_up_and_the_later_one_counts(self) -> None:
        first = Answer(do="change", model="small", tool_choice="none", reason="dear")
        second = Answer(do="change", model="large")
        assert both(first, second) == Answer(do="change", model="large", tool_choice="none", reason="")

    def test_end_with_one_that_is_no_change(self) -> None:
        refused = Answer(do="refuse", reason="no")
        assert both(Answer(do="change", hint="x"), refused) == refused

    def test_show_the_next_hook_what_was_changed(self) -> None:
        said = Message(name="a", role="assistant", content=plain("one"))
        asked = Asked(point="after_reply", task="t", agent="a", session="s", step=1, message=said)
        seen = with_changes(asked, Answer(do="change", content=plain("two")))
        assert seen.message is not None
        assert (seen.message.text, seen.message.id) == ("two", said.id)
