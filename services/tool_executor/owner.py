"""Who made a cell, written so that any later process can tell whether that one still lives."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from services.tool_executor.cells import Lives


@dataclass(frozen=True)
class Owner:
    """This process, by its instance id and by a mark that its own machine can check."""

    instance: str
    mark: str

    @classmethod
    def here(cls, instance: str) -> "Owner":
        """Return this process as an owner."""
        return cls(instance, f"{_place()}/{os.getpid()}/{_started(os.getpid())}")

    @property
    def name(self) -> str:
        """The mark in a form that can be part of a file's name."""
        place, _, process = self.mark.rpartition("/")
        place, _, pid = place.rpartition("/")
        return f"{_short(place)}-{pid}-{process}"

    def has_outlived(self, name: str) -> bool:
        """Return whether the owner of that name was of this process namespace and is dead."""
        place, _, process = name.rpartition("-")
        place, _, pid = place.rpartition("-")
        return place == _short(_place()) and pid.isdigit() and _started(int(pid)) != process

    async def of_the_dead(self, mark: str, instance: str, lives: Lives) -> bool:
        """Return whether the owner with that mark and instance is dead.

        In our own process namespace the process table knows at once; elsewhere `lives` has to say.
        """
        place, _, process = mark.rpartition("/")
        place, _, pid = place.rpartition("/")
        if place != _place():
            return not instance or not await lives(instance)
        return not pid.isdigit() or _started(int(pid)) != process


def own_container() -> str:
    """Return the id of the container that this process runs in, by the files that an engine mounts there; or nothing.

    Whether an engine knows that id is for the engine to say: it may be another one's.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return ""
    found = re.search(r"/([0-9a-f]{64})/(?:userdata/)?(?:hostname|hosts|resolv\.conf) ", mounts)
    return found[1] if found else ""


def _short(place: str) -> str:
    return hashlib.blake2b(place.encode(), digest_size=4).hexdigest()


def _place() -> str:
    """Return a name of this process namespace that no other one has, nor this one after a restart of the machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{os.uname().nodename}/?"


def _started(pid: int) -> str:
    """Return when the process `pid` began, in clock ticks since the machine did; empty if there is none."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = facts.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]
