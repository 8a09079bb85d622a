"""A fresh program finds what Python gives a script, so that what was written for any other sandbox runs here too."""

import signal

import pytest

from services.tool_executor.cells import Cell
from services.tool_executor.docker_settings import DockerSettings
from services.tool_executor.settings import Settings
from tests.integration.tool_executor.conformance.running import run

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRINTS = {
    "its own file name": (
        "import os; print(__file__, os.path.dirname(os.path.abspath(__file__)))",
        "main.py /workspace",
    ),
    "its own file": (
        "import subprocess, sys\nif sys.argv[1:]: print('child')\n"
        "else:\n    print(open(__file__).readline(), end='', flush=True)\n"
        "    subprocess.run([sys.executable, __file__, 'child'])",
        "import subprocess, sys\nchild",
    ),
    "the name of a main program": ("if __name__ == '__main__': print('main')", "main"),
    "itself as a module": ("import __main__; __main__.x = 3; print(x)", "3"),
    "no arguments": (
        "import argparse, sys\np = argparse.ArgumentParser(); p.add_argument('--n', type=int, default=3)\n"
        "print(sys.argv, p.parse_args().n, p.prog)",
        "['main.py'] 3 main.py",
    ),
    "the source of its functions": (
        "import inspect\ndef f(x): return x\nprint(inspect.getsource(f), end='')",
        "def f(x): return x",
    ),
    "the source of its classes": (
        "import inspect\nclass A:\n    x = 1\nprint(inspect.getsource(A), end='')",
        "class A:\n    x = 1",
    ),
    "classes that can be pickled": (
        "import pickle\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
        "print(pickle.loads(pickle.dumps(P(1))))",
        "P(x=1)",
    ),
    "type hints written as text": (
        "from __future__ import annotations\nimport typing\nclass A:\n    x: list[A]\n"
        "print(typing.get_type_hints(A)['x'])",
        "list[__main__.A]",
    ),
    "a mark of the order of bytes": ("\ufeffprint('marked')", "marked"),
    "lines that end as on Windows": ("if True:\r\n    print('indented')\r\n", "indented"),
    "nothing to do": ("# only a comment", ""),
    "help": (
        "help(len)",
        "Help on built-in function len in module builtins:\n\n"
        "len(obj, /)\n    Return the number of items in a container.",
    ),
    "files without a name": ("import tempfile\nwith tempfile.TemporaryFile() as f: print(f.write(b'abc'))", "3"),
    "a database": (
        "import sqlite3\nc = sqlite3.connect('a.db')\nc.execute('create table t(x)')\n"
        "c.execute('insert into t values(7)'); c.commit(); print(c.execute('select x from t').fetchall())",
        "[(7,)]",
    ),
    "packages of its own": (
        "import os\nos.makedirs('pkg', exist_ok=True)\n"
        "for name, text in {'__init__': '', 'a': 'from .b import v', 'b': 'v = 7'}.items():\n"
        "    open(f'pkg/{name}.py', 'w').write(text)\nfrom pkg.a import v; print(v)",
        "7",
    ),
    "tasks": (
        "import asyncio\nasync def main():\n    p = await asyncio.create_subprocess_exec('echo', 'hi', stdout=-1)\n"
        "    print((await p.communicate())[0])\nasyncio.run(main())",
        "b'hi\\n'",
    ),
    "workers that are forked": (
        "from multiprocessing import Manager, Pool\ndef f(x): return x * x\nif __name__ == '__main__':\n"
        "    with Pool(2) as pool: print(pool.map(f, [2, 3]))\n    with Manager() as m: print(m.dict(a=1))",
        "[4, 9]\n{'a': 1}",
    ),
    "workers that are spawned": (
        "import multiprocessing\ndef f(x): return x * x\nif __name__ == '__main__':\n"
        "  for how in 'spawn', 'forkserver':\n"
        "    with multiprocessing.get_context(how).Pool(2) as pool: print(pool.map(f, [2, 3]))",
        "[4, 9]\n[4, 9]",
    ),
    "memory shared between processes": (
        "from multiprocessing.shared_memory import SharedMemory\nm = SharedMemory(create=True, size=99); m.buf[0] = 5\n"
        "n = SharedMemory(m.name); print(n.buf[0]); n.close(); m.close(); m.unlink()",
        "5",
    ),
    "threads by the hundred": (
        "import threading\ne = threading.Event()\nts = [threading.Thread(target=e.wait) for _ in range(110)]\n"
        "for t in ts: t.start()\nprint(threading.active_count()); e.set()",
        "111",
    ),
    "terminals of its own": (
        "import os, pty, subprocess\nour, their = pty.openpty()\nsubprocess.run(['tty'], stdin=their, stdout=their)\n"
        "print(os.read(our, 99).decode().startswith('/dev/pts/'), pty.spawn(['true']))",
        "True 0",
    ),
    "alarms": (
        "import signal, time\nsignal.signal(signal.SIGALRM, lambda *_: print('rang'))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.2); print('slept')",
        "rang\nslept",
    ),
    "a server within reach of itself": (
        "import http.server as h, threading, urllib.request\nclass Q(h.SimpleHTTPRequestHandler):\n"
        "    def log_message(self, *_): pass\ns = h.HTTPServer(('127.0.0.1', 0), Q)\n"
        "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
        "print(urllib.request.urlopen(f'http://127.0.0.1:{s.server_port}/').status)",
        "200",
    ),
    "tests of its own": (
        "def f():\n    '''\n    >>> f()\n    2\n    '''\n    return 2\nimport doctest; print(doctest.testmod())",
        "TestResults(failed=0, attempted=1)",
    ),
    "a program beside it under its own name": (
        "import subprocess, sys\nversion = 'import sys; print(sys.version)'\n"
        "names = ('python', 'python3', sys.executable)\n"
        "told = {subprocess.check_output([name, '-c', version], text=True) for name in names}\n"
        "print(told == {sys.version + '\\n'})",
        "True",
    ),
    "its names while its things end": (
        "class A:\n    def __del__(self): print('ended', NAME)\nNAME = 'a'; a = A()",
        "ended a",
    ),
    "nobody at the other end as an error": (
        "import os\nr, w = os.pipe(); os.close(r)\ntry: os.write(w, b'x')\nexcept BrokenPipeError: print('broken')",
        "broken",
    ),
    "a file that grows too large as an error": (
        "import os, resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9))\n"
        "try: os.truncate(os.open('large', os.O_CREAT | os.O_RDWR), 99)\nexcept OSError as e: print(e.strerror)",
        "File too large",
    ),
    "modules beside it wherever it goes": (
        "import os; open('beside.py', 'w').write('v = 7')\nos.chdir('/tmp'); import beside; print(beside.v)",
        "7",
    ),
    "streams with names and modes": (
        "import sys; print(*[(s.name, s.mode) for s in (sys.stdin, sys.stdout, sys.stderr)], sys.stdin.buffer.peek(1))",
        "('<stdin>', 'r') ('<stdout>', 'w') ('<stderr>', 'w') b''",
    ),
    "what every script has": (
        "print(__annotations__, __cached__, __package__, copyright is None)",
        "{} None None False",
    ),
    "a tracer that outlives it": (
        "import sys\ndef trace(*_): return trace\nsys.settrace(trace); print('traced')",
        "traced",
    ),
}
"""What a program finds: the program, and what it prints."""

