"""What a house of ours may leave on the machine: processes, by marks on their command lines, descriptors, cgroups."""

import os
import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """A living process."""

    pid: int
    inner: int
    """Its id in its own process namespace."""
    command: str


def processes(*marks: str) -> list[Found]:
    """Return the living processes with any of the marks on their command lines."""
    return [found for found in _living() if any(mark in found.command for mark in marks)]


def descriptors(pid: int) -> Counter[str]:
    """Return how many descriptors of each kind a process has open."""
    kinds: Counter[str] = Counter()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(entry.path)
        except FileNotFoundError:
            continue
        kinds[re.sub(r":\[?\d+\]?$", "", target) if not target.startswith("/") else "file"] += 1
    return kinds


def cgroups(containers: Container[str]) -> list[str]:
    """Return the control groups of containers that are no more."""
    folders = (folder for top in ("*/docker/*", "*.slice/docker-*") for folder in Path("/sys/fs/cgroup").glob(top))
    return [str(folder) for folder in folders if re.sub(r"docker-|\.scope", "", folder.name) in containers]


def resident_mib(pid: int) -> float:
    """Return how much memory a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def _living() -> Iterator[Found]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            inner = re.findall(r"NSpid:.*\t(\d+)", (folder / "status").read_text())
        except OSError:
            continue
        if command and inner:
            yield Found(int(folder.name), int(inner[0]), command)
