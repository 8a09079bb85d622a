"""How a command ends whose reader has left."""

import subprocess
import sys

import pytest

WRITERS = {
    "table": "from rich.console import Console; Console().print('x' * 9)",
    "answer": "import sys; sys.stdout.write('x' * 9)",
    "lines": "import sys; sys.stdout.write('x' * 9); sys.stdout.flush()",
}
PROGRAM = """
import sys
from natscope.cli.outcome import run
async def write():
    {writer}
sys.stdin.read()
sys.exit(run(write()))
"""


class TestClosedPipe:
    @pytest.mark.parametrize("writer", WRITERS)
    def test_every_writer_ends_quietly_with_0(self, writer: str) -> None:
        command = [sys.executable, "-c", PROGRAM.format(writer=WRITERS[writer])]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            assert process.stdout is not None
            process.stdout.close()
            process.stdout = None
            _, told = process.communicate(b"", timeout=120)
        assert (process.returncode, told) == (0, b"")
