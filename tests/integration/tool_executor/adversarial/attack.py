"""What an attack is: a program that prints GOT THROUGH where nothing holds it, and the control that lets it succeed."""

from dataclasses import dataclass
from typing import Literal

from services.tool_executor.cells import Language

THROUGH = "GOT" + " THROUGH"
WORD = "print('GOT' + ' THROUGH', flush=True)"
"""A program that says so; the words never stand in its source as they are printed."""

Control = Literal["plain", "trusted", "nobody"]
"""`plain`: root in a container as the engine makes it · `trusted`: the same with the kernel's calls let through ·
`nobody`: a plain container's uid 1000."""

IGNORE_SIGNALS = """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
"""
ONCE_DEAF = (
    "sh",
    "-c",
    '"$@" & n=0\nuntil grep -q "^SigIgn.*[4-7c-f]...$" /proc/$!/status || [ $((n += 1)) -gt 99 ]; do sleep 0.05; done\n'
    "kill $!; wait $!",
    "sh",
)
"""Sends a program the signal to end, once it ignores it."""
HEARD_OUT = ("sh", "-c", '"$@" | cat', "sh")
"""Goes on for as long as anything of the program can print: the engine may hear nothing after its first process."""
LOOP = f"""
import time
while time.process_time() < 1.5: pass
{WORD}
"""


@dataclass(frozen=True)
class Attack:
    """A program, and a second one that looks for what the first left, if the first cannot tell by itself."""

    name: str
    source: str
    probe: str = ""
    language: Language = "python"
    seconds: float = 10
    control: Control = "plain"
    wrapper: tuple[str, ...] = ()
    """What the control starts the program with."""
    stdin: bytes = b""
    """What the control gives it to read."""
    one_interpreter: bool = False
    """The control runs both programs in one interpreter."""
