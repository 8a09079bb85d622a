"""Patterns of rules, and the rules that are suggested."""

import pytest

from services.agent.permissions.patterns import line_pattern, matches_path, matches_text
from services.agent.permissions.script import GAP
from tests.unit.agent.permissions.calling import judged, rule, shell


class TestPatternsOfLines:
    @pytest.mark.parametrize(
        ("pattern", "line", "expected"),
        [
            ("git:*", "git", True), ("git:*", "git push", True), ("git:*", "github", False),
            ("git *", "git", True), ("git *", "git push", True), ("git *", "github", False),
            ("git commit:*", "git commit -m x", True), ("git commit:*", "git commits", False),
            ("git commit:*", "git -C x commit", False), ("git * --force*", "git push --force", True),
            ("git * --force*", "git push", False), ("git status", "git status", True),
            ("git status", "git status -s", False), ("git status", "x git status", False),
            ("file\\*.txt", "file123.txt", False), ("file\\*.txt", "file*.txt", True), ("*", "anything at all", True),
            ("*", "", True), ("a*b*c", "a b c", True), ("a*b*c", "a c b", False), ("ab*ba", "aba", False),
            ("npm run test:*", "npm run test", True), ("npm run test:*", "npm run test:unit", False),
            ("  git   status ", "git status", True), ("", "", True), ("", "x", False),
        ],
    )  # fmt: skip
    def test_mean_whole_words(self, pattern: str, line: str, expected: bool) -> None:
        assert line_pattern(pattern).matches(line.replace(" ", GAP)) is expected

    def test_know_quoted_words_from_several(self) -> None:
        assert line_pattern("rm 'a b'").matches(f"rm{GAP}a b")
        assert not line_pattern("rm 'a b'").matches(f"rm{GAP}a{GAP}b")
        assert not shell('rm "a b"', rule("allow", "rm a b")).allowed
        assert shell('rm "a b"', rule("allow", "rm 'a b'")).allowed

    def test_take_no_time_however_many_wildcards_they_have(self) -> None:
        assert not line_pattern("*a" * 500 + "b").matches("a" * 30_000)


class TestPatternsOfPaths:
    @pytest.mark.parametrize(
        ("pattern", "path", "expected"),
        [
            ("src/**", "src/a/b.py", True), ("src/**", "src", True), ("src/**", "srcs/a", False),
            ("src/*", "src/a", True), ("src/*", "src/a/b", False), ("**/*.py", "a/b/c.py", True),
            ("**/*.py", "c.py", True), ("*.py", "c.py", True), ("*.py", "a/c.py", False), ("**", "a/b", True),
            ("**", "/etc/passwd", False), ("./src/**", "src/a", True), ("/workspace/src/**", "src/a", True),
            ("a/**/b", "a/x/y/b", True), ("a/**/b", "a/b", True), ("/opt/**", "/opt/x", True), ("src/../x", "x", True),
        ],
    )  # fmt: skip
    def test_mean_normal_paths(self, pattern: str, path: str, expected: bool) -> None:
        assert matches_path(pattern, path, anywhere=False) is expected

    def test_that_deny_mean_a_bare_name_in_every_folder(self) -> None:
        assert judged("write_file", {"path": "a/b/secret.txt"}, [rule("deny", "secret.txt", "*")]).behaviour == "deny"
        assert not judged("write_file", {"path": "a/b/x.txt"}, [rule("allow", "x.txt", "*")]).allowed

    @pytest.mark.parametrize("path", ["src/../etc/x", "/workspace/../etc/x", "src/../../x", "~/src/x"])
    def test_are_not_fooled_by_a_path_that_leads_elsewhere(self, path: str) -> None:
        assert not judged("write_file", {"path": path}, [rule("allow", "src/**", "write_file")]).allowed


class TestPatternsOfOtherArguments:
    def test_name_an_argument_or_mean_the_only_one(self) -> None:
        allowed = rule("allow", "url=https://docs.python.org/*", "fetch_url")
        assert judged("fetch_url", {"url": "https://docs.python.org/3/"}, [allowed]).allowed
        assert not judged("fetch_url", {"url": "https://docs.python.org.evil/"}, [allowed]).allowed
        assert not judged("fetch_url", {"url": ["https://docs.python.org/3/"]}, [allowed]).allowed
        assert judged("fetch_url", {"url": "https://a/b"}, [rule("allow", "https://a/*", "fetch_url")]).allowed
        assert not judged("send", {"to": "a", "text": "b"}, [rule("allow", "a", "send")]).allowed

    def test_that_deny_look_into_every_argument(self) -> None:
        forbidden = rule("deny", "*evil*", "send")
        assert judged("send", {"a": {"b": ["an evil thing"]}}, [forbidden], "bypass").behaviour == "deny"
        assert judged("send", {"a": "fine"}, [forbidden], "bypass").allowed

    def test_match_anything_at_a_star_alone(self) -> None:
        assert matches_text("a*c", "a/b\nc")
        assert not matches_text("a\\*c", "abc")
        assert matches_text("a\\*c", "a*c")


class TestTools:
    def test_are_named_by_wildcards(self) -> None:
        assert judged("mcp__files__read", {}, [rule("allow", tool="mcp__files__*")]).allowed
        assert not judged("mcp__other__read", {}, [rule("allow", tool="mcp__files__*")]).allowed
        assert judged("anything", {}, [rule("deny", tool="*")], "bypass").behaviour == "deny"


class TestSuggestions:
    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            ("git commit -m 'fix'", ["git commit:*"]),
            ("python -m pytest", ["python -m:*"]),
            ("NODE_ENV=prod npm run build", ["npm run:*"]),
            ("CUSTOM_VAR=v npm run build", []),
            ("git add . && git commit -m x", ["git add:*", "git commit:*"]),
            ("make", ["make"]),
            ("rm a.txt", ["rm a.txt"]),
            ("rm 'file with spaces.txt'", ["rm 'file with spaces.txt'"]),
            ("ls && git push", ["git push:*"]),
            ("timeout 5 npm test", ["npm test:*"]),
            ("rm -rf /", []),
            ("$X", []),
            ("python -c 'x'", ["python -c x"]),
        ],
    )
    def test_name_two_words_or_the_line(self, command: str, expected: list[str]) -> None:
        assert [each.pattern for each in shell(command).suggestions] == expected

    def test_are_five_at_most(self) -> None:
        assert len(shell("; ".join(f"tool{n} run" for n in range(9))).suggestions) == 5

    def test_name_the_folder_of_a_file(self) -> None:
        assert [each.pattern for each in judged("write_file", {"path": "a/b/c.txt"}).suggestions] == ["a/b/**"]
        written = shell("make > log/x").suggestions
        assert [(each.tool, each.pattern) for each in written] == [("execute_shell", "make"), ("write_file", "log/**")]

    @pytest.mark.parametrize(
        "command", ["git commit -m x", "make", "rm a", "rm 'it''s'", "python -c 'x'", "make > log/x",
                    "touch 'a b' c; make all", "npm run build 2>&1 | tee out", "xargs rm", "ls; ./x 'a\"b' \\* '\\'"],
    )  # fmt: skip
    def test_allow_what_they_were_made_for(self, command: str) -> None:
        suggested = shell(command).suggestions
        assert suggested or command == "xargs rm"
        assert shell(command, *suggested).allowed or command == "xargs rm"
