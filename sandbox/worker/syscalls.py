"""Refuse the system calls no program in a cell needs, by a seccomp filter of its own.

The engine's profile (seccomp.json) is an allow-list and holds alone; this filter is the same wall where no engine is.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst; include/uapi/linux/{audit,filter,seccomp}.h.
"""

from __future__ import annotations

import platform
import struct

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NAMESPACES = 0x7E020000
_X32 = 0x40000000

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
    "userfaultfd": 323, "kexec_load": 246, "iopl": 172, "ioperm": 173,
}  # fmt: skip

_AARCH64 = {
    "ptrace": 117, "syslog": 116, "personality": 92, "pivot_root": 41, "chroot": 51, "acct": 89, "mount": 40,
    "umount2": 39, "swapon": 224, "swapoff": 225, "reboot": 142, "init_module": 105, "delete_module": 106,
    "quotactl": 60, "add_key": 217, "request_key": 218, "keyctl": 219, "unshare": 97, "perf_event_open": 241,
    "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
    "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "kexec_file_load": 294, "bpf": 280,
    "userfaultfd": 282, "kexec_load": 104,
}  # fmt: skip

_MACHINES: dict[str, tuple[int, dict[str, int], int, int]] = {
    "x86_64": (0xC000003E, _X86_64, 56, 435),
    "aarch64": (0xC00000B7, _AARCH64, 220, 435),
}


def deny_filter(machine: str = "") -> bytes:
    """Return the filter as an array of `struct sock_filter`; empty on a machine whose call numbers are not known."""
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return b""
    audit, numbers, clone, clone3 = known
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
    program += _refuse_namespaces(clone)
    program.append(_step(_RETURN, _ALLOW))
    return b"".join(program)


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int, errno: int) -> list[bytes]:
    return [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, _ERRNO | errno)]


def _refuse_namespaces(clone: int) -> list[bytes]:
    return [
        _step(_JUMP_EQUAL, clone, 0, 3),
        _step(_LOAD, 16),
        _step(_JUMP_SET, _NAMESPACES, 0, 1),
        _step(_RETURN, _ERRNO | _EPERM),
    ]
