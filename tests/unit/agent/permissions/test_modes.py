"""The decision table: mode by rule by kind of call."""

from typing import Literal

import pytest

from tests.unit.agent.permissions.calling import MODES, Mode, judged, rule, shell

Behaviour = Literal["allow", "ask", "deny"]
READ, WRITE, DANGER = "ls", "touch x", "rm -rf /"

TABLE: list[tuple[str, str, tuple[Behaviour, Behaviour, Behaviour, Behaviour, Behaviour]]] = [
    # kind       rule     default  accept_edits  explore  bypass  dont_ask
    ("read",    "none",  ("allow", "allow", "allow", "allow", "allow")),
    ("read",    "deny",  ("deny", "deny", "deny", "deny", "deny")),
    ("read",    "ask",   ("ask", "ask", "ask", "ask", "deny")),
    ("read",    "allow", ("allow", "allow", "allow", "allow", "allow")),
    ("edit",    "none",  ("ask", "allow", "deny", "allow", "allow")),
    ("edit",    "deny",  ("deny", "deny", "deny", "deny", "deny")),
    ("edit",    "ask",   ("ask", "ask", "ask", "ask", "deny")),
    ("edit",    "allow", ("allow", "allow", "deny", "allow", "allow")),
    ("other",   "none",  ("ask", "ask", "deny", "allow", "deny")),
    ("other",   "deny",  ("deny", "deny", "deny", "deny", "deny")),
    ("other",   "ask",   ("ask", "ask", "ask", "ask", "deny")),
    ("other",   "allow", ("allow", "allow", "deny", "allow", "allow")),
    ("danger",  "none",  ("ask", "ask", "deny", "allow", "deny")),
    ("danger",  "deny",  ("deny", "deny", "deny", "deny", "deny")),
    ("danger",  "ask",   ("ask", "ask", "ask", "ask", "deny")),
    ("danger",  "allow", ("ask", "ask", "deny", "allow", "deny")),
]  # fmt: skip
CALLS = {
    "shell": {"read": "ls", "edit": "touch x", "other": "make", "danger": "rm -rf /"},
    "files": {"read": "read_file a", "edit": "write_file a", "danger": "write_file .bashrc"},
    "tools": {"read": "look", "other": "execute_python"},
}
CASES = [
    (door, kind, ruled, mode, expected[place])
    for door, calls in CALLS.items()
    for kind, ruled, expected in TABLE
    if kind in calls
    for place, mode in enumerate(MODES)
]


class TestTheTable:
    @pytest.mark.parametrize(("door", "kind", "ruled", "mode", "expected"), CASES)
    def test_holds(self, door: str, kind: str, ruled: str, mode: Mode, expected: Behaviour) -> None:
        call = CALLS[door][kind]
        name, _, path = call.partition(" ")
        tool = "execute_shell" if door == "shell" else name
        arguments = {"command": call} if door == "shell" else {"path": path} if path else {"value": "1"}
        rules = [] if ruled == "none" else [rule(ruled, tool=tool)]  # pyright: ignore[reportArgumentType]
        assert judged(tool, dict(arguments), rules, mode).behaviour == expected

    def test_deny_comes_before_ask_and_ask_before_allow(self) -> None:
        assert shell("make", rule("allow"), rule("ask"), rule("deny")).behaviour == "deny"
        assert shell("make", rule("allow"), rule("ask")).behaviour == "ask"

    def test_where_nobody_is_asked_the_suggestions_stay(self) -> None:
        verdict = shell("git commit -m x", mode="dont_ask")
        assert verdict.behaviour == "deny"
        assert [each.pattern for each in verdict.suggestions] == ["git commit:*"]

    def test_a_dangerous_call_is_said_to_be_one_only_where_it_is_looked_at(self) -> None:
        assert shell("rm -rf /").safety
        assert not shell("rm -rf /", mode="bypass").safety


class TestEdits:
    @pytest.mark.parametrize(
        "command",
        [
            "echo x > a.txt", "ls >> log/all.txt", "touch a b", "mkdir -p a/b", "mv a b", "cp a b", "rm a.txt",
            "rmdir d", "sed -i 's/a/b/' f", "ls | tee out", "cd sub && touch x", "touch /workspace/x", "cat a > b; ls",
            "cat > f <<'E'\nhello\nE",
        ],
    )  # fmt: skip
    def test_inside_the_folders_are_accepted(self, command: str) -> None:
        assert shell(command, mode="accept_edits").allowed
        assert shell(command, mode="dont_ask").allowed
        assert shell(command).behaviour == "ask"

    @pytest.mark.parametrize(
        "command",
        [
            "echo x > /opt/a", "touch ../x", "touch /home/u/x", "cp a ~/b", "mv a /tmp/b", "cd .. && touch x",
            "cd /opt; echo x > y", "touch $X", "echo x > $X", "cd $X && touch y", "touch *", "rm -r a",
            "rm -r -f ./build", "rm --recursive a", "cp a b --target-directory=/opt", "cp -t /opt a",
            "f() { cd /opt; }; f; touch x",
            "sed -i '1e x' f", "touch sub/../../x", "make > out", "ln -s /etc x", "chmod +x f",
        ],
    )  # fmt: skip
    def test_elsewhere_or_of_another_kind_are_not(self, command: str) -> None:
        assert shell(command, mode="accept_edits").behaviour == "ask"

    def test_only_the_declared_folders_count(self) -> None:
        assert shell("touch out/x", mode="accept_edits", folders=["out"]).allowed
        assert shell("touch x", mode="accept_edits", folders=["out"]).behaviour == "ask"
        assert shell("touch output", mode="accept_edits", folders=["out"]).behaviour == "ask"
        assert judged("write_file", {"path": "out/../x"}, mode="accept_edits", folders=["out"]).behaviour == "ask"

    def test_of_a_host_outside_of_the_cell_are_asked_about(self) -> None:
        assert judged("save", {"path": "x"}, mode="accept_edits").behaviour == "ask"


class TestSandboxedTools:
    @pytest.mark.parametrize("mode", MODES)
    def test_are_treated_like_any_other(self, mode: Mode) -> None:
        """The cell is the boundary; a mode that lets code run freely has to be chosen."""
        inside = judged("execute_python", {"code": "1"}, mode=mode)
        assert inside.behaviour == judged("anything", {"code": "1"}, mode=mode).behaviour
