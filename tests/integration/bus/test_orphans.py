"""Whoever dies over an ask is noticed; whoever is slow, hangs or cannot be seen is waited for."""

import asyncio

import pytest
from nats.aio.msg import Msg

from natscope.bus import Bus, BusSettings, connect
from natscope.bus.orphans import Orphaned, unless_orphaned
from natscope.bus.settling import settle
from natscope.bus.streams import CALLS


async def _begun(bus: Bus, id: str, *, state: str = "begun", sign: bool = True) -> None:
    """Write what a process `p-<id>` of service `host` leaves in the buckets when it begins."""
    entry = f'{{"state":"{state}","holder":"p-{id}","digest":"d"}}'
    await bus.js.publish(f"$KV.{CALLS}.{id}", b"", headers={"Natscope-Ledger": entry})
    if sign:
        await bus.js.publish(f"$KV.instances.p-{id}", b"host")


async def _connected(bus: Bus, id: str) -> None:
    """Be as connected as that process is, and say nothing."""

    async def ignore(message: Msg) -> None:
        pass

    await bus.nc.subscribe(f"$SRV.PING.host.p-{id}", cb=ignore)


def _asking(bus: Bus, id: str) -> "asyncio.Task[str]":
    return asyncio.create_task(unless_orphaned(bus, CALLS, id, _never()))


async def _never() -> str:
    await asyncio.sleep(600)
    return ""


async def _at_once(value: str) -> str:
    return value


async def _failing() -> str:
    raise LookupError("no such thing")


class TestUnlessOrphaned:
    async def test_only_the_dead_are_not_waited_for(self, nats_url: str) -> None:
        async with (
            connect("agent", BusSettings(url=nats_url)) as bus,
            connect("host", BusSettings(url=nats_url)) as host,
        ):
            await _begun(bus, "dead")
            await _begun(bus, "hangs")
            await _begun(bus, "unseen", sign=False)
            await _begun(bus, "answered", state="done")
            await _connected(host, "hangs")
            await settle(host.nc)
            others = [_asking(bus, id) for id in ("hangs", "unseen", "answered", "unheard-of")]
            with pytest.raises(Orphaned, match="'host' died"):
                await asyncio.wait_for(_asking(bus, "dead"), 20)
            assert not any(each.done() for each in others)
            for each in others:
                each.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def test_what_is_asked_ends_as_it_ends(self, nats_url: str) -> None:
        async with connect("agent", BusSettings(url=nats_url)) as bus:
            assert await unless_orphaned(bus, CALLS, "c", _at_once("answer")) == "answer"
            with pytest.raises(LookupError):
                await unless_orphaned(bus, CALLS, "c", _failing())
