"""The parts of the cell's worker that need no cell."""

import json
import platform
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.worker import frames as inside
from sandbox.worker.capture import Capture
from sandbox.worker.children import CellIsLost, Reaped, end_everything
from sandbox.worker.syscalls import deny_filter
from sandbox.worker.workspace import Refused, Workspace
from services.tool_executor import frames as outside


class TestFraming:
    @given(st.lists(st.tuples(st.dictionaries(st.text(max_size=9), st.integers()), st.binary(max_size=99))), st.data())
    def test_frames_come_out_as_they_went_in_however_they_are_cut(
        self, sent: list[tuple[dict[str, int], bytes]], data: st.DataObject
    ) -> None:
        stream = b"".join(outside.encode(header, payload) for header, payload in sent)
        reader, got = inside.FrameReader(), []
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            got += reader.feed(stream[:size])
            stream = stream[size:]
        assert got == sent

    def test_both_ends_write_the_same(self) -> None:
        header, payload = {"op": "run", "nonce": "é"}, b"\x00\xff"
        assert inside.encode(header, payload) == outside.encode(header, payload)
        assert outside.FrameReader().feed(inside.encode(header, payload)) == [outside.Frame(header, payload)]

    @pytest.mark.parametrize(
        "stream",
        [
            struct.pack("!IH", outside.MAX_FRAME + 1, 2),
            struct.pack("!IH", 3, 9),
            struct.pack("!IH", 4, 2) + b"[]",
            struct.pack("!IH", 4, 2) + b"{x",
            b"Traceback (most recent call last)",
        ],
        ids=["too long", "header longer than the frame", "no object", "no JSON", "no frame at all"],
    )
    def test_what_is_no_frame_is_refused(self, stream: bytes) -> None:
        with pytest.raises(outside.BadFrame):
            outside.FrameReader().feed(stream)
        with pytest.raises(inside.BadFrame):
            inside.FrameReader().feed(stream)

    def test_a_frame_over_the_limit_is_not_sent(self) -> None:
        with pytest.raises(outside.BadFrame):
            outside.encode({}, bytes(outside.MAX_FRAME))


class TestCapping:
    @given(st.lists(st.binary(max_size=50)), st.integers(2, 100))
    def test_start_and_end_are_kept_and_the_middle_is_counted(self, chunks: list[bytes], limit: int) -> None:
        capture = Capture(limit)
        head = b"".join(capture.take(chunk) for chunk in chunks)
        whole, tail = b"".join(chunks), capture.tail()
        assert len(head) + capture.dropped + len(tail) == len(whole)
        assert whole.startswith(head)
        assert whole.endswith(tail)
        if len(whole) <= limit:
            assert (head + tail, capture.dropped) == (whole, 0)
        else:
            assert len(head) + len(tail) == limit

    def test_a_flood_is_not_kept(self) -> None:
        capture = Capture(1000)
        for _ in range(1000):
            capture.take(b"x" * 65536)
        assert len(capture.tail()) == 500
        assert capture.dropped == 65536 * 1000 - 1000


class TestWorkspace:
    def test_a_link_is_followed_neither_as_file_nor_as_folder(self, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside/secret").write_text("secret")
        root = tmp_path / "root"
        root.mkdir()
        (root / "file").symlink_to(tmp_path / "outside/secret")
        (root / "folder").symlink_to(tmp_path / "outside")
        workspace = Workspace(str(root))
        for path in ("file", "folder/secret"):
            with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
                workspace.read(path, 0, 10)
            with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
                workspace.write(path, 0, b"x")
        assert (tmp_path / "outside/secret").read_text() == "secret"

    @pytest.mark.parametrize("path", ["", "/a", "..", "a/../b", "a//b", ".", "a\0b"])
    def test_a_path_out_of_the_workspace_is_refused(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(Refused):
            Workspace(str(tmp_path)).write(path, 0, b"x")

    def test_pieces_make_a_file(self, tmp_path: Path) -> None:
        workspace = Workspace(str(tmp_path))
        workspace.write("d/a", 0, b"old and longer")
        workspace.write("d/a", 0, b"ab")
        assert workspace.write("d/a", 2, b"cd") == 4
        assert workspace.read("d/a", 1, 2) == (b"bc", 4)


class TestGuards:
    def test_the_signal_to_everything_is_never_sent_outside_a_cell(self) -> None:
        with pytest.raises(CellIsLost, match="process namespace"):
            end_everything(Reaped())

    @pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
    def test_the_filter_is_a_whole_program_for_the_kernel(self, machine: str) -> None:
        program = deny_filter(machine)
        steps = [struct.unpack("=HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
        assert steps[-1] == (0x06, 0, 0, 0x7FFF0000)
        assert len(steps) < 4096
        jumps = [at + 1 + max(yes, no) for at, (code, yes, no, _) in enumerate(steps) if code & 7 == 5]
        assert max(jumps) < len(steps)

    def test_an_unknown_machine_has_no_filter(self) -> None:
        assert deny_filter("pdp11") == b""

    def test_this_machine_has_one(self) -> None:
        assert bool(deny_filter()) == (platform.machine() in ("x86_64", "aarch64"))


class TestProfile:
    PROFILE = json.loads((Path(__file__).parents[3] / "sandbox/seccomp.json").read_text())

    def _allowed(self) -> set[str]:
        rules = self.PROFILE["syscalls"]
        return {name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}

    def test_what_is_not_named_is_refused(self) -> None:
        assert self.PROFILE["defaultAction"] == "SCMP_ACT_ERRNO"

    def test_nothing_dangerous_is_named(self) -> None:
        dangerous = {
            *(
                "io_uring_setup",
                "io_uring_enter",
                "io_uring_register",
                "ptrace",
                "process_vm_readv",
                "process_vm_writev",
            ),
            *("userfaultfd", "bpf", "perf_event_open", "keyctl", "add_key", "request_key", "setns", "unshare"),
            *(
                "mount",
                "umount2",
                "pivot_root",
                "chroot",
                "open_tree",
                "move_mount",
                "fsopen",
                "fsmount",
                "mount_setattr",
            ),
            *("pidfd_getfd", "kcmp", "name_to_handle_at", "open_by_handle_at", "reboot", "swapon", "init_module"),
            *("finit_module", "kexec_load", "kexec_file_load", "acct", "quotactl", "syslog", "iopl", "ioperm"),
        }
        assert self._allowed() & dangerous == set()

    def test_what_python_lives_on_is_named(self) -> None:
        assert {"read", "write", "openat", "mmap", "futex", "clone", "execve", "memfd_create"} <= self._allowed()
