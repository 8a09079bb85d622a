"""PID 1 of a cell: serves one request at a time over its own stdin and stdout, which no program ever sees."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import site
import sys
import time
from collections import deque
from typing import Any, NoReturn

from . import chores, hardening, output, program, wiping
from .children import CellIsLost, Child, harden_worker, start_child
from .dialling import dial
from .frames import FrameReader, Header, encode
from .lasting import Wires
from .run import Run
from .staging import Staging
from .workspace import ROOT, Refused, Workspace, refusal_of

_READ = 65536
_ENVIRONMENT = {
    "HOME": ROOT,
    "LANG": "C.UTF-8",
    "LOGNAME": "cell",
    "MPLBACKEND": "agg",
    "NATSCOPE_OUTPUT": f"{ROOT}/{output.FOLDER}",
    "PATH": "/opt/bin:/usr/local/bin:/usr/bin:/bin",
    "PWD": ROOT,
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "TMPDIR": "/tmp",  # noqa: S108 - the cell's own, empty and private
    "USER": "cell",
}
_REHEARSAL: Header = {"op": "run", "kind": "python", "nonce": "", "limits": {"wall_s": 5.0, "output_bytes": 256}}
"""An empty program, run before the greeting: a first run takes half as long again as those after it."""


class Supervisor:
    """Holds the control stream and the run in progress."""

    def __init__(self, *, idle_exit_s: float, tunnel_port: int | None = None, keeps_temporary: bool = True) -> None:
        self._reader = FrameReader()
        self._requests: deque[tuple[Header, bytes]] = deque()
        self._out: deque[bytes] = deque()
        self._workspace = Workspace()
        self._staging = Staging()
        self._run: Run | None = None
        self._lasting: Child | None = None
        self._had_lasting = False
        self._idle_exit_s = idle_exit_s
        self._keeps_temporary = keeps_temporary
        self._heard_at = time.monotonic()
        self._wake = _wake_pipe()
        self._child: Child | None = None
        self._child_restores = False
        self._tunnels = _tunnels(tunnel_port, self._send) if tunnel_port is not None else None

    def serve(self) -> Wires | None:
        """Answer requests until the other side goes away or falls silent for too long.

        In a child of the worker, which begins with a part of this stack, it returns what that gets its program by.
        """
        if wires := self._fork():
            return wires
        self._requests.append((_REHEARSAL, b""))
        while self._turn():
            self._work()
            if self._child is None and (wires := self._fork()):
                return wires
        return None

    def _fork(self) -> Wires | None:
        made = start_child(ROOT, stdin=self._staging.take() if self._child_restores else None)
        if isinstance(made, Wires):
            return made
        self._child = made
        return None

    def _turn(self) -> bool:
        """Wait for something to happen and take it in; return False when it is time to leave."""
        for descriptor, _ in self._awaited().poll(self._patience_s() * 1000):
            if descriptor == 0 and not self._listen():
                return False
            if descriptor == 1:
                self._flush()
            elif descriptor == self._wake:
                os.read(self._wake, _READ)
            elif self._tunnels and self._tunnels.turn(descriptor):
                continue
            elif descriptor != 0 and self._run and descriptor in self._run.descriptors():
                self._run.pump(descriptor)
        return self._run is not None or time.monotonic() - self._heard_at < self._idle_exit_s

    def _awaited(self) -> select.poll:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        if self._run is None or self._run.hears_of_ends:
            poll.register(self._wake, select.POLLIN)
        if self._out:
            poll.register(1, select.POLLOUT)
        for descriptor in self._run.descriptors() if self._run else ():
            poll.register(descriptor, select.POLLIN)
        for descriptor, reads, writes in self._tunnels.waiting() if self._tunnels else ():
            poll.register(descriptor, (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0))
        return poll

    def _patience_s(self) -> float:
        if self._requests and self._run is None:
            return 0.0
        return self._run.seconds_left() if self._run else self._idle_exit_s

    def _listen(self) -> bool:
        try:
            data = os.read(0, _READ)
        except ConnectionError:
            return False
        self._heard_at = time.monotonic()
        for header, payload in self._reader.feed(data):
            if header.get("op") == "cancel":
                self._cancel()
            elif header.get("op") == "tunnel" and self._tunnels:
                self._tunnels.take(header, payload)
            else:
                self._requests.append((header, payload))
        return bool(data)

    def _work(self) -> None:
        if self._run is not None and self._run.look():
            self._end_run(self._run)
        if self._run is None and self._requests:
            for stopped in filter(None, (self._lasting, self._child)):
                stopped.settle()
            request = self._requests[0][0]
            if request.get("op") != "run":
                self._answer(*self._requests.popleft())
            elif child := self._child_for(request["kind"]):
                self._start_run(child, *self._requests.popleft())
        self._flush()

    def _child_for(self, kind: str) -> Child | None:
        """Return the waiting child if it will do; else there is none any more, and the next is made for this kind."""
        restores = kind == chores.RESTORE
        if self._child is not None and (self._child.ended or restores != self._child_restores):
            self._child.close()
            self._child = None
        self._child_restores = restores
        return self._child

    def _start_run(self, waits: Child, request: Header, payload: bytes) -> None:
        lasts = request["kind"] == program.LASTING
        if self._lasting is not None and self._lasting.ended:
            self._lasting.close()
            self._lasting = None
        child = self._lasting if lasts and self._lasting else waits
        if lasts:
            state = "kept" if self._lasting else "lost" if self._had_lasting else "new"
            request = {**request, "variables": state}
            self._lasting, self._had_lasting = child, True
        lasting = self._lasting.pid if self._lasting else None
        waiting = waits.pid if child is not waits else None
        send = self._greet if request is _REHEARSAL else self._send
        self._run = Run(
            child,
            request,
            payload,
            send,
            root=ROOT,
            lasting=lasting,
            waiting=waiting,
            keeps_temporary=self._keeps_temporary,
        )

    def _end_run(self, run: Run) -> None:
        run.finish()
        self._run = None
        self._flush()
        if run.lasts and not run.goes_on:
            self._lasting = None
        if self._lasting is None:
            wiping.wipe(temporary=run.clears_temporary)
        else:
            self._lasting.was_stopped()
        if self._child is not None and run.spares_waiting:
            self._child.was_stopped()
            return
        if self._child is not None and self._child is not run.child:
            self._child.close()
        self._child, self._child_restores = None, False

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()

    def _answer(self, request: Header, payload: bytes) -> None:
        try:
            answer, data = self._serve_file(request, payload)
        except Refused as error:
            answer, data = {"event": "refused", "code": error.code, "text": str(error)}, b""
        except (OSError, RecursionError) as error:
            refused = refusal_of(error)
            answer, data = {"event": "refused", "code": refused.code, "text": str(refused)}, b""
        self._send({"nonce": request.get("nonce"), **answer}, data)

    def _serve_file(self, request: Header, payload: bytes) -> tuple[dict[str, Any], bytes]:
        operation = request.get("op")
        if operation == "write":
            size = self._workspace.write(request["path"], request["offset"], payload)
            return {"event": "written", "size": size}, b""
        if operation == "read":
            data, size = self._workspace.read(request["path"], request["offset"], request["size"])
            return {"event": "data", "size": size}, data
        if operation == "stat":
            size, changed_at = self._workspace.stat(request["path"])
            return {"event": "facts", "size": size, "changed_at": changed_at}, b""
        if operation == "list":
            files, more = self._workspace.listing(skip=request["skip"], pattern=request.get("pattern"))
            return {"event": "listing", "more": more}, json.dumps(files).encode()
        if operation == "edit":
            old, new = payload[: request["old_size"]], payload[request["old_size"] :]
            count = self._workspace.edit(request["path"], old, new, everywhere=request["all"])
            return {"event": "edited", "count": count}, b""
        if operation == "remove":
            return {"event": "removed", "files": self._workspace.remove(json.loads(payload))}, b""
        if operation == "stage":
            return {"event": "staged", "size": self._staging.add(request["offset"], payload)}, b""
        if operation == "ping":
            return {"event": "pong"}, b""
        raise Refused("bad_request", f"{operation!r} is no operation of the worker")

    def _send(self, header: Header, payload: bytes = b"") -> None:
        self._out.append(encode(header, payload))

    def _greet(self, header: Header, payload: bytes = b"") -> None:
        """Take the end of the rehearsal for the sign that all is ready; where it fails, no program would run."""
        os.write(2, payload)
        if header["event"] == "done":
            if header["exit_code"] != 0:
                raise CellIsLost("an empty program fails here")
            self._send({"event": "ready", "python": sys.version.split()[0], "pid": os.getpid()})

    def _flush(self) -> None:
        """Send what there is, at once: whoever listens wakes up once for a short program."""
        while self._out:
            data = b"".join(self._out)
            self._out.clear()
            try:
                written = os.write(1, data)
            except BlockingIOError:
                written = 0
            if written < len(data):
                self._out.append(data[written:])
                return


def main() -> NoReturn:
    """Run as PID 1 of a cell; in a forked child, become the program of one run."""
    if os.getpid() != 1:
        sys.exit("the worker runs as PID 1 of a cell and nowhere else")
    settings = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    harden_worker(settings.get("prepare"))
    if door := settings.get("dial"):
        dial(door)
    os.set_blocking(0, False)
    os.set_blocking(1, False)
    _settle(settings.get("environment", {}), settings.get("packages"))
    port = settings.get("tunnel_port")
    supervisor = Supervisor(
        idle_exit_s=settings.get("idle_exit_s", 3600.0),
        tunnel_port=port,
        keeps_temporary=settings.get("keeps_temporary", True),
    )
    wires = supervisor.serve()
    if wires is None:
        os._exit(0)
    program.wait_and_run(wires)


def _settle(environment: dict[str, str], packages: str | None) -> None:
    """Make this interpreter what programs find; frozen, so that no collection touches what is there before them.

    `environment` is what programs find besides the usual; `packages` a folder of the workspace that they import from.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    site.setquit()
    site.sethelper()
    site.setcopyright()
    sys.path[1:] = [*sys.path[1:], *(path for path in site.getsitepackages() if os.path.isdir(path))]
    output.make(ROOT)
    if packages is not None:
        os.makedirs(packages, exist_ok=True)
        sys.path.append(packages)
    program.furnish({**_ENVIRONMENT, **environment})
    gc.disable()
    gc.freeze()


def _tunnels(port: int, send: Any) -> Any:
    """Return what carries connections out; loaded only where the operator wants it."""
    from .tunnels import Tunnels

    return Tunnels(port, send)


def _wake_pipe() -> int:
    """Return a descriptor that becomes readable whenever a child ends."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    hardening.hear_of_ends_alone()
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read
