"""Bash itself as the judge: whatever command it comes to run was found before, or the text was said to be unclear."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from services.agent.permissions.shell_calls import shell_call
from services.agent.permissions.words import Word
from tests.unit.agent.permissions.calling import rule, shell

BASH = shutil.which("bash")
PIECES = (
    "p", "q", "r", "p x", "q 'a b'", 'r "c d"', ";", "&", "&&", "||", "|", "|&", "\n", "(", ")", "{ ", " }",
    ";}", "$(", ")", "`", "'", '"', "\\", "#", " ", "\t", "<<E\n", "\nE\n", "<<'E'\n", "<f", ">f", "2>&1",
    "&>f", "<<< p", "$((", "))", "1", "$i", "i=1", "${i:-", "}", "if ", "; then ", "; fi", "for i in a b; do ",
    "; done", "case x in ", "x) ", ";;", " esac", "!", "[[ ", "]]", "-eq", "==", "time ", "\\\n", "$'", '$"',
    "*", "@", "=", "a=", "eval ", "env ", "command ", "! ", "time -p ",
)  # fmt: skip
RECORDING = (
    "FUNCNEST=2\ncommand_not_found_handle() {{ local s; printf -v s '%s\\1' \"$@\";"
    " printf '%s\\2' \"$s\" >> {log}; return 1; }}\n"
)
KNOWN_DIFFERENTLY = {
    "comment after a vertical tab": "p \v#; q",
    "comment after an escaped blank": "p \\ #; q",
    "document that joins lines": "p <<E\nE\\\nE\nq\nE\nq",
    "backquotes with escaped ones": "p `q \\`r\\``",
    "escaped line end before a sign": "p \\\n; q",
    "descriptor that belongs to a word": "p -eq2>&1",
    "line end that is no argument": "p\n\\\nq",
    "variables after time": "time i=1 q",
}

EVALUATED = (
    "o=-v; test \"$o\" 'a[$(touch x)]'", "test ! -v 'a[$(touch x)]'", "x=1; [ -n \"$x\" -o -v 'a[$(touch x)]' ]",
    "x='-v a[$(touch${IFS}x)]'; [ $x ]", "f() { [ $1 ]; }; f '-v a[$(touch${IFS}x)]'",
    "sleep 0 & wait -n -p 'a[$(touch x)]'", "x='-p a[$(touch${IFS}x)]'; sleep 0 & wait -n $x",
    "a=(['$(touch x)']=1)", "a=(['b[$(touch x)]']=1)", "x='b[$(touch x)]'; a=([x]=1)", "x='b[$(touch x)]'; a+=([x]=1)",
    "x='b[$(touch x)]'; a=([$x]=1)", "declare -a 'a=($(touch x))'", "declare -a a='($(touch x))'",
    "declare -A a='($(touch x))'", "a=(); declare a='($(touch x))'", "a=(); typeset a='($(touch x))'",
    "declare -a b; declare b='($(touch x))'", "readonly -a a='($(touch x))'", "readonly -a a='([b[$(touch x)]]=1)'",
    "v='($(touch x))'; declare -a a=\"$v\"", "v='($(touch x))'; a=(); declare a=$v",
    ": ${x:='b[$(touch x)]'}; : $((x))", ": ${x='b[$(touch x)]'}; : $((x))", ": 'b[$(touch x)]'; : $((_))",
    "[[ 'b[$(touch x)]' =~ .* ]]; : $((BASH_REMATCH))", "cat <<E\n`touch x`\nE",
)  # fmt: skip
"""Texts in which bash finds a command where none is written: places of variables, arithmetic, values of arrays."""


def run_by(text: str, folder: Path) -> list[tuple[str, ...]]:
    """Return the commands that bash runs for a text, where no command but its own exists."""
    log, start = folder / "log", folder / "start"
    log.write_text("")
    start.write_text(RECORDING.format(log=log))
    environment = {"BASH_ENV": str(start), "PATH": "/nonexistent", "HOME": str(folder)}
    try:
        subprocess.run(
            [str(BASH), "-c", text + "\nwait" if "&" in text else text],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (subprocess.TimeoutExpired, ValueError):
        return []
    written = log.read_text(errors="replace")
    return [tuple(line.split("\1")[:-1]) for line in written.split("\2") if line]


def is_found(ran: tuple[str, ...], words: tuple[Word, ...]) -> bool:
    """Return whether a command that ran is one that was found; only its name counts where words were not known."""
    if not ran or words[0].text != ran[0]:
        return not words[0].known
    certain = all(word.known and "~" not in word.text for word in words)
    return not certain or [word.text for word in words] == list(ran)


def hidden(text: str, folder: Path) -> list[tuple[str, ...]]:
    """Return what bash runs of a text that the engine has neither found nor called unclear."""
    call = shell_call("execute_shell", text)
    if call.unclear:
        return []
    found = [command.words for command in call.script.commands]
    return [ran for ran in run_by(text, folder) if not any(is_found(ran, words) for words in found)]


@pytest.mark.skipif(BASH is None, reason="needs bash")
class TestWhatBashRuns:
    @pytest.mark.parametrize("text", EVALUATED)
    def test_is_not_taken_for_reading_where_words_are_evaluated(self, text: str, tmp_path: Path) -> None:
        programs = [shutil.which(name) or name for name in ("touch", "sleep", "cat")]
        start = tmp_path / "start"
        start.write_text("".join(f'{Path(each).name}() {{ {each} "$@"; }}\n' for each in programs))
        environment = {"PATH": "/nonexistent", "BASH_ENV": str(start)}
        ran = subprocess.run([str(BASH), "-c", text], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert (tmp_path / "x").exists(), ran.stderr
        assert not shell(text, mode="explore").allowed
        assert not shell(text, rule("allow")).allowed

    @pytest.mark.parametrize("seed", range(8))
    def test_was_found_before_in_any_text(self, seed: int, tmp_path: Path) -> None:
        dice = random.Random(seed)
        judged = 0
        for _ in range(150):
            text = "".join(dice.choice(PIECES) for _ in range(dice.randint(2, 12)))
            judged += not shell_call("execute_shell", text).unclear
            assert hidden(text, tmp_path) == [], text
        assert judged > 5

    @pytest.mark.parametrize("text", KNOWN_DIFFERENTLY.values(), ids=KNOWN_DIFFERENTLY.keys())
    def test_is_found_where_the_grammar_sees_something_else(self, text: str, tmp_path: Path) -> None:
        assert run_by(text, tmp_path)
        assert hidden(text, tmp_path) == []
        assert not shell(text, mode="explore").allowed
