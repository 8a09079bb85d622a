"""Stands over one program: when the program or its owner ends, nothing the program has started is left.

Run by path as a program of its own, with the standard library only: `warden.py <owner's pid> <command> [argument …]`.
The program has the warden's standard input, output and error; the warden keeps none of them.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator

GRACE_S = 0.5
"""How long the program has to end itself once it is asked to."""
NOT_STARTED = 127
SET_PDEATHSIG, SET_CHILD_SUBREAPER = 1, 36
"""Source: prctl(2)."""
HEARD = (signal.SIGTERM, signal.SIGCHLD)


def main(owner: int, command: list[str]) -> int:
    """Run `command` and return its exit code, negative for a signal; 127 if it could not be started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _ask_kernel(SET_CHILD_SUBREAPER, 1)
    _ask_kernel(SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != owner:
        return NOT_STARTED
    child = os.fork()
    if child == 0:
        _become(command)
    _let_go()
    code = _wait_for(child)
    _sweep(child)
    return code


def _ask_kernel(what: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(what, value)


def _become(command: list[str]) -> None:
    """Turn into the program, in a process group of its own; it dies with its warden."""
    os.setpgid(0, 0)
    _ask_kernel(SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
    try:
        os.execvp(command[0], command)  # noqa: S606 - what the operator declared
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(NOT_STARTED)


def _let_go() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _wait_for(child: int) -> int:
    """Return the program's exit code once it has ended, or was stopped because the owner wants an end or is gone."""
    while True:
        if signal.sigwait(HEARD) == signal.SIGTERM:
            return _stop(child)
        code = _reap(child)
        if code is not None:
            return code


def _stop(child: int) -> int:
    """Ask the program's group to end, and wait a little."""
    _kill(-child, signal.SIGTERM)
    end = time.monotonic() + GRACE_S
    while time.monotonic() < end:
        code = _reap(child)
        if code is not None:
            return code
        time.sleep(0.01)
    return -signal.SIGKILL


def _reap(child: int) -> int | None:
    """Take along all that have ended, among them those that lost their parent; return the program's code if it has."""
    code = None
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == child:
                code = os.waitstatus_to_exitcode(found[1])
    except ChildProcessError:
        pass
    return code


def _sweep(child: int) -> None:
    """Kill what is left. Whoever loses its parent becomes a child of ours, so this comes to an end."""
    _kill(-child, signal.SIGKILL)
    while True:
        for each in _children():
            _kill(each, signal.SIGKILL)
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.005)
        except ChildProcessError:
            return


def _children() -> Iterator[int]:
    if not os.path.isdir("/proc/self"):
        return
    own = str(os.getpid()).encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = file.read().rpartition(b")")[2].split()[1]
            except OSError:
                continue
            if parent == own:
                yield int(name)


def _kill(target: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(target, number)


if __name__ == "__main__":
    ended = main(int(sys.argv[1]), sys.argv[2:])
    os._exit(ended if ended >= 0 else 128 - ended)
