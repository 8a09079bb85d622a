"""PID 1 of a container with a server in it: the container ends with the server, or with whoever speaks to it.

Run as `python3 -c <this text> <command> [argument …]`, with the standard library of Python 3.9 or later only. It never
stands between the pipes: a pipe tells that its other end is gone without being read.
"""

import os
import select
import signal
import sys
import time

GRACE_S = 1.0
"""How long the server has to end itself once nobody speaks to it any more."""
NOT_STARTED = 127


def main(command):  # type: (list[str]) -> int
    """Run `command` and return its exit code; 127 if it could not be started."""
    wake = _wake_pipe()
    child = os.fork()
    if child == 0:
        _become(command)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    poll = select.poll()
    poll.register(0, 0)
    poll.register(wake, select.POLLIN)
    until = None
    while until is None or time.monotonic() < until:
        for descriptor, _ in poll.poll(None if until is None else 50):
            if descriptor == wake:
                os.read(wake, 4096)
            else:
                poll.unregister(0)
                until = time.monotonic() + GRACE_S
        code = _reap(child)
        if code is not None:
            return code
    return 128 + signal.SIGKILL


def _become(command):  # type: (list[str]) -> None
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - what the operator declared
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(NOT_STARTED)


def _reap(child):  # type: (int) -> int | None
    """Take along all that have ended; return the server's exit code if it has."""
    code = None
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return code
            if pid == child:
                code = os.waitstatus_to_exitcode(status) % 256
    except ChildProcessError:
        return code


def _wake_pipe():  # type: () -> int
    """Return a descriptor that becomes readable whenever a child ends."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
