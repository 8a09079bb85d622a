"""Which servers are up, as their file says it now."""

import re

from natscope.contracts.errors import SpecInvalid
from tests.loopback.mcp_house import McpHouse, eventually, took


class TestTheFile:
    async def test_that_is_not_there_is_no_server_until_it_is(self, house: McpHouse) -> None:
        async with house.up() as up:
            house.bare()
            assert await up.until("ping")

    async def test_that_is_wrong_at_the_start_says_where(self, house: McpHouse) -> None:
        house.file.write_text("servers:\n  s:\n    comand: x\n")
        error, _ = await took(house.up().__aenter__())
        assert isinstance(error, SpecInvalid)
        assert "mcp.yaml:2: servers.s" in str(error)

    async def test_that_becomes_wrong_changes_nothing(self, house: McpHouse) -> None:
        async with house.bare().up() as up:
            before = await up.text("ping")
            house.file.write_text("servers: {s: {command: 3}}")
            assert await eventually(lambda: up.servers.fault is not None)
            assert await up.text("ping") == before

    async def test_that_names_another_server_leaves_the_first_alone(self, house: McpHouse) -> None:
        async with house.bare().up() as up:
            before = await up.text("ping")
            house.bare(name="other")
            assert "ping of" in await up.text("ping", server="other")
            assert await up.text("ping") == before

    async def test_that_names_a_server_no_more_ends_it(self, house: McpHouse) -> None:
        async with house.bare().bare(name="other").up() as up:
            await up.call("ping", server="other")
            del house.entries["other"]
            house.write()
            assert await up.until("ping", server="other", there=False)
            assert await eventually(lambda: len(house.processes()) == 2)

    async def test_that_says_something_else_of_a_server_begins_it_anew(self, house: McpHouse) -> None:
        async with house.bare().up() as up:
            before = await up.text("ping")
            house.bare(offer=["ping"])
            assert await up.until("note", there=False)
            assert await up.text("ping") != before

    async def test_that_disables_a_server_ends_it(self, house: McpHouse) -> None:
        async with house.bare().up() as up:
            await up.call("ping")
            house.bare(enabled=False)
            assert await up.until("ping", there=False)
            assert await house.gone()


class TestTheTools:
    async def test_are_others_when_the_server_says_so(self, house: McpHouse) -> None:
        async with house.real().up() as up:
            await up.call("grow", name="fresh")
            assert await up.text("fresh") == "new"
        assert house.told >= 2

    async def test_are_others_when_a_server_of_the_handshake_era_says_so(self, house: McpHouse) -> None:
        async with house.real(protocol="handshake").up() as up:
            await up.call("grow", name="fresh")
            assert await up.text("fresh") == "new"

    async def test_are_asked_for_again_where_each_call_has_a_session(self, house: McpHouse) -> None:
        async with house.bare("twins", session="per_call", refresh_s=0.3).up() as up:
            assert await up.until("a_b")
            starts = len(house.processes())
            assert starts >= 0
            connection = up.servers.tools["mcp__s__a_b"].connection
            connection.offers = []
            assert await eventually(lambda: bool(connection.offers))

    async def test_are_only_those_that_are_offered(self, house: McpHouse) -> None:
        async with house.bare(offer=["p*", "n*"], withhold=["no*"]).up() as up:
            assert await up.until("ping")
            assert list(up.servers.tools) == ["mcp__s__ping"]

    async def test_with_names_that_look_the_same_are_told_apart(self, house: McpHouse) -> None:
        async with house.bare("twins").up() as up:
            assert await eventually(lambda: len(up.servers.tools) == 3)
            texts = [await up.text(name.removeprefix("mcp__s__")) for name in list(up.servers.tools)]
        assert sorted(text.partition(" of ")[0] for text in texts) == ["a b", "a.b", "a_b"]

    async def test_with_names_that_no_tool_of_ours_has_get_one_and_are_called_by_it(self, house: McpHouse) -> None:
        async with house.bare("odd").up() as up:
            assert await eventually(lambda: len(up.servers.tools) == 8)
            texts = [await up.text(name.removeprefix("mcp__s__")) for name in up.servers.tools]
            assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name) for name in up.servers.tools)
        assert [text.rpartition(" of ")[0] for text in texts] == [
            *("Zähler/neu", "drop table;--", "a" * 200, "__init__", "🦊", "9", "x.y-z", " "),
        ]

    async def test_with_schemas_that_are_none_are_left_out(self, house: McpHouse) -> None:
        async with house.bare("crooked").up() as up:
            assert await up.until("ping")
            assert {"mcp__s__note", "mcp__s__mute"}.isdisjoint(up.servers.tools)
            assert "ping of" in await up.text("ping")

    async def test_are_all_there_if_they_are_five_hundred(self, house: McpHouse) -> None:
        async with house.bare("many").up() as up:
            assert await eventually(lambda: len(up.servers.tools) == 500)
            assert "tool_499 of" in await up.text("tool_499")

    async def test_with_a_variable_that_is_not_set_are_left_out(self, house: McpHouse) -> None:
        async with house.bare(tools={"note": {"preset": {"key": {"env": "UNSET"}}}}).up() as up:
            assert await up.until("ping")
            assert "mcp__s__note" not in up.servers.tools
