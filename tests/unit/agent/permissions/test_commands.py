"""A corpus of shell commands, each with what becomes of it."""

from pathlib import Path
from typing import cast

import pytest
import yaml

from tests.unit.agent.permissions.calling import rule, shell

CORPUS = cast(dict[str, list[str]], yaml.safe_load(Path(__file__).with_name("commands.yaml").read_text()))
ALL = [command for commands in CORPUS.values() for command in commands]


class TestTheCorpus:
    def test_is_large_and_names_nothing_twice(self) -> None:
        assert len(ALL) >= 300
        assert len(set(ALL)) == len(ALL)

    @pytest.mark.parametrize("command", CORPUS["reads"])
    def test_what_only_reads_is_allowed_in_every_mode(self, command: str) -> None:
        assert shell(command).allowed
        assert shell(command, mode="explore").allowed
        assert shell(command, mode="dont_ask").allowed

    @pytest.mark.parametrize("command", CORPUS["asks"])
    def test_what_may_change_something_is_asked_about_unless_a_rule_allows_it(self, command: str) -> None:
        verdict = shell(command)
        assert (verdict.behaviour, verdict.safety) == ("ask", False)
        assert shell(command, mode="explore").behaviour == "deny"
        assert shell(command, rule("allow")).allowed
        assert shell(command, rule("allow", command), mode="dont_ask").allowed or "*" in command or "\\" in command

    @pytest.mark.parametrize("command", CORPUS["unclear"])
    def test_what_cannot_be_told_before_it_runs_is_allowed_by_no_rule(self, command: str) -> None:
        verdict = shell(command, rule("allow"), rule("allow", "*"), rule("allow", command))
        assert (verdict.behaviour, verdict.safety) == ("ask", False)
        assert verdict.suggestions == ()

    @pytest.mark.parametrize("command", CORPUS["dangerous"])
    def test_what_is_dangerous_is_allowed_by_no_rule_and_stopped_where_nobody_is_asked(self, command: str) -> None:
        verdict = shell(command, rule("allow"), rule("allow", "*"), rule("allow", command))
        assert (verdict.behaviour, verdict.safety) == ("ask", True)
        assert verdict.suggestions == ()
        assert shell(command, rule("allow"), mode="accept_edits").safety
        assert shell(command, rule("allow"), mode="dont_ask").behaviour == "deny"
        assert shell(command, rule("allow"), mode="explore").behaviour == "deny"

    @pytest.mark.parametrize("command", ALL)
    def test_bypass_lets_through_what_no_rule_forbids(self, command: str) -> None:
        assert shell(command, mode="bypass").allowed
        assert shell(command, rule("deny"), mode="bypass").behaviour == "deny"
        assert shell(command, rule("ask"), mode="bypass").behaviour == "ask"
