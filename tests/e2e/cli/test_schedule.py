"""`natscope schedule`: made, listed, paused, resumed and removed."""

from natscope.bus import BusSettings
from services.agent.app import app
from tests.e2e.cli.conftest import Start
from tests.integration.client.fake_agent import fake_agent


class TestSchedule:
    async def test_is_made_listed_paused_resumed_and_removed(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent(nats_url), app(bus=BusSettings(url=nats_url)):
            said: list[str] = []
            for line in ("pause", "ls", "resume", "rm", "ls"):
                if line == "pause":
                    add = ("add", "daily", "assistant", "Sum up.", "--cron", "0 9 1 1 *", "--zone", "Europe/Berlin")
                    said.append((await (await natscope("schedule", *add, url=nats_url)).done()).err)
                name = () if line == "ls" else ("daily",)
                ended = await (await natscope("schedule", line, *name, url=nats_url)).done()
                said.append(ended.out or ended.err)
            unknown = await (await natscope("schedule", "rm", "daily", url=nats_url)).done()
        made, paused, listed, resumed, removed, none = said
        assert made.startswith("schedule daily comes 20")
        assert made.endswith("-01-01 08:00:00 UTC for the first time\n")
        assert paused == "schedule daily is paused\n"
        assert listed.splitlines()[1].split("  ")[0] == "daily"
        assert "0 9 1 1 * (Europe/Berlin)" in listed
        assert resumed == made.replace(" for the first time", " next")
        assert (removed, none) == ("schedule daily is removed\n", "no schedules\n")
        assert (unknown.code, unknown.err) == (
            4,
            "error: there is no schedule 'daily' (`natscope schedule ls` lists them)\n",
        )

    async def test_that_is_wrong_says_so(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent(nats_url), app(bus=BusSettings(url=nats_url)):
            add = ("schedule", "add", "s", "assistant", "Go.")
            never = await (await natscope(*add, "--cron", "0 0 30 2 *", url=nats_url)).done()
            two = await (await natscope(*add, "--cron", "@daily", "--every", "60", url=nats_url)).done()
            naive = await (await natscope(*add, "--at", "2030-01-01T09:00", url=nats_url)).done()
        assert (never.code, never.err) == (
            4,
            "error: schedule 's' never comes (name a time that is to come)\n",
        )
        assert (two.code, naive.code) == (2, 2)