WHOAMI = "import os, pwd, subprocess; subprocess.run('whoami'); print(pwd.getpwuid(os.getuid()).pw_dir)"
HOSTS = "import socket; print(*map(socket.gethostbyname, ('localhost', socket.gethostname())))"
FAILS = {
    "the line, whatever characters are above it": (
        "x = 'a\u2028b\x0c'\ny = 1\nraise ValueError('here')",
        1,
        "line 3, in <module>\n    raise ValueError('here')",
    ),
    "a caret below what cannot be read": (
        "x = 1\nprint('a'\n",
        1,
        "line 2\n    print('a'\n         ^\nSyntaxError: '(' was never closed",
    ),
    "the line of what only the compiler refuses": (
        "x = 1\nreturn x\n",
        1,
        "line 2\n    return x\n    ^^^^^^^^\nSyntaxError",
    ),
    "the line of what ends a thread": (
        "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='T')\nt.start(); t.join(); exit(3)",
        3,
        "line 2, in <lambda>\n    t = threading.Thread(target=lambda: 1 / 0, name='T')\n",
    ),
    "the line of what an object raised as it ended": (
        "class A:\n    def __del__(self): 1 / 0\nA()",
        0,
        "line 2, in __del__\n    def __del__(self): 1 / 0\n",
    ),
    "the line of what an exit handler raised": (
        "import atexit\natexit.register(lambda: 1 / 0)",
        0,
        "line 2, in <lambda>\n    atexit.register(lambda: 1 / 0)\n",
    ),
    "an indentation that is missing": ("def f():\nreturn 1", 1, "IndentationError: expected an indented block"),
    "what an error was caused by": (
        "try: 1 / 0\nexcept ZeroDivisionError as e: raise RuntimeError('second') from e",
        1,
        "The above exception was the direct cause of the following exception",
    ),
    "the errors of a group": (
        "raise ExceptionGroup('many', [ValueError(1), TypeError('x')])",
        1,
        "many (2 sub-exceptions)",
    ),
    "what a hook for errors raises, and the error": (
        "import sys\ndef hook(*_): raise KeyError('hook')\nsys.excepthook = hook\n1 / 0",
        1,
        "ZeroDivisionError: division by zero",
    ),
    "the end of standard input": ("input('name? ')", 1, "EOFError: EOF when reading a line"),
    "wrong arguments": (
        "import argparse\np = argparse.ArgumentParser(); p.add_argument('x'); p.parse_args()",
        2,
        "usage: main.py",
    ),
    "warnings": ("import warnings; warnings.warn('old', DeprecationWarning)", 0, "main.py:1: DeprecationWarning: old"),
    "logging": ("import logging; logging.warning('low on %s', 'fuel')", 0, "WARNING:root:low on fuel"),
    "tests that fail": (
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(1, 2)\nunittest.main()",
        1,
        "AssertionError: 1 != 2",
    ),
    "an error after standard error was closed": ("import os\nos.close(2)\n1 / 0", 1, ""),
}
"""What standard error shows: the program, its exit code, and a part of what is shown."""

