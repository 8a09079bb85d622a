"""What holds for every text: there is a verdict, and no rule that denies ever allows more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natscope.contracts.approval import Rule
from services.agent.permissions.grammar import LONGEST_BYTES
from services.agent.permissions.reading import MOST_STEPS
from services.agent.permissions.shell_calls import shell_call
from services.agent.permissions.verdict import STRICTNESS
from tests.unit.agent.permissions.calling import MODES, Mode, judged, rule, shell
from tests.unit.agent.permissions.test_commands import ALL

PIECES = (
    "ls", "rm", "git", "status", "-rf", "/", "x", "$X", "$(", ")", "`", "'", '"', "\\", "\n", " ", ";", "&",
    "&&", "|", "||", "(", "{ ", ";}", "<", ">", ">>", "<<E\n", "\nE\n", "#", "if ", "; then ", "; fi",
    "for i in ", "; do ", "; done", "case ", "esac", "f() ", "=", "A=b ", "[[ ", " ]]", "$((", "))", "${", "}",
    "*", "?", "~", "eval ", "bash -c ", "env ", "xargs ", "find . -exec ", " \\;", "python -c ", "awk ", "sed ",
    "trap ", "sudo ", "time ", "\0", "\r", "\u00a0", "\ud800",
)  # fmt: skip
programs = st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=200)
modes = st.sampled_from(MODES)
patterns = st.sampled_from(
    ["", "git:*", "git status", "rm:*", "ls", "*", "* x", "\\*", "x", "bash -c:*", "'", "**"]
) | st.text(max_size=12)
rules = st.builds(
    Rule,
    tool=st.sampled_from(["execute_shell", "*", "write_file"]),
    pattern=patterns,
    behaviour=st.sampled_from(["allow", "ask", "deny"]),
)


class TestEveryText:
    @settings(max_examples=400)
    @given(programs, st.lists(rules, max_size=4), modes)
    def test_has_a_verdict_and_the_same_one_again(self, text: str, given_rules: list[Rule], mode: Mode) -> None:
        verdict = shell(text, *given_rules, mode=mode)
        assert verdict.behaviour in STRICTNESS
        assert verdict.reason
        assert shell(text, *given_rules, mode=mode) == verdict

    @settings(max_examples=300)
    @given(programs | st.sampled_from(ALL), st.lists(rules, max_size=3), patterns, modes)
    def test_is_allowed_no_more_by_a_rule_that_denies(
        self, text: str, given_rules: list[Rule], pattern: str, mode: Mode
    ) -> None:
        before = shell(text, *given_rules, mode=mode)
        after = shell(text, *given_rules, rule("deny", pattern), mode=mode)
        assert STRICTNESS[after.behaviour] >= STRICTNESS[before.behaviour]

    @settings(max_examples=300)
    @given(programs | st.sampled_from(ALL), st.lists(rules, max_size=3))
    def test_is_asked_about_nowhere_where_nobody_is_there(self, text: str, given_rules: list[Rule]) -> None:
        assert shell(text, *given_rules, mode="dont_ask").behaviour != "ask"

    @settings(max_examples=300)
    @given(programs | st.sampled_from(ALL))
    def test_is_allowed_with_the_rules_that_are_suggested_for_it(self, text: str) -> None:
        verdict = shell(text)
        if verdict.suggestions and len(verdict.suggestions) < 5 and "$" not in text and "xargs" not in text:
            left = shell(text, *verdict.suggestions)
            assert left.allowed or not set(left.suggestions) & set(verdict.suggestions)

    @settings(max_examples=200)
    @given(st.dictionaries(st.text(max_size=8), st.none() | st.text() | st.lists(st.text()), max_size=4), modes)
    def test_and_every_other_call_has_a_verdict(self, arguments: dict[str, object], mode: Mode) -> None:
        for tool in ("write_file", "read_file", "grep", "execute_shell", "execute_python", "other"):
            given_rules = [rule("deny", "x*", tool), rule("allow", "a=b", tool)]
            assert judged(tool, arguments, given_rules, mode).reason  # pyright: ignore[reportArgumentType]


class TestHugeTexts:
    @pytest.mark.parametrize(
        "text",
        [
            unit * (100_000 // len(unit))
            for unit in (
                "(",
                "$(",
                "`",
                "'",
                "{",
                "<",
                "|",
                "a=(",
                "x[",
                "ls;",
                "a ",
                "if ",
                "&&)(",
                "<<E\n",
                "((",
                "$'",
                "\n",
            )
        ]
        + ["$(" * 5_000 + "rm -rf /" + ")" * 5_000, "( " * 240 + "rm -rf /" + " )" * 240, "ls;" * 6_000, "a " * 9_000],
        ids=lambda text: repr(text[:5]),
    )
    def test_have_a_verdict_too(self, text: str) -> None:
        verdict = shell(text, rule("deny", "*a*b*"), rule("allow", "git:*"))
        assert not verdict.allowed or set(text) <= set("ls;\n ")

    @pytest.mark.parametrize(
        "unit", ["tar --x='a' ", "ssh ", "sudo ", "git -c a=b x;", "python -c 'rm \"a b\"';", "cd a;"]
    )
    def test_are_looked_at_for_no_longer_than_others_can_wait(self, unit: str) -> None:
        call = shell_call("execute_shell", unit * (LONGEST_BYTES // len(unit)))
        judged = (*call.script.commands, *call.script.suspects)
        assert sum(len(each.words) for each in judged) < 20 * MOST_STEPS
        assert call.unclear
        assert shell("git log --oneline; " * 50, rule("allow", "git:*")).allowed

    def test_are_not_allowed_by_a_rule_where_they_are_too_deep_to_be_read(self) -> None:
        deep = "$(" * 60 + "ls" + ")" * 60
        assert not shell(f"echo {deep}", rule("allow")).allowed
        assert shell("echo $(echo $(ls))", rule("allow")).allowed
