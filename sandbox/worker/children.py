"""Start the waiting child of the next run, and end everything that a run has left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

from . import hardening
from .lasting import Wires
from .program import leave_the_worker

_REAP_WITHIN_S = 30.0
"""Longer than the executor waits for it: what it says of a run is better than that the cell is lost."""
_REPEAT_S = 0.05
"""How long to wait for those that were killed before all is done once more."""
_STAT = 4096
"""Bytes of a line that tells of a process, at most; `open` would take twice as long to read it."""
_SETTLES_WITHIN_S = 2.0
"""How long a process may take to stop, or to end once it was killed: a large one takes its time."""


class CellIsLost(Exception):
    """A process of the cell cannot be ended; the worker leaves and takes the whole cell with it."""


class Ended:
    """How one process ended: its exit code or the signal that killed it, and the CPU time it took."""

    def __init__(self, status: int, cpu_s: float) -> None:
        code = os.waitstatus_to_exitcode(status)
        self.exit_code = code if code >= 0 else None
        self.signal = -code if code < 0 else None
        self.cpu_s = cpu_s


class Child:
    """A forked interpreter without any descriptor of the worker, asleep until it is given its program."""

    def __init__(self, pid: int, go: int, body: int, done: int, stdout: int, stderr: int) -> None:
        self.pid, self._go, self._body, self.done = pid, go, body, done
        self.stdout, self.stderr = stdout, stderr
        self._stopped = False
        self._gives_more = True

    def give(self, order: bytes, *, lasts: bool = False) -> None:
        """Wake the child up with a program; with `lasts` it can be given others later."""
        os.ftruncate(self._body, 0)
        os.pwrite(self._body, order, 0)
        # one that was killed meanwhile is found dead when the run is looked after; the word first: it wakes up once
        with contextlib.suppress(BrokenPipeError):
            os.write(self._go, b"!")
        if self._stopped:
            self._stopped = False
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
        if not lasts:
            self._stop_giving()

    def was_stopped(self) -> None:
        """Note that the end of a run has stopped it."""
        self._stopped = True

    def settle(self) -> None:
        """Return when it is seen to be stopped or to have ended, if it was stopped.

        Until then it may be dying of what a program has done to it with its last breath.
        """
        give_up_at = time.monotonic() + _SETTLES_WITHIN_S
        while self._stopped and not _is_in(self.pid, os.WSTOPPED | os.WEXITED) and time.monotonic() < give_up_at:
            time.sleep(0.0002)

    @property
    def ended(self) -> bool:
        """Whether its process has ended; it is not collected by this."""
        return _is_in(self.pid, os.WEXITED)

    def close(self) -> None:
        """Close the worker's ends of what the child was given."""
        self._stop_giving()
        os.close(self.stdout)
        os.close(self.stderr)

    def _stop_giving(self) -> None:
        if self._gives_more:
            self._gives_more = False
            for descriptor in (self._go, self._body, self.done):
                os.close(descriptor)


def start_child(folder: str, *, stdin: int | None = None) -> Child | Wires:
    """Fork the child of the next run; in the child itself, return what it gets its program by.

    `stdin` is what it reads as such instead of nothing; it is closed here.
    """
    go_out, go_in = os.pipe()
    stdout_out, stdout_in = os.pipe()
    stderr_out, stderr_in = os.pipe()
    done_out, done_in = os.pipe()
    body = os.memfd_create("order")
    pid = os.fork()
    if pid == 0:
        leave_the_worker((go_out, body, done_in), (stdin, stdout_in, stderr_in), folder=folder)
        return Wires(go_out, body, done_in)
    for theirs in (go_out, done_in, stdout_in, stderr_in, *(() if stdin is None else (stdin,))):
        os.close(theirs)
    for ours in (done_out, stdout_out, stderr_out):
        os.set_blocking(ours, False)
    return Child(pid, go_in, body, done_out, stdout_out, stderr_out)


