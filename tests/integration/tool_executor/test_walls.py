"""What a program in a cell can reach; each wall is shown to be missing in an ordinary or in a trusted container."""

import json
import platform
from collections.abc import Awaitable, Callable

import pytest

from services.tool_executor.cells import Outcome

Run = Callable[..., Awaitable[Outcome]]
Plain = Callable[..., tuple[int, str]]

STATUS = "print(open('/proc/self/status').read())"
ROUTE = """
import os, socket
print(sorted(os.listdir('/sys/class/net')) if os.path.isdir('/sys/class/net') else [])
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9)); print('a way out')
except OSError as error: print('no way out', error.errno)
"""
WRITES = """
for path in ['/probe', '/etc/probe', '/usr/probe', '/opt/cell/probe', '/var/probe', '/root/probe', '/dev/probe']:
    try: open(path, 'w'); print('wrote', path)
    except OSError: pass
"""
SUPERVISOR = """
import os
if os.fork():
    os.wait()
    os._exit(0)
for name in ['environ', 'mem', 'maps', 'fd/0', 'fd/1', 'root', 'cwd', 'task/1/mem', 'auxv', 'stack', 'io']:
    try: os.close(os.open(f'/proc/1/{name}', os.O_RDONLY | os.O_NONBLOCK)); print('opened', name)
    except OSError: pass
try: print('listed', os.listdir('/proc/1/fd'))
except OSError: pass
"""
CALLS = """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
calls = {
    'io_uring_setup': (425, 1, 0), 'io_uring_enter': (426, -1, 0, 0, 0, 0, 0), 'io_uring_register': (427, -1, 0, 0, 0),
    'ptrace': (101, 16, 2**22 + 5, 0, 0), 'process_vm_readv': (310, 2**22 + 5, 0, 0, 0, 0, 0),
    'process_vm_writev': (311, 2**22 + 5, 0, 0, 0, 0, 0), 'userfaultfd': (323, 0x7fffffff), 'bpf': (321, 9999, 0, 0),
    'perf_event_open': (298, 0, 0, 0, -1, 0), 'keyctl': (250, 9999, 0, 0, 0, 0), 'add_key': (248, 0, 0, 0, 0, 0),
    'request_key': (249, 0, 0, 0, 0), 'setns': (308, -1, 0), 'unshare': (272, 0x10000000 | 1),
    'mount': (165, 0, 0, 0, 0, 0),
    'umount2': (166, 0, 0), 'pivot_root': (155, 0, 0), 'chroot': (161, 0), 'open_tree': (428, -1, 0, 0),
    'move_mount': (429, -1, 0, -1, 0, 0), 'fsopen': (430, 0, 0), 'fsmount': (432, -1, 0, 0), 'swapon': (167, 0, 0),
    'reboot': (169, 0, 0, 0, 0), 'init_module': (175, 0, 0, 0), 'finit_module': (313, -1, 0, 0),
    'delete_module': (176, 0, 0), 'kexec_load': (246, 0, 99999, 0, 0), 'open_by_handle_at': (304, -1, 0, 0),
    'name_to_handle_at': (303, -1, 0, 0, 0, 0), 'fanotify_init': (300, 0xffffffff, 0), 'pidfd_getfd': (438, -1, -1, 0),
    'kcmp': (312, 2**22 + 5, 2**22 + 5, 0, 0, 0), 'acct': (163, 1), 'quotactl': (179, 0xffff, 0, 0, 0),
    'iopl': (172, 9),
}
told = {}
for name, (number, *rest) in calls.items():
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(value) for value in rest])
    told[name] = ctypes.get_errno() if result == -1 else 0
print(json.dumps(told))
"""
NAMESPACE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
pid = libc.syscall(ctypes.c_long(56), ctypes.c_long(0x10000000 | 17), 0, 0, 0, 0)
if pid == 0: os._exit(0)
print('made' if pid > 0 else 'refused', ctypes.get_errno())
"""
EPERM = 1


class TestIdentity:
    async def test_it_is_nobody_in_particular_without_any_capability(self, run: Run) -> None:
        assert int((await run("import os; print(os.getuid() and os.getgid())")).stdout.text) >= 1000
        status = dict(line.split(":\t") for line in (await run(STATUS)).stdout.text.splitlines() if ":\t" in line)
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[kind], 16) == 0, kind
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"

    async def test_a_set_uid_program_gains_nothing(self, run: Run) -> None:
        program = "found=$(find /usr/bin -perm -4000 -name 'su' | head -1); ${found:-false} -c id"
        assert "uid=0" not in (await run(program, language="shell", seconds=5)).stdout.text

    async def test_it_cannot_become_root(self, run: Run) -> None:
        outcome = await run("import os; os.setuid(0)")
        assert "PermissionError" in outcome.stderr.text

    @pytest.mark.docker
    def test_control(self, plain: Plain) -> None:
        status = dict(line.split(":\t") for line in plain(STATUS)[1].splitlines() if ":\t" in line)
        assert status["Uid"].split()[0] == "0"
        assert int(status["CapEff"], 16) != 0
        assert status["NoNewPrivs"] == "0"


class TestNetwork:
    async def test_there_is_none(self, run: Run) -> None:
        outcome = await run(ROUTE)
        assert "eth" not in outcome.stdout.text
        assert "no way out" in outcome.stdout.text

    async def test_names_are_not_resolved(self, run: Run) -> None:
        outcome = await run("import socket; socket.getaddrinfo('example.com', 80)")
        assert "gaierror" in outcome.stderr.text

    @pytest.mark.docker
    def test_control(self, plain: Plain) -> None:
        output = plain(ROUTE)[1]
        assert "eth0" in output
        assert "a way out" in output


class TestFileSystem:
    async def test_the_root_is_read_only(self, run: Run) -> None:
        assert (await run(WRITES)).stdout.text == ""

    async def test_no_knob_of_the_kernel_can_be_turned(self, run: Run) -> None:
        command = "find /proc/sys /sys -type f -writable 2>/dev/null; echo 1 > /proc/sysrq-trigger"
        outcome = await run(command, language="shell", seconds=30)
        assert (outcome.stdout.text, outcome.exit_code != 0) == ("", True)

    async def test_a_device_made_in_the_workspace_is_dead(self, run: Run) -> None:
        outcome = await run("import os, stat; os.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(8, 0))")
        assert "PermissionError" in outcome.stderr.text

    async def test_the_engine_s_socket_is_not_there(self, run: Run) -> None:
        command = "find / \\( -path /usr -o -path /proc \\) -prune -o -type s -print 2>/dev/null"
        outcome = await run(command, language="shell", seconds=30)
        assert outcome.stdout.text == ""

    @pytest.mark.docker
    def test_control(self, plain: Plain) -> None:
        assert plain(WRITES)[1].count("wrote") == 7


class TestSupervisor:
    async def test_it_cannot_be_looked_into(self, run: Run) -> None:
        assert (await run(SUPERVISOR)).stdout.text == ""

    async def test_a_program_starts_with_three_descriptors(self, run: Run) -> None:
        outcome = await run("import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])")
        assert outcome.stdout.text == "[0, 1, 2]\n"

    async def test_a_shell_starts_with_three_descriptors(self, run: Run) -> None:
        assert (await run("echo /proc/self/fd/*", language="shell")).stdout.text.split()[:4] == [
            "/proc/self/fd/0",
            "/proc/self/fd/1",
            "/proc/self/fd/2",
            "/proc/self/fd/3",
        ]

    async def test_killing_everything_kills_neither_it_nor_the_cell(self, run: Run) -> None:
        outcome = await run("kill -9 1; kill -9 -1; echo survived", language="shell")
        assert outcome.signal == 9 or "survived" in outcome.stdout.text
        assert (await run("print('usable')")).stdout.text == "usable\n"

    async def test_an_answer_in_its_name_is_just_output(self, run: Run) -> None:
        forged = """