ENDS = (
    *("raise KeyboardInterrupt", "class K(KeyboardInterrupt): pass\nraise K", "import os; os.kill(os.getpid(), 2)"),
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); raise KeyboardInterrupt",
    "import os\nif os.fork() == 0: raise KeyboardInterrupt\nprint(os.wait()[1])",
    "import atexit; atexit.register(print, 'handled'); open('/tmp/f', 'w').write('x'); raise KeyboardInterrupt",
    "import sys; sys.excepthook = lambda *_: print('hooked'); raise KeyboardInterrupt",
    *("import sys; sys.excepthook = lambda *_: sys.exit(7); 1 / 0", "import sys; sys.excepthook = 0; 1 / 0"),
    "import os, threading, time; threading.Thread(target=lambda: (time.sleep(0.3), os.kill(os.getpid(), 2))).start()",
    *("import os; os.abort()", "import ctypes; ctypes.string_at(0)", "import os; os.kill(os.getpid(), 40)"),
    *("import os; os._exit(256 + 7)", "import os; os._exit(-1)", "raise SystemExit", "exit('words')", "exit('')"),
    *("exit(2**31)", "exit(2**40 + 3)", "exit(2**63)", "exit(-2**100)", "exit(0.0)", "exit([])", "exit(b'')"),
    *(
        "e = SystemExit(3); e.code = 5; raise e",
        "raise SystemExit(1, 2)",
        "raise BaseExceptionGroup('', [SystemExit(3)])",
    ),
    "class Code:\n    def __str__(self): raise ValueError\nexit(Code())",
    *("import sys; sys.stderr = None; exit('words')", "import sys; del sys.stderr, sys.stdout; exit(3)"),
    *("import atexit; atexit.register(lambda: 1 / 0); exit(3)", "import atexit; atexit.register(exit, 5)"),
    *("import sys; sys.stdout = open('/dev/full', 'w'); print('x')", "file = open('/dev/full', 'w'); file.write('x')"),
    *(
        "class A:\n    def __del__(self): o.write('x')\nimport sys; a = A(); o = sys.stdout = open('/tmp/f', 'w')",
        "import sys, threading; del sys.modules['threading']; exit(3)",
        "import sys; sys.stdout.close()",
        "import sys; sys.stdout.detach()",
        "import io; t = io.TextIOWrapper(io.BytesIO()); t.detach()",
    ),
)
"""Programs that end each in a way of its own."""
PLAIN = """
import subprocess, sys
open('plain.py', 'w').write({source!r})
done = subprocess.run([sys.executable, 'plain.py'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
print(done.returncode, done.stdout)
"""
"""Runs a program as anybody does, without the worker."""
EXITS = {"exit(0)": 0, "exit(True)": 1, "exit(-1)": 255, "exit(300)": 44, "exit(None)": 0, "import os; os._exit(3)": 3}


