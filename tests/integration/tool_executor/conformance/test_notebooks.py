"""Stateful programs behave as the cells of a notebook do."""

import pytest

from services.tool_executor.cells import Cell
from tests.integration.tool_executor.conformance.running import run, tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCES = "    class A: x = 1\n     class B: x = 2\n class A(A):\n    x = 3\n\n"
SEQUENCES: dict[str, list[tuple[str, str]]] = {
    "imports": [("import math as m", ""), ("m.floor(2.5)", "2\n")],
    "functions, which see variables of later": [("def f(): return later", ""), ("later = 10", ""), ("f()", "10\n")],
    "classes": [
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1", ""),
        ("import pickle\npickle.loads(pickle.dumps(P(2)))", "P(x=2)\n"),
    ],
    "the last value": [("6 * 7", "42\n"), ("_ + 1", "43\n")],
    "the folder it works in": [
        ("import os; os.makedirs('sub', exist_ok=True); os.chdir('sub')", ""),
        ("os.path.basename(os.getcwd())", "'sub'\n"),
        ("os.chdir('..')", ""),
    ],
    "its environment": [("import os; os.environ['WORD'] = 'x'", ""), ("import os; os.environ['WORD']", "'x'\n")],
    "tasks that go on": [
        ("import asyncio\nasync def late():\n    await asyncio.sleep(0.05)\n    return 'late'", ""),
        ("async def begin(): return asyncio.create_task(late())\nt = await begin()", ""),
        ("await t", "'late'\n"),
        ("asyncio.run(late())", "'late'\n"),
        ("await late()", "'late'\n"),
    ],
    "generators that await": [
        ("async def count():\n    for n in range(3): yield n", ""),
        ("async for n in count(): print(n)", "0\n1\n2\n"),
        ("[n async for n in count()]", "[0, 1, 2]\n"),
    ],
    "workers": [
        ("from multiprocessing import Pool\ndef square(x): return x * x", ""),
        ("with Pool(2) as pool: squares = pool.map(square, [2, 3])\nsquares", "[4, 9]\n"),
    ],
    "a value back that a semicolon follows": [("6 * 7;", ""), ("'a;'", "'a;'\n"), ("(1,\n 2) ;  # quiet", "")],
    "lines for the shell": [
        ("!echo 'it is' | tr a-z A-Z", "IT IS\n"),
        (
            "print('before')\n!echo \"it's\" here > said; cat said\nfor n in range(2):\n    !echo $((6 * 7))",
            "before\nit's here\n42\n42\n",
        ),
        (
            '%matplotlib inline\nx = 3; text = """\n!echo kept\n%matplotlib inline\n"""\nprint(text)',
            "\n!echo kept\n%matplotlib inline\n\n",
        ),
        ("x\n%config InlineBackend.figure_format = 'svg'\n!false", ""),
    ],
    "what shows values before the last": [("display(1, 'two')\n3", "1\n'two'\n3\n")],
    "its output, whatever was done to it": [
        ("import os; os.close(1); os.close(2)", ""),
        ("print('there')", "there\n"),
        ("import io, sys; sys.stdout = io.StringIO(); sys.__stdout__.close()", ""),
        ("print('again')", "again\n"),
        ("sys.stdout = sys.__stdout__ = None", ""),
        ("print('still')", "still\n"),
    ],
    "the lines of its functions and classes": [
        ("from inspect import getsource\ndef f():\n    class A: x = 1\n    return A", ""),
        ("class A:\n    class B: x = 2", ""),
        ("class A(A):\n    x = 3\nawait asyncio.sleep(0) if (asyncio := __import__('asyncio')) else 0", ""),
        ("print(getsource(f))", "def f():\n    class A: x = 1\n    return A\n\n"),
        ("print(getsource(f()), getsource(A.B), getsource(A))", SOURCES),
    ],
    "no file of its own": [
        ("'__file__' in globals(), __name__, __spec__", "(False, '__main__', None)\n"),
        ("import os; [name for name in os.listdir() if name.endswith('.py')]", "[]\n"),
    ],
    "what the processes that it spawns import": [
        ("size = open('beside.py', 'w').write('def square(x): return x * x')\nimport beside, multiprocessing", ""),
        ("spawn = multiprocessing.get_context('spawn')", ""),
        ("with spawn.Pool(1) as pool: print(pool.map(beside.square, [3]))", "[9]\n"),
        ("with spawn.Pool(1) as pool: print(pool.map(beside.square, [4]))", "[16]\n"),
        ("del pool; import gc, os; os.remove('beside.py'); found = gc.collect()", ""),
    ],
    "memory that its processes share": [
        ("from multiprocessing.shared_memory import SharedMemory\nm = SharedMemory(create=True, size=9)", ""),
        ("n = SharedMemory(create=True, size=9); m.buf[0] = 3; print(m.buf[0])", "3\n"),
        ("for each in m, n: each.close(); each.unlink()", ""),
    ],
    "itself, when a child of it goes on with the program": [
        ("import os, time\npid = os.fork()\nif pid: time.sleep(0.2); who = 'parent'\nelse: who = 'child'", ""),
        ("who", "'parent'\n"),
    ],
}
"""What is kept: programs in turn, and what each prints."""


