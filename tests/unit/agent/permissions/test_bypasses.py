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


CARRIED = (
    "env - rm x", "env -i - rm x", "busybox sh -c 'rm x'", "busybox env rm x", "busybox find . -exec rm {} \\;",
    "/opt/bin/bash -c 'rm x'", "./bash -c 'rm x'", "/opt/x/env rm x", "ssh h 'rm x'", "ssh h 'cd y; rm x'",
    "ssh -o ProxyCommand='rm x' h", "ssh -oProxyCommand='rm x' h", "scp -S rm x h:", "su -c 'rm x'",
    "su - u -c 'rm x'", "runuser -c 'rm x'", "script -c 'rm x' f", "script -qc 'rm x'", "parallel 'rm {}' ::: x",
    "tmux new 'rm x'", "docker run a sh -c 'rm x'", "flock f -c 'rm x'", "chroot / sh -c 'rm x'",
    "strace -f sh -c 'rm x'", "screen -dm sh -c 'rm x'", "xterm -e 'rm x'", "capsh -- -c 'rm x'",
    "tar --to-command='rm x' -xf a", "tar --to-command 'rm x' -xf a", "tar -I 'rm x' -xf a",
    "tar -cf a b --checkpoint=1 --checkpoint-action=exec='rm x'", "rsync -e 'rm x' a b:", "rsync --rsh='rm x' a b:",
    "vim -c '!rm x'", "vim -c ':!rm x'", "vim +'!rm x'", "vi -c '!rm x' f", "nvim -c '!rm x'", "ex -sc '!rm x|q'",
    "echo '!rm x' | ed", "echo '!rm x' | ed -v", "echo '!rm x' | ex", "man -P 'rm x' ls", "less '+!rm x' f",
    "gdb -batch -ex '!rm x'", "sqlite3 a '.shell rm x'", "echo '.shell rm x' | sqlite3", "psql -c '\\! rm x'",
    "npx -c 'rm x'", "npm exec -c 'rm x'", "go test -exec 'rm x'", "socat - EXEC:'rm x'", "nc -e 'rm x' h 1",
    "ncat --sh-exec 'rm x' h 1", "make SHELL='rm x'", "zip -T -TT 'rm x' a b",
    "split --filter='rm x' f", "sort --compress-program=rm f", "fd . --exec=rm", "fd . -xrm", "pwsh -c 'rm x'",
    "at now <<< 'rm x'", "echo 'rm x' | at now", "expect -c 'spawn rm x'", "dpkg --pre-invoke='rm x' -i a",
    "apt-get -o APT::Update::Pre-Invoke::='rm x' update", "jobs -x rm x", "echo 'exec rm x' | tclsh -v",
    "/lib64/ld-linux-x86-64.so.2 /bin/rm x", "echo 'import os; os.system(\"rm x\")' | python3 -v",
    "LESSOPEN='|rm x' less f", "bat --pager='rm x' f", "ack --pager 'rm x' a", "rg a --pre=rm", "zsh -c '=rm x'",
    "ld.so /bin/rm x", "choom -n 1 rm x", "i386 rm x", "faketime 1 rm x", "eatmydata rm x", "ssh-agent rm x",
    "ip netns exec a rm x", "dc -e '!rm x'", "make --eval='$(shell rm x)' -n", "gosu me rm x", "direnv exec . rm x",
    "coreutils --coreutils-prog=rm x", "watchexec rm x",
    "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.pager GIT_CONFIG_VALUE_0='rm x' git log",
)  # fmt: skip
"""Ways to have `rm x` run by a program that is no shell."""


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

    @pytest.mark.parametrize(
        "command",
        [
            "echo 'import os; os.system(\"touch x\")' | python -v", "cat f | python3 -v",
            "set -k; git diff GIT_EXTERNAL_DIFF=./e", "set -o keyword; git diff GIT_EXTERNAL_DIFF=./e",
            "set -ek; git diff GIT_EXTERNAL_DIFF=./e", "bash -k -c 'git diff GIT_EXTERNAL_DIFF=./e'",
            "bash -o keyword -c 'git diff GIT_EXTERNAL_DIFF=./e'", "BASH_ENV=./e bash -c ls", "LD_PRELOAD=./e eval ls",
            "env 'BASH_FUNC_ls%%=() { touch x; }' bash -c ls", "PATH=. . f",
            "find . -exec sort + -o out {} \\;", "find . -exec uniq + out \\;", "find . -exec tree + -o out \\;",
            "pip list --log out", "pip list --log=out", "pip --python=./e list", "npm ls --logs-dir=out",
            "npm outdated --git=./e", "gh auth status --show-token", "awk 'BEGIN{ARGV[1]=\".env\";ARGC=2} 1'",
            "sed 's/[/]/g;s/w out/x/' f", "sed '/[/]/!d;s/x/w out/' f", ": ${PATH:=.}; ls", "((PATH=1)); ls",
            "echo $((PATH=1)); ls", "wait -p PATH; ls",
        ],
    )  # fmt: skip
    def test_do_not_read_only_where_an_option_or_a_setting_makes_them_do_more(self, command: str) -> None:
        assert not shell(command, mode="explore").allowed

    @pytest.mark.parametrize(
        "command",
        [
            "find . -exec wc -l {} +", "set -euxo pipefail; ls", "set -o noglob; ls", "bash -euo pipefail -c ls",
            "pip list --outdated", "npm ls --depth=0", "gh pr view 1", "[ $? -eq 0 ] && ls", "wait $!",
            "i=0; while [ $i -lt 3 ]; do i=$((i+1)); done", "declare -a a=(1 2); ls", "a=([0]=x [1]=y); ls",
            "echo \"cost $ 5 100$ a$|b\"", "cat <<E\ncost \\`x\\` 5$ $.\nE",
            "echo $((0xFF)) $((10#08)) $((RANDOM % 6))",
        ],
    )  # fmt: skip
    def test_still_read_where_none_does(self, command: str) -> None:
        assert shell(command, mode="explore").allowed


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
            "python -c 'import os; os.system(\"rm x\")'", "ssh host rm x", "rm $X", "eval sh <<E\nrm x\nE",
            "bash -c sh <<< 'rm x'", "awk 'BEGIN{system(\"rm x\")}'",
        ],
    )  # fmt: skip
    def test_finds_its_command_whatever_hides_it(self, command: str) -> None:
        assert shell(command, rule("deny", "rm:*"), mode="bypass").behaviour == "deny"

    @pytest.mark.parametrize("command", CARRIED)
    def test_finds_its_command_where_another_program_is_to_run_it(self, command: str) -> None:
        assert shell(command, rule("deny", "rm:*"), mode="bypass").behaviour == "deny"
        assert shell(command, rule("deny", "rmdir:*"), mode="bypass").behaviour != "deny"

    @pytest.mark.parametrize(
        "command",
        [
            "$X x",
            "$(echo rm) x",
            "eval $X",
            "cat f | sh",
            "{rm,x}",
            "r? x",
            "bash -c $X",
            "set -k; git log X=Y",
            "BASH_ENV=f bash -c ls",
            "git clone -c core.sshCommand=$X a",
            "bash 0<<<'rm x'",
            "exec < f; sh",
            "echo rm x | tee >(bash)",
        ],
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

    @pytest.mark.parametrize(
        "command",
        [
            "gzip secrets/a", "git checkout -- secrets/a", "git clone u secrets/x", "find secrets -delete",
            "sort -osecrets/a f", "mv --target-directory=secrets a", "uniq f secrets/a", "git diff --output=secrets/a",
            "make -C secrets", "busybox cp a secrets/b", "python -c \"open('secrets/a', 'w')\"",
        ],
    )  # fmt: skip
    def test_files_to_be_written_has_asked_about_what_may_write_one(self, command: str) -> None:
        forbidden = rule("deny", "secrets/**", "write_file")
        assert shell(command, forbidden, mode="bypass").behaviour == "ask"
        assert shell(command, forbidden, mode="dont_ask").behaviour == "deny"
        assert shell(command, rule("deny", "others/**", "write_file"), mode="bypass").allowed

    @pytest.mark.parametrize("command", ["cat secrets/a", "ls secrets", "grep -r x secrets", "make", "git push"])
    def test_files_to_be_written_does_not_mean_what_reads_or_names_none(self, command: str) -> None:
        assert shell(command, rule("deny", "secrets/**", "write_file"), mode="bypass").allowed


class TestAModifiedCall:
    def test_is_judged_as_it_is_now(self) -> None:
        """A person may approve with other arguments; what a rule denies stays denied."""
        rules: list[Rule] = [rule("ask", "git push:*"), rule("deny", "rm:*")]
        assert shell("git push", *rules, mode="bypass").behaviour == "ask"
        assert shell("rm x", *rules, mode="bypass").behaviour == "deny"
