"""Known ways round a permission engine, each with a naive one that is fooled by it."""

import re
import shlex

import pytest

from natscope.contracts.approval import Rule
from tests.unit.agent.permissions.calling import judged, rule, shell


def naive_prefix(pattern: str, command: str) -> bool:
    """A matcher as many are: the text begins with the rule's words."""
    return command.startswith(pattern)


def naive_substring(pattern: str, command: str) -> bool:
    """A matcher in which a rule without wildcard means: somewhere in the text."""
    return pattern in command


def naive_reading(command: str) -> bool:
    """A check that looks at the first word after each `&&`, `||`, `;` and `|`, and skips variables."""
    words = [part.split() for part in re.split(r"&&|\|\||;|\|", command)]
    first = [next((word for word in each if not re.match(r"\w+=", word)), "") for each in words]
    return ">" not in command and all(name in ("ls", "cat", "rg", "less", "git") for name in first)


HIDDEN_BEHIND_A_RULE = {
    "semicolon": "git status; touch x",
    "newline": "git status\ntouch x",
    "single ampersand": "git status & touch x",
    "and": "git status && touch x",
    "or": "git status || touch x",
    "pipe": "git status | touch x",
    "pipe with errors": "git status |& touch x",
    "substitution": "git status $(touch x)",
    "backquotes": "git status `touch x`",
    "substitution in quotes": 'git status "$(touch x)"',
    "substitution in a default": "git status ${a:-$(touch x)}",
    "process substitution": "git status <(touch x)",
    "writing substitution": "git status > >(touch x)",
    "redirection": "git status > out",
    "redirection to the system": "git status > /etc/x",
    "appending": "git status >> out",
    "here-document": "git status <<E\n$(touch x)\nE",
    "here-string": 'git status <<< "$(touch x)"',
    "after a here-document": "git status <<'E'\nE\ntouch x",
    "carriage return": "git status\rtouch x",
    "vertical tab before a comment": "git status \v#; touch x",
    "blank that is none": "git status \u00a0#; touch x",
    "escaped blank before a comment": "git status \\ #; touch x",
    "escaped line end": "git status \\\n; touch x",
    "a closing brace": "git status; }; touch x",
    "function": "git status; f() { touch x; }; f",
    "trap": "git status; trap 'touch x' EXIT",
    "setting": "git status -c core.pager=x; git -c core.pager=x log",
}


class TestARuleForOneCommand:
    @pytest.mark.parametrize("command", HIDDEN_BEHIND_A_RULE.values(), ids=HIDDEN_BEHIND_A_RULE.keys())
    def test_does_not_let_another_through(self, command: str) -> None:
        for pattern in ("git status", "git status:*", "git status *"):
            assert not shell(command, rule("allow", pattern)).allowed
        assert naive_prefix("git status", command)

    @pytest.mark.parametrize(
        "command", ["GIT_PAGER=x git log", "git -c core.pager=x log", "LD_PRELOAD=./e.so git log", "PATH=. git log",
                    "env GIT_PAGER=x git log", "git --exec-path=/x log", "time GIT_PAGER=x git log"],
    )  # fmt: skip
    def test_does_not_let_the_same_program_through_that_is_made_to_run_another(self, command: str) -> None:
        assert not shell(command, rule("allow", "git log:*")).allowed
        assert naive_substring("git", command)

    @pytest.mark.parametrize("command", ["rm x; echo git status", "echo x > y # git status", "touch 'git status'"])
    def test_is_not_found_somewhere_in_the_text(self, command: str) -> None:
        assert not shell(command, rule("allow", "git status")).allowed
        assert naive_substring("git status", command)

    @pytest.mark.parametrize("command", ["github x", "git-evil x", "./git x", "/tmp/git x", "GIT x"])
    def test_does_not_mean_a_namesake(self, command: str) -> None:
        assert not shell(command, rule("allow", "git:*")).allowed

    @pytest.mark.parametrize(
        "command", ["python -c 'x'", "python3 -Ic 'x'", "perl -e 'x'", "perl -lane 'x'", "node -e 'x'", "node -p 'x'",
                    "ruby -e 'x'", "php -r 'x'", "python - <<'E'\nx\nE", "python <<'E'\nx\nE"],
    )  # fmt: skip
    def test_for_an_interpreter_does_not_mean_text_that_is_given_to_it(self, command: str) -> None:
        program = shlex.split(command)[0]
        assert not shell(command, rule("allow", f"{program}:*")).allowed
        assert naive_prefix(program, command)
        assert shell(f"{program} script", rule("allow", f"{program}:*")).allowed


