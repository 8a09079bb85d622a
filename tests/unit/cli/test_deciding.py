"""`natscope decide`: what is typed as a decision, and what of it is refused before anybody is asked."""

import pytest

from natscope.cli.deciding import Verdict, decision_of, why_not
from natscope.contracts.approval import Rule
from natscope.contracts.blocks import ToolUseBlock, plain
from natscope.contracts.errors import BodyInvalid


class TestADecision:
    @pytest.mark.parametrize("verdict", ["answer", "edit"])
    def test_says_its_text(self, verdict: Verdict) -> None:
        decision = decision_of("h0", verdict, text="It is 4.", arguments=None, tool=None)
        assert (decision.verdict, decision.output, decision.reason) == (verdict, plain("It is 4."), "")

    @pytest.mark.parametrize("verdict", ["abort", "deny", "retry"])
    def test_has_its_text_as_the_reason(self, verdict: Verdict) -> None:
        decision = decision_of("h0", verdict, text="never mind", arguments=None, tool=None)
        assert (decision.verdict, decision.output, decision.reason) == (verdict, [], "never mind")

    def test_may_be_a_call_that_the_model_did_not_make(self) -> None:
        (block,) = decision_of("h0", "answer", text="", arguments='{"a": 2}', tool="add").output
        assert isinstance(block, ToolUseBlock)
        assert (block.name, block.input) == ("add", {"a": 2})

    def test_keeps_the_arguments_of_an_approved_call(self) -> None:
        assert decision_of("c", "approve", text="", arguments='{"a": 2}', tool=None).arguments == {"a": 2}

    def test_may_bring_rules_for_the_rest_of_the_run(self) -> None:
        rules = ("allow execute_shell git log *", "deny  write_*")
        assert decision_of("c", "approve", text="", arguments=None, tool=None, rules=rules).rules == [
            Rule(behaviour="allow", tool="execute_shell", pattern="git log *"),
            Rule(behaviour="deny", tool="write_*"),
        ]


class TestWhatIsRefused:
    @pytest.mark.parametrize("rule", ["", " ", "allow", "permit add"])
    def test_is_a_rule_that_is_none(self, rule: str) -> None:
        with pytest.raises(BodyInvalid, match="--rule"):
            decision_of("c", "approve", text="", arguments=None, tool=None, rules=[rule])

    @pytest.mark.parametrize(
        ("verdict", "text", "arguments", "tool", "wrong"),
        [
            ("answer", "", None, None, "answer needs its --text"),
            ("edit", "", None, None, "edit needs its --text"),
            ("retry", "", None, "add", "--tool goes with answer"),
            ("deny", "", "{}", None, "--arguments goes with approve, or with --tool"),
            ("answer", "4", None, None, None),
            ("answer", "", "{}", "add", None),
            ("approve", "", "{}", None, None),
            ("retry", "", None, None, None),
        ],
    )
    def test_is_what_would_say_nothing_or_too_much(
        self, verdict: Verdict, text: str, arguments: str | None, tool: str | None, wrong: str | None
    ) -> None:
        assert why_not(verdict, text=text, arguments=arguments, tool=tool) == wrong
