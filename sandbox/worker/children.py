"""Start the waiting child of the next run, and end everything that a run has left behind."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from . import hardening
from .program import Order, wait_for_order

_REAP_WITHIN_S = 5.0


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

    def __init__(self, pid: int, go: int, body: int, stdout: int, stderr: int) -> None:
        self.pid, self._go, self._body = pid, go, body
        self.stdout, self.stderr = stdout, stderr

    def give(self, order: bytes) -> None:
        """Wake the child up with its program."""
        os.pwrite(self._body, order, 0)
        os.write(self._go, b"!")
        self._close_order()

    def close(self) -> None:
        """Close the worker's ends of what the child was given."""
        os.close(self.stdout)
        os.close(self.stderr)

    def _close_order(self) -> None:
        os.close(self._go)
        os.close(self._body)


def start_child(folder: str) -> Child:
    """Fork the child of the next run; in the child itself this never returns."""
    go_out, go_in = os.pipe()
    stdout_out, stdout_in = os.pipe()
    stderr_out, stderr_in = os.pipe()
    body = os.memfd_create("order")
    pid = os.fork()
    if pid == 0:
        wait_for_order(Order(go_out, body, stdout_in, stderr_in), folder=folder)
    for theirs in (go_out, stdout_in, stderr_in):
        os.close(theirs)
    for ours in (stdout_out, stderr_out):
        os.set_blocking(ours, False)
    return Child(pid, go_in, body, stdout_out, stderr_out)


def reap(wanted: int) -> Ended | None:
    """Collect every dead process; return how `wanted` ended if it is among them."""
    ended = None
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        if pid == wanted:
            ended = Ended(status, usage.ru_utime + usage.ru_stime)


def end_everything(wanted: int) -> Ended | None:
    """Kill all processes but this one, wait until none is left, and return how `wanted` ended if it still ran.

    A signal to every process reaches those that are being forked too, so no fork bomb outruns it.
    """
    ended = None
    give_up_at = time.monotonic() + _REAP_WITHIN_S
    while True:
        _kill_all()
        ended = reap(wanted) or ended
        if _alone():
            return ended
        if time.monotonic() > give_up_at:
            raise CellIsLost("a process survives being killed")
        time.sleep(0.0005)


def harden_worker(prepare: dict[str, Any] | None) -> None:
    """Give up every privilege; where no engine did (`prepare`), set the cell's folders up before."""
    if prepare is not None:
        _prepare(prepare)
    hardening.drop_privileges()
    hardening.set_dumpable(False)


def _prepare(prepare: dict[str, Any]) -> None:
    user = prepare["user"]
    for mount in prepare["mounts"]:
        hardening.mount_tmpfs(
            mount["path"], size_bytes=mount["size_bytes"], files=mount["files"], owner=user, mode=mount["mode"]
        )
    for path, text in prepare["texts"].items():
        with open(path, "w") as file:
            file.write(text)
    for path in prepare["read_only"]:
        hardening.make_read_only(path)
    hardening.bound_capabilities()
    hardening.become(user)
    hardening.die_with_parent()


def _kill_all() -> None:
    if os.getpid() != 1:
        raise CellIsLost("not alone in a process namespace: there is no telling what a signal to everything would hit")
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return


def _alone() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False