class Reaped:
    """How processes ended that were collected, by their ids."""

    def __init__(self) -> None:
        self._ended: dict[int, Ended] = {}

    def collect(self) -> int:
        """Collect every dead process and return how many there were."""
        count = 0
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return count
            if pid == 0:
                return count
            count += 1
            self._ended[pid] = Ended(status, usage.ru_utime + usage.ru_stime)

    def ended(self, pid: int) -> Ended | None:
        """Return how `pid` ended, if it has and was collected."""
        return self._ended.get(pid)

    @property
    def cpu_s(self) -> float:
        """CPU time of all that were collected."""
        return sum(ended.cpu_s for ended in self._ended.values())


def end_everything(reaped: Reaped, *, but: frozenset[int] = frozenset()) -> None:
    """Kill all processes but this one and those of `but`, which are stopped, and wait until no other is left.

    A signal to every process reaches those that are being forked too, so no fork bomb outruns it. Where some are
    spared, all are stopped by such a signal first, so that nothing forks while the others are killed one by one.
    Those that die need the processor for it, so that nothing is looked at meanwhile but whether they are gone.
    """
    give_up_at = time.monotonic() + _REAP_WITHIN_S
    while True:
        _signal_all(signal.SIGSTOP if but else signal.SIGKILL)
        living = processes(but) if but else []
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reaped.collect()
        if not living and (but or _alone()):
            return
        if time.monotonic() > give_up_at:
            raise CellIsLost("a process survives being killed")
        _wait_for_ends(reaped, living)


def _wait_for_ends(reaped: Reaped, living: list[int]) -> None:
    """Return soon after the last of the `living` has ended, of all where none are named; or before, to try again."""
    again_at = time.monotonic() + _REPEAT_S
    named = bool(living)
    while time.monotonic() < again_at:
        time.sleep(0.0005)
        reaped.collect()
        while living and not is_alive(living[-1]):
            living.pop()
        if not living and (named or _alone()):
            return


def processes(but: frozenset[int] = frozenset()) -> list[int]:
    """Return the ids of all living processes but this one and those of `but`."""
    spared = but | {os.getpid()}
    found = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [pid for pid in found if pid not in spared and is_alive(pid)]


def is_alive(pid: int) -> bool:
    """Return whether a process is there and has not ended."""
    fields = stat_of(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def stat_of(pid: int) -> list[str]:
    """Return what /proc/pid/stat says of a process, from its state on; nothing if it is gone. Source: proc(5)."""
    try:
        line = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return []
    try:
        return os.read(line, _STAT).rpartition(b")")[2].decode().split()
    except OSError:
        return []
    finally:
        os.close(line)


def harden_worker(prepare: dict[str, Any] | None) -> None:
    """Give up every privilege; where no engine did (`prepare`), set the cell's folders up before."""
    if prepare is not None:
        _prepare(prepare)
    hardening.drop_privileges()
    hardening.refuse_system_calls()
    hardening.set_dumpable(False)


def _prepare(prepare: dict[str, Any]) -> None:
    user = prepare["user"]
    for mount in prepare["mounts"]:
        hardening.mount_tmpfs(
            mount["path"], size_bytes=mount["size_bytes"], files=mount["files"], owner=user, mode=mount["mode"]
        )
    hardening.mount_terminals("/dev/pts", most=prepare["terminals"])
    for path, text in prepare["texts"].items():
        with open(path, "w") as file:
            file.write(text)
    for path in prepare["read_only"]:
        hardening.make_read_only(path)
    hardening.bound_capabilities()
    hardening.become(user)
    hardening.die_with_parent()


def _signal_all(number: int) -> None:
    if os.getpid() != 1:
        raise CellIsLost("not alone in a process namespace: there is no telling what a signal to everything would hit")
    try:
        os.kill(-1, number)
    except ProcessLookupError:
        return


def _is_in(child: int, wanted: int) -> bool:
    """Return whether a child is in a state of those `wanted`, or no more; it stays as it is.

    Stopped is one of which all threads are; one that was sent SIGKILL is not, from that moment on.
    """
    try:
        return os.waitid(os.P_PID, child, wanted | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _alone() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False