class TestAScript:
    @pytest.mark.parametrize("found", PRINTS)
    async def test_finds(self, walled: Cell, found: str) -> None:
        source, printed = PRINTS[found]
        outcome = await run(walled, source)
        assert (outcome.stdout.text.rstrip("\n"), outcome.stderr.text, outcome.exit_code) == (printed, "", 0)

    @pytest.mark.parametrize("shown", FAILS)
    async def test_shows_on_standard_error(self, walled: Cell, shown: str) -> None:
        source, exit_code, part = FAILS[shown]
        outcome = await run(walled, source)
        assert outcome.exit_code == exit_code
        assert part in outcome.stderr.text
        assert "/opt/cell" not in outcome.stderr.text

    @pytest.mark.parametrize("end", EXITS)
    async def test_ends_with_the_code_it_names(self, walled: Cell, end: str) -> None:
        assert (await run(walled, end)).exit_code == EXITS[end]

    @pytest.mark.parametrize("source", ENDS)
    async def test_ends_as_python_itself_ends_it(self, walled: Cell, source: str) -> None:
        outcome = await run(walled, source)
        status = outcome.exit_code if outcome.signal is None else -outcome.signal
        plain = await run(walled, PLAIN.format(source=source))
        assert f"{status} {outcome.stdout.text.encode()!r}\n" == plain.stdout.text
        assert "/opt/cell" not in outcome.stderr.text

    async def test_that_is_interrupted_is_told_as_that(self, walled: Cell) -> None:
        outcome = await run(walled, "raise KeyboardInterrupt('enough')")
        assert (outcome.exit_code, outcome.signal) == (None, signal.SIGINT)
        assert outcome.stderr.text.endswith("\nKeyboardInterrupt: enough\n")

    async def test_tells_once_of_output_that_could_not_be_written_and_writes_all_other(self, walled: Cell) -> None:
        source = "import sys\nsys.kept = open('kept', 'w'); sys.kept.write('kept')\n"
        outcome = await run(walled, f"{source}sys.stdout = open('/dev/full', 'w'); print('lost')")
        assert outcome.stderr.text.count("Exception ignored in: <_io.TextIOWrapper name='/dev/full'") == 1
        assert outcome.stderr.text.count("No space left on device") == 1
        assert await walled.read_file("kept") == b"kept"

    async def test_knows_itself_by_name(self, walled: Cell) -> None:
        outcome = await run(walled, "import getpass, os; print(getpass.getuser(), os.path.expanduser('~'))")
        assert outcome.stdout.text == "cell /workspace\n"

    async def test_is_known_to_the_system_by_name(self, walled: Cell, request: pytest.FixtureRequest) -> None:
        if request.node.callspec.params["walled"] == "docker" and DockerSettings.of(Settings()).doorsteps is None:
            pytest.skip("Docker's cells get names by a door alone, and none can be had from here")
        outcome = await run(walled, WHOAMI)
        assert (outcome.stdout.text, outcome.stderr.text) == ("cell\n/workspace\n", "")

    async def test_knows_its_place_by_name(self, walled: Cell) -> None:
        outcome = await run(walled, HOSTS)
        assert (outcome.stdout.text, outcome.stderr.text) == ("127.0.0.1 127.0.0.1\n", "")

    async def test_leaves_no_file_of_its_own_but_what_it_makes_of_it(self, walled: Cell) -> None:
        await run(walled, "print(open(__file__).read())")
        assert not await walled.has_file("main.py")
        await run(walled, "import sys; open(sys.argv[0], 'w').write('mine')")
        assert await walled.read_file("main.py") == b"mine"
        outcome = await run(walled, "import os; print(open(__file__).read()); os.remove(__file__)")
        assert outcome.stdout.text == "mine\n"

    async def test_has_nothing_written_through_a_link_of_its_file_s_name(self, walled: Cell) -> None:
        await run(walled, "import os; os.symlink('/workspace/elsewhere', 'main.py')")
        await run(walled, "print(__file__)")
        outcome = await run(walled, "import os; print(os.path.exists('elsewhere')); os.remove('main.py')")
        assert outcome.stdout.text == "False\n"

    async def test_prefers_python_s_own_modules_to_namesakes_that_are_loaded_already(self, walled: Cell) -> None:
        await walled.put_file("json.py", b"raise SystemExit(5)")
        outcome = await run(walled, "import json; print(json.dumps([1]))")
        await walled.remove_files(["json.py"])
        assert outcome.stdout.text == "[1]\n"
