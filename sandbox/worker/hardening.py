"""What a process of the cell gives up before anything foreign runs: capabilities, system calls, resources."""

from __future__ import annotations

import _signal  # pyright: ignore[reportMissingImports] - `signal` names each number by an enumeration, which takes long
import ctypes
import os
import resource
import signal
from typing import Any

from .syscalls import counted_memory_filter, deny_filter

_LIBC = ctypes.CDLL(None, use_errno=True)
_DEATH_SIGNAL, _SET_DUMPABLE, _CAP_DROP, _NO_NEW_PRIVILEGES, _SECCOMP, _AMBIENT = 1, 4, 24, 38, 22, 47
_FILTER_MODE, _AMBIENT_CLEAR = 2, 4
_READ_ONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND = 1, 2, 4, 8, 32, 4096
_ENDS_ALONE = 1
_LAST_CAPABILITY = 63
_INTERRUPT = int(signal.SIGINT)
_CHILD, _IGNORED = int(signal.SIGCHLD), (int(signal.SIGPIPE), int(signal.SIGXFSZ))
_FILTER, _COUNTED_MEMORY = deny_filter(), counted_memory_filter()


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


class _Action(ctypes.Structure):
    """The C library's `struct sigaction`, as it is on the machines that have a filter."""

    _fields_ = [
        *(("handler", ctypes.c_void_p), ("mask", ctypes.c_ubyte * 128)),
        *(("flags", ctypes.c_int), ("restorer", ctypes.c_void_p)),
    ]


def set_dumpable(on: bool) -> None:
    """Say whether other processes of the same user may attach to this one or read its memory."""
    _prctl(_SET_DUMPABLE, int(on))


def drop_privileges() -> None:
    """Give up every capability, now and for every program started later."""
    _prctl(_NO_NEW_PRIVILEGES, 1)
    _LIBC.prctl(_AMBIENT, _AMBIENT_CLEAR, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _check(_LIBC.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def bound_capabilities() -> None:
    """See to it that no program started later can gain a capability; needs CAP_SETPCAP to have an effect."""
    for capability in range(_LAST_CAPABILITY + 1):
        _LIBC.prctl(_CAP_DROP, capability, 0, 0, 0)


def refuse_system_calls() -> None:
    """Load the deny filter; inherited by every descendant and never undone."""
    if _FILTER:
        _load(_FILTER)


def mount_tmpfs(path: str, *, size_bytes: int, files: int, owner: int, mode: str) -> None:
    """Put an empty file system of `size_bytes` and at most `files` files on `path`, owned by `owner`."""
    options = f"size={size_bytes},nr_inodes={files},mode={mode},uid={owner},gid={owner}"
    done = _LIBC.mount(b"tmpfs", os.fsencode(path), b"tmpfs", ctypes.c_ulong(_NOSUID | _NODEV), options.encode())
    _check(done, f"mount {path}")


def mount_terminals(path: str, *, most: int) -> None:
    """Put pseudo terminals on `path` that are known here alone, at most so many at a time."""
    options, flags = f"newinstance,ptmxmode=0666,mode=0600,max={most}", ctypes.c_ulong(_NOSUID | _NOEXEC)
    _check(_LIBC.mount(b"devpts", os.fsencode(path), b"devpts", flags, options.encode()), f"mount {path}")


def make_read_only(path: str) -> None:
    """Let nobody write below `path` any more, as far as it is of one file system."""
    if not os.path.ismount(path):
        place = os.fsencode(path)
        _check(_LIBC.mount(place, place, None, ctypes.c_ulong(_BIND), None), f"bind {path}")
    flags = ctypes.c_ulong(_READ_ONLY | _NOSUID | _NODEV | _REMOUNT | _BIND)
    _check(_LIBC.mount(None, os.fsencode(path), None, flags, None), f"remount {path}")


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies."""
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)


def become(user: int) -> None:
    """Change to the unprivileged `user` for good, where this process is not that user already."""
    if os.getuid() != user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def limit_resources(limits: dict[str, Any]) -> None:
    """Apply the limits of one run that the kernel keeps for a process.

    With `counted_memory`, memory that is not part of a process's size is refused, for nothing else would bound it.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, limits.get("open_files"))
    _limit(resource.RLIMIT_FSIZE, limits.get("file_bytes"))
    _limit(resource.RLIMIT_NPROC, limits.get("processes"))
    _limit(resource.RLIMIT_AS, limits.get("address_space_bytes"))
    _limit(resource.RLIMIT_MEMLOCK, 65536)
    _limit(resource.RLIMIT_MSGQUEUE, 0)
    _limit_cpu(limits.get("cpu_s"))
    if limits.get("counted_memory"):
        _load(_COUNTED_MEMORY)


def yield_to_the_worker() -> None:
    """Let the worker have the processor first."""
    os.nice(10)


def die_first() -> None:
    """Let the out-of-memory killer choose this process before the worker; only one that is dumpable can say so."""
    try:
        knob = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(knob, b"1000")
    finally:
        os.close(knob)


def reset_signals() -> None:
    """Let every signal do what it does in an interpreter that has just started."""
    _signal.set_wakeup_fd(-1)
    _signal.signal(_CHILD, _signal.SIG_DFL)
    _signal.signal(_INTERRUPT, _signal.default_int_handler)


def hear_of_ends_alone() -> None:
    """Have SIGCHLD tell of children that end, and not of those that are stopped or go on. Source: sigaction(2)."""
    if not _FILTER:
        return
    action = _Action()
    _check(_LIBC.sigaction(_CHILD, None, ctypes.byref(action)), "sigaction")
    action.flags |= _ENDS_ALONE
    _check(_LIBC.sigaction(_CHILD, ctypes.byref(action), None), "sigaction")


def heed_signals() -> None:
    """Let the signals that Python ignores do what they do in any other program; one started from here inherits it."""
    for number in _IGNORED:
        _signal.signal(number, _signal.SIG_DFL)


def _load(steps: bytes) -> None:
    program = _FilterProgram(len(steps) // 8, steps)
    _check(_LIBC.prctl(_SECCOMP, _FILTER_MODE, ctypes.byref(program), 0, 0), "seccomp")


def _limit(kind: int, value: int | None) -> None:
    """Limit what is not limited so already: gVisor lets nobody set a limit that it has no use for."""
    if value is None:
        return
    soft, hard = resource.getrlimit(kind)
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    if (soft, hard) != (ceiling, ceiling):
        resource.setrlimit(kind, (ceiling, ceiling))


def _limit_cpu(seconds: float | None) -> None:
    if seconds is not None:
        whole = max(1, int(seconds + 0.999))
        resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))


def _prctl(option: int, value: int) -> None:
    _check(_LIBC.prctl(option, value, 0, 0, 0), f"prctl {option}")


def _check(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