class TestANotebook:
    @pytest.mark.parametrize("kept", SEQUENCES)
    async def test_keeps(self, walled: Cell, kept: str) -> None:
        for source, printed in SEQUENCES[kept]:
            outcome = await tell(walled, source)
            assert (outcome.stdout.text, outcome.stderr.text) == (printed, "")

    async def test_shows_errors_through_the_programs_they_came_by(self, walled: Cell) -> None:
        await tell(walled, "def g():\n    raise ValueError('in g')")
        outcome = await tell(walled, "x = 1\ng()")
        assert outcome.exit_code == 1
        assert outcome.stderr.text.count("File ") == 2
        assert "line 2, in <module>\n    g()" in outcome.stderr.text
        assert "line 2, in g\n    raise ValueError('in g')" in outcome.stderr.text

    async def test_shows_errors_of_what_is_awaited_without_the_loop(self, walled: Cell) -> None:
        outcome = await tell(walled, "async def bad(): raise ValueError('x')\nawait bad()")
        assert outcome.stderr.text.count("File ") == 2

    async def test_shows_a_caret_below_what_cannot_be_read(self, walled: Cell) -> None:
        outcome = await tell(walled, "for i in range(3) print(i)")
        assert outcome.stderr.text.endswith("^^^^^\nSyntaxError: invalid syntax\n")

    async def test_shows_the_error_of_the_source_as_it_was_written(self, walled: Cell) -> None:
        outcome = await tell(walled, "!echo begun\nx = = 1")
        assert (outcome.exit_code, outcome.stdout.text) == (1, "")
        assert "line 1\n    !echo begun" in outcome.stderr.text
        assert "%unheard of" in (await tell(walled, "%unheard of")).stderr.text

    async def test_goes_on_after_an_interrupt_of_its_own(self, walled: Cell) -> None:
        await tell(walled, "x = 5")
        assert "KeyboardInterrupt" in (await tell(walled, "raise KeyboardInterrupt")).stderr.text
        assert (await tell(walled, "x")).stdout.text == "5\n"

    async def test_has_no_functions_of_its_own_for_the_processes_that_it_spawns(self, walled: Cell) -> None:
        await tell(walled, "from concurrent.futures import ProcessPoolExecutor as Pool\nimport multiprocessing as m")
        await tell(walled, "print('begun')\ndef square(x): return x * x")
        outcome = await tell(walled, "Pool(1, m.get_context('spawn')).submit(square, 3).result()")
        assert "Can't get attribute 'square' on <module '__main__'" in outcome.stderr.text
        assert "BrokenProcessPool" in outcome.stderr.text
        assert outcome.stdout.text == "", "no program was run again"

    async def test_ends_as_any_program_does_when_it_exits(self, walled: Cell) -> None:
        await tell(
            walled, "import atexit; atexit.register(print, 'handled')\nfile = open('kept', 'w'); file.write('x')"
        )
        outcome = await tell(walled, "exit(3)")
        assert (outcome.exit_code, outcome.stdout.text) == (3, "handled\n")
        assert await walled.read_file("kept") == b"x"

    async def test_says_why_it_exits(self, walled: Cell) -> None:
        outcome = await tell(walled, "import sys; sys.exit('no good')")
        assert (outcome.exit_code, outcome.stderr.text) == (1, "no good\n")

    async def test_leaves_programs_of_their_own_alone(self, walled: Cell) -> None:
        await tell(walled, "import os; os.environ['MINE'] = '1'; os.makedirs('s', exist_ok=True); os.chdir('s')")
        outcome = await run(walled, "import os; print(os.environ.get('MINE'), os.getcwd())")
        assert outcome.stdout.text == "None /workspace\n"
