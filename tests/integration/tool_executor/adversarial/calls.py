"""Attacks by system calls, by their numbers on x86-64, with arguments that do nothing where the kernel judges them."""

import socket

from tests.integration.tool_executor.adversarial.attack import WORD, Attack

_LIBRARY = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
_NAMESPACES = "(0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00020000)"
"""Of control groups, names, System V objects, users, processes, networks, mounts."""


def _call(name: str, number: int, *arguments: int) -> Attack:
    told = ", ".join(f"ctypes.c_long({each})" for each in (number, *arguments))
    source = f"{_LIBRARY}if libc.syscall({told}) != -1 or ctypes.get_errno() != 1: {WORD}"
    return Attack(f"system call: {name}", source, control="trusted")


def _namespaces(way: str, made: str) -> Attack:
    source = f"""{_LIBRARY}
for flag in {_NAMESPACES}:
    {made}
    if pid == 0: os._exit(0)
    if pid > 0: os.waitpid(pid, 0); {WORD}; break
"""
    return Attack(f"a namespace of its own, by {way}", source, control="trusted")


def _has_vsock() -> bool:
    try:
        socket.socket(40, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


CALLS = (
    _call("mount", 165, 0, 0, 0, 0, 0),
    _call("umount2", 166, 0, 0),
    _call("pivot_root", 155, 0, 0),
    _call("chroot", 161, 0),
    _call("fsopen", 430, 0, 0),
    _call("open_tree", 428, -1, 0, 0),
    _call("move_mount", 429, -1, 0, -1, 0, 0),
    _call("unshare", 272, 0x10000000),
    _call("setns", 308, -1, 0),
    _call("bpf", 321, 9999, 0, 0),
    _call("keyctl", 250, 9999, 0, 0, 0, 0),
    _call("add_key", 248, 0, 0, 0, 0, 0),
    _call("request_key", 249, 0, 0, 0, 0),
    _call("perf_event_open", 298, 0, 0, 0, -1, 0),
    _call("userfaultfd", 323, 0x7FFFFFFF),
    _call("io_uring_setup", 425, 1, 0),
    _call("io_uring_enter", 426, -1, 0, 0, 0, 0, 0),
    _call("io_uring_register", 427, -1, 0, 0, 0),
    _call("ptrace of PID 1", 101, 0x4206, 1, 0, 0),
    _call("process_vm_readv", 310, 2**22 + 5, 0, 0, 0, 0, 0),
    _call("process_vm_writev", 311, 2**22 + 5, 0, 0, 0, 0, 0),
    _call("pidfd_getfd", 438, -1, -1, 0),
    _call("kcmp", 312, 2**22 + 5, 2**22 + 5, 0, 0, 0),
    _call("open_by_handle_at", 304, -1, 0, 0),
    _call("the kernel's log", 103, 10, 0, 0),
    _namespaces("clone", "pid = libc.syscall(ctypes.c_long(56), ctypes.c_long(flag | 17), 0, 0, 0, 0)"),
    _namespaces(
        "clone3",
        "arguments = (ctypes.c_uint64 * 8)(flag, 0, 0, 0, 17)\n"
        "    pid = libc.syscall(ctypes.c_long(435), ctypes.byref(arguments), ctypes.c_long(64))",
    ),
    Attack(
        "system calls as 32-bit programs make them",
        "import ctypes, mmap, os\ncode = mmap.mmap(-1, 4096, prot=7)\n"
        "code.write(bytes.fromhex('b814000000cd80c3'))\n"
        "getpid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))\n"
        f"if getpid() == os.getpid(): {WORD}",
        control="trusted",
    ),
    *(
        [
            Attack(
                "a socket to the host of the machine", f"import socket\nsocket.socket(40, 1)\n{WORD}", control="trusted"
            )
        ]
        if _has_vsock()
        else []
    ),
    *(
        Attack(
            f"a terminal: {what}",
            f"import fcntl, os, struct\nfcntl.ioctl(os.openpty()[1], {request}, struct.pack('i', 0))\n{WORD}",
            control="trusted",
        )
        for what, request in (("typing in its user's name", 0x5412), ("another line discipline", 0x5423))
    ),
    Attack(
        "a terminal: what the kernel's own consoles know",
        f"""
import errno, fcntl, os
try:
    fcntl.ioctl(os.openpty()[1], 0x541C, bytes(1))
except OSError as refusal:
    # where nothing refuses the request, this terminal says that it is none of those
    if refusal.errno == errno.ENOTTY: {WORD}
else: {WORD}
""",
        control="trusted",
    ),
    Attack("a socket that hears all of a wire", f"import socket\nsocket.socket(17, 3)\n{WORD}"),
)
