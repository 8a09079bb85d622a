"""Telling whether the maker of a cell still lives."""

import asyncio
import sys
from pathlib import Path

import pytest

from services.tool_executor.owner import Owner


async def gives_signs(instance: str) -> bool:
    return instance == "alive"


@pytest.mark.skipif(sys.platform != "linux", reason="the process table is Linux's")
class TestOwner:
    async def test_this_process_lives(self) -> None:
        assert not await Owner.here("me").of_the_dead(Owner.here("other").mark, "other", gives_signs)

    async def test_a_process_that_ended_is_dead_whatever_its_signs_of_life(self) -> None:
        child = await asyncio.create_subprocess_exec("sleep", "60")
        mark = _mark_of(child.pid)
        assert not await Owner.here("me").of_the_dead(mark, "gone", gives_signs)
        child.kill()
        await child.wait()
        assert await Owner.here("me").of_the_dead(mark, "alive", gives_signs)

    async def test_a_process_id_used_again_is_not_the_old_process(self) -> None:
        place, pid, _ = Owner.here("me").mark.rsplit("/", 2)
        assert await Owner.here("me").of_the_dead(f"{place}/{pid}/1", "gone", gives_signs)

    async def test_elsewhere_the_signs_of_life_decide(self) -> None:
        assert not await Owner.here("me").of_the_dead("far/pid:[1]/7/7", "alive", gives_signs)
        assert await Owner.here("me").of_the_dead("far/pid:[1]/7/7", "silent", gives_signs)

    async def test_a_cell_without_a_name_on_it_is_nobody_s(self) -> None:
        assert await Owner.here("me").of_the_dead("", "", gives_signs)


def _mark_of(pid: int) -> str:
    place = Owner.here("me").mark.rsplit("/", 2)[0]
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{place}/{pid}/{started}"
