"""Refuse the system calls no program in a cell needs, by a seccomp filter of its own.

The engine's profile (seccomp.json) is an allow-list and holds alone; this filter is the same wall where no engine is.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst; include/uapi/linux/{audit,filter,seccomp}.h.
"""

from __future__ import annotations

import os
import struct

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _NO_SUCH_FAMILY = 1, 38, 97
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NAMESPACES = 0x7E020000
_X32 = 0x40000000
_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: those that a namespace of networks shuts in. AF_VSOCK reaches the host of a
virtual machine whatever namespace it is asked from."""

_NEWER = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "process_madvise": 440,
    "mount_setattr": 442, "open_tree_attr": 467,
}  # fmt: skip

_X86_64 = {
    "ptrace": 101, "syslog": 103, "personality": 135, "pivot_root": 155, "chroot": 161, "acct": 163, "mount": 165,
    "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "init_module": 175, "delete_module": 176,
    "quotactl": 179, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "perf_event_open": 298,
    "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321,
    "userfaultfd": 323, "kexec_load": 246, "iopl": 172, "ioperm": 173, "modify_ldt": 154,
}  # fmt: skip

_AARCH64 = {
    "ptrace": 117, "syslog": 116, "personality": 92, "pivot_root": 41, "chroot": 51, "acct": 89, "mount": 40,
    "umount2": 39, "swapon": 224, "swapoff": 225, "reboot": 142, "init_module": 105, "delete_module": 106,
    "quotactl": 60, "add_key": 217, "request_key": 218, "keyctl": 219, "unshare": 97, "perf_event_open": 241,
    "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
    "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "kexec_file_load": 294, "bpf": 280,
    "userfaultfd": 282, "kexec_load": 104,
}  # fmt: skip

_OF_ANOTHER = {
    "x86_64": (142, 144, 302, 314),
    "aarch64": (118, 119, 261, 274),
}
"""sched_setparam, sched_setscheduler, prlimit64, sched_setattr: refused unless the process is 0, the
caller. The worker has the same user, and a limit or a low rank of its own would be its end."""

_UNCOUNTED = {"x86_64": (29, 68, 319, 447), "aarch64": (186, 194, 279, 447)}
"""shmget, msgget, memfd_create, memfd_secret: memory that belongs to no process."""

_IOCTL = {"x86_64": 16, "aarch64": 29}
_TERMINAL_REQUESTS = (0x5412, 0x541C, 0x5423)
"""TIOCSTI, TIOCLINUX, TIOCSETD: typing in another's name, and parts of the kernel that no program in a cell needs."""

_MACHINES: dict[str, tuple[int, dict[str, int], int, int, int, int]] = {
    "x86_64": (0xC000003E, _X86_64, 56, 435, 41, 141),
    "aarch64": (0xC00000B7, _AARCH64, 220, 435, 198, 140),
}


def deny_filter(machine: str = "") -> bytes:
    """Return the filter as an array of `struct sock_filter`; empty on a machine whose call numbers are not known."""
    machine = machine or os.uname().machine
    if machine not in _MACHINES:
        return b""
    audit, numbers, clone, clone3, socket, setpriority = _MACHINES[machine]
    program = [
        _step(_LOAD, 4),
        _step(_JUMP_EQUAL, audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, 0),
        _step(_JUMP_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, _ERRNO | _ENOSYS),
    ]
    for number in sorted({**numbers, **_NEWER}.values()):
        program += _refuse(number, _EPERM)
    program += _refuse(clone3, _ENOSYS)
    for number in _OF_ANOTHER[machine]:
        program += _refuse_unless_zero(number, arguments=1)
    program += _refuse_unless_zero(setpriority, arguments=2)
    program += _refuse_families(socket)
    program += _refuse_requests(_IOCTL[machine])
    program += _refuse_namespaces(clone)
    program.append(_step(_RETURN, _ALLOW))
    return b"".join(program)


def counted_memory_filter(machine: str = "") -> bytes:
    """Return a filter that refuses memory which no process's own size tells of; for where nothing else counts it."""
    program = [_step(_LOAD, 0)]
    for number in _UNCOUNTED.get(machine or os.uname().machine, ()):
        program += _refuse(number, _ENOSYS)
    return b"".join([*program, _step(_RETURN, _ALLOW)])


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int, errno: int) -> list[bytes]:
    return [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, _ERRNO | errno)]


def _refuse_unless_zero(number: int, *, arguments: int) -> list[bytes]:
    """Refuse the call unless its first `arguments` are all 0, in the 32 bits that it looks at."""
    checks: list[bytes] = []
    for index in range(arguments):
        checks += [_step(_LOAD, 16 + 8 * index), _step(_JUMP_EQUAL, 0, 1, 0), _step(_RETURN, _ERRNO | _EPERM)]
    return _within(number, checks)


def _refuse_families(socket: int) -> list[bytes]:
    known = [_step(_JUMP_EQUAL, family, len(_FAMILIES) - index, 0) for index, family in enumerate(_FAMILIES)]
    return _within(socket, [_step(_LOAD, 16), *known, _step(_RETURN, _ERRNO | _NO_SUCH_FAMILY)])


def _refuse_requests(ioctl: int) -> list[bytes]:
    refusals = [step for request in _TERMINAL_REQUESTS for step in _refuse(request, _EPERM)]
    return _within(ioctl, [_step(_LOAD, 24), *refusals])


def _within(number: int, steps: list[bytes]) -> list[bytes]:
    """Take `steps` for that call alone; whoever comes out of them has the call's number loaded again."""
    return [_step(_JUMP_EQUAL, number, 0, len(steps) + 1), *steps, _step(_LOAD, 0)]


def _refuse_namespaces(clone: int) -> list[bytes]:
    return [
        _step(_JUMP_EQUAL, clone, 0, 3),
        _step(_LOAD, 16),
        _step(_JUMP_SET, _NAMESPACES, 0, 1),
        _step(_RETURN, _ERRNO | _EPERM),
    ]