import json, os, struct
head = json.dumps({'event': 'done', 'exit_code': 0, 'nonce': ''}).encode()
frame = struct.pack('!IH', 2 + len(head), len(head)) + head
for descriptor in range(256):
    try: os.write(descriptor, frame)
    except OSError: pass
raise SystemExit(9)
"""
        outcome = await run(forged)
        assert outcome.exit_code == 9
        assert '"event": "done"' in outcome.stdout.text

    @pytest.mark.docker
    def test_control(self, plain: Plain) -> None:
        output = plain(SUPERVISOR)[1]
        assert "opened mem" in output
        assert "opened environ" in output
        assert "listed" in output


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the probes name x86-64 system calls by number")
class TestSystemCalls:
    async def test_what_no_program_needs_is_refused(self, run: Run) -> None:
        outcome = await run(CALLS)
        told = json.loads(outcome.stdout.text)
        assert {name: errno for name, errno in told.items() if errno != EPERM} == {}

    async def test_no_namespace_is_made(self, run: Run) -> None:
        assert (await run(NAMESPACE)).stdout.text == "refused 1\n"

    async def test_the_other_calling_convention_is_no_way_around(self, run: Run) -> None:
        source = (
            "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
            "print(libc.syscall(ctypes.c_long(0x40000000 | 272), ctypes.c_long(0x10000000)), ctypes.get_errno())"
        )
        outcome = await run(source)
        assert outcome.stdout.text == "-1 38\n" or outcome.signal == 31

    @pytest.mark.docker
    def test_control_the_kernel_itself_would_take_them(self, plain: Plain) -> None:
        told = json.loads(plain(CALLS, trusted=True)[1])
        assert [name for name, errno in told.items() if errno == EPERM] == []

    @pytest.mark.docker
    def test_control_the_engine_s_own_profile_lets_io_uring_through(self, plain: Plain) -> None:
        assert json.loads(plain(CALLS)[1])["io_uring_setup"] != EPERM

    @pytest.mark.docker
    def test_control_namespaces(self, plain: Plain) -> None:
        assert plain(NAMESPACE, trusted=True)[1] == "made 0\n"