class TestReadingCommands:
    @pytest.mark.parametrize("command", ["ls . & touch x", "ls\ntouch x"])
    def test_do_not_hide_what_follows_an_ampersand_or_a_newline(self, command: str) -> None:
        assert not shell(command, mode="explore").allowed
        assert naive_reading(command)

    @pytest.mark.parametrize("command", ["LD_PRELOAD=./e.so cat f", "GIT_EXTERNAL_DIFF=./e git diff"])
    def test_do_not_read_only_with_variables_that_load_programs(self, command: str) -> None:
        assert not shell(command, mode="explore").allowed
        assert naive_reading(command)

    @pytest.mark.parametrize(
        "command", ["rg --pre ./evil x .", "rg --pr=./evil x .", "less +!sh f", "git diff --output=x"]
    )
    def test_do_not_read_only_with_options_that_run_or_write(self, command: str) -> None:
        assert not shell(command, mode="explore").allowed
        assert naive_reading(command)

    @pytest.mark.parametrize(
        "command", ["cat ~/.ssh/id_rsa", "cat $HOME/.ssh/id_rsa", "cat ~/.s'sh'/id_rsa", "cd ~/.ssh && cat id_rsa"]
    )
    def test_do_not_read_secrets(self, command: str) -> None:
        assert shell(command).safety
        assert shell(command, mode="explore").behaviour == "deny"

    @pytest.mark.parametrize("path", [".env", "a/.env", "/workspace/.env", "a/../.env", "~/.ssh/id_rsa", "key.pem"])
    def test_do_not_read_secrets_with_the_tools_for_files_either(self, path: str) -> None:
        assert judged("read_file", {"path": path}).safety
        assert judged("read_file", {"path": "a.txt"}).allowed

    def test_do_not_search_secrets_by_a_glob(self) -> None:
        assert judged("grep", {"pattern": ".", "glob": "**/.env"}).safety
        assert judged("grep", {"pattern": ".", "glob": "**/*.py"}).allowed


class TestRemovals:
    @pytest.mark.parametrize(
        "command", ["rm -r -f ./build", "rm -fr ./build", "rm -Rf build", "rm --recursive --force build",
                    "rm -f -r build", "rm --recurs build", "rm build -rf"],
    )  # fmt: skip
    def test_of_whole_folders_are_asked_about_however_they_are_spelled(self, command: str) -> None:
        assert shell(command, mode="accept_edits").behaviour == "ask"
        assert shell(command, mode="dont_ask").behaviour == "deny"
        assert not naive_substring("rm -rf", command)


class TestFalseAlarms:
    @pytest.mark.parametrize(
        "command", ["cargo format", "echo 'rm -rf /'", "git log --grep mkfs", "cat dd.txt", "grep shutdown f"]
    )
    def test_are_not_raised_by_words_alone(self, command: str) -> None:
        assert not shell(command).safety


class TestARuleThatDenies:
    @pytest.mark.parametrize(
        "command",
        [
            "rm x", "/bin/rm x", "/opt/rm x", "\\rm x", "r''m x", "'rm' x", "$'\\x72m' x", "ls; rm x", "ls\nrm x",
            "ls & rm x", "echo $(rm x)", "bash -c 'rm x'", "eval 'rm x'", "env A=b rm x", "A=b rm x", "sudo rm x",
            "xargs rm < f", "find . -exec rm {} \\;", "timeout 5 rm x", "time rm x", "command rm x", "busybox rm x",
            "echo 'rm x' | sh", "f() { rm x; }; f", "git submodule foreach 'rm x'", "git -c alias.x='!rm x' x",
            "python -c 'import os; os.system(\"rm x\")'", "ssh host rm x", "rm $X", "awk 'BEGIN{system(\"rm x\")}'",
        ],
    )  # fmt: skip
    def test_finds_its_command_whatever_hides_it(self, command: str) -> None:
        assert shell(command, rule("deny", "rm:*"), mode="bypass").behaviour == "deny"

    @pytest.mark.parametrize(
        "command", ["$X x", "$(echo rm) x", "eval $X", "cat f | sh", "{rm,x}", "r? x", "bash -c $X"]
    )
    def test_has_asked_about_what_may_be_its_command(self, command: str) -> None:
        assert shell(command, rule("deny", "rm:*"), mode="bypass").behaviour == "ask"
        assert shell(command, rule("deny", "rm:*"), mode="dont_ask").behaviour == "deny"
        assert shell(command, mode="bypass").allowed

    @pytest.mark.parametrize("command", ["git $X", "git -C . push", "git -c color.ui=x push", "git --no-pager push"])
    def test_sees_through_options_before_the_subcommand(self, command: str) -> None:
        assert not shell(command, rule("deny", "git push:*"), mode="bypass").allowed

    @pytest.mark.parametrize("command", ["git status", "echo rm", "rmdir x", "python make.py", "ls $X"])
    def test_does_not_mean_others(self, command: str) -> None:
        assert shell(command, rule("deny", "rm:*"), rule("deny", "git push:*"), mode="bypass").allowed

    @pytest.mark.parametrize(
        "command", ["echo x > secrets/a", "tee secrets/a", "cp a secrets/b", "cd secrets && touch x"]
    )
    def test_files_to_be_written_holds_for_the_shell_too(self, command: str) -> None:
        forbidden = rule("deny", "secrets/**", "write_file")
        assert shell(command, forbidden, mode="bypass").behaviour == "deny"
        assert shell("echo x > other", forbidden, mode="bypass").allowed
        assert shell("echo x > $X", forbidden, mode="bypass").behaviour == "ask"


class TestAModifiedCall:
    def test_is_judged_as_it_is_now(self) -> None:
        """A person may approve with other arguments; what a rule denies stays denied."""
        rules: list[Rule] = [rule("ask", "git push:*"), rule("deny", "rm:*")]
        assert shell("git push", *rules, mode="bypass").behaviour == "ask"
        assert shell("rm x", *rules, mode="bypass").behaviour == "deny"
