"""`fetch_url` against a server of ours: what it fetches, and what it refuses; each refusal with its control."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from natscope.addresses import Address, is_public
from natscope.bus import BusSettings, connect
from natscope.contracts import tool
from natscope.contracts.blocks import ImageBlock, ToolResultBlock, ToolUseBlock, text_of
from natscope.contracts.contract import new_id
from services.tool_executor.app import app
from services.tool_executor.settings import Settings
from services.tool_executor.tools.fetch_url import fetch_url
from services.tool_executor.web import MayReach, Web
from tests.doors.tool_executor.house import House

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def answer(body: bytes, kind: str = "text/plain", status: str = "200 OK", **more: str) -> bytes:
    headers = {"content-type": kind, "content-length": str(len(body)), "connection": "close", **more}
    return (
        f"HTTP/1.1 {status}\r\n".encode()
        + b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items())
        + b"\r\n"
        + body
    )


def leads_to(place: str) -> bytes:
    return answer(b"", status="302 Found", location=place)


@asynccontextmanager
async def site(pages: dict[str, bytes]) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve pages by path on this machine; give the port and the paths that were asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = request.split()[1]
        asked.append(path)
        writer.write(pages.get(path) or answer(b"nothing here", status="404 Not Found"))
        await writer.drain()
        if path != "/slow":
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


def anywhere(_: Address) -> bool:
    return True


@asynccontextmanager
async def fetcher(
    *hosts: str, may_reach: MayReach = anywhere, max_bytes: int = 10_000
) -> AsyncIterator[Callable[[str], Awaitable[ToolResultBlock]]]:
    web = Web(hosts, max_bytes=max_bytes, may_reach=may_reach)
    house = House(tools=[fetch_url(web)])

    async def fetch(url: str) -> ToolResultBlock:
        return await house.use("fetch_url", url=url)

    try:
        yield fetch
    finally:
        await web.close()


class TestFetching:
    async def test_a_page_comes_as_text_and_with_where_it_was(self) -> None:
        page = b"<html><title>T</title><body><p>Hello <i>you</i></p><script>x</script></body></html>"
        async with site({"/": answer(page, "text/html; charset=utf-8")}) as (port, _), fetcher("localhost") as fetch:
            result = await fetch(f"http://localhost:{port}/")
        assert text_of(result.output).splitlines()[1:] == ["# T", "", "Hello *you*"]
        assert (result.state, result.metadata["status"]) == ("success", 200)

    @pytest.mark.parametrize("charset", ["hex", "undefined", "idna", "punycode", "none-such", "utf-8"])
    async def test_a_page_that_names_no_charset_of_texts_is_read_all_the_same(self, charset: str) -> None:
        page = answer(b"plain-words", f"text/plain; charset={charset}")
        async with site({"/": page}) as (port, _), fetcher("localhost") as fetch:
            assert "plain-words" in text_of((await fetch(f"http://localhost:{port}/")).output)

    async def test_a_picture_is_shown_as_one(self) -> None:
        async with site({"/a.png": answer(PNG, "image/png")}) as (port, _), fetcher("localhost") as fetch:
            result = await fetch(f"http://localhost:{port}/a.png")
        assert isinstance(result.output[1], ImageBlock)

    async def test_a_refusing_server_is_a_result_with_what_it_said(self) -> None:
        async with site({}) as (port, _), fetcher("localhost") as fetch:
            result = await fetch(f"http://localhost:{port}/none")
        assert (result.state, result.metadata["status"]) == ("error", 404)
        assert "nothing here" in text_of(result.output)

    async def test_redirects_are_followed_but_not_for_ever(self) -> None:
        pages = {"/a": leads_to("/b"), "/b": answer(b"there"), "/round": leads_to("/round")}
        async with site(pages) as (port, _), fetcher("localhost") as fetch:
            assert "there" in text_of((await fetch(f"http://localhost:{port}/a")).output)
            assert "more than 5 redirects" in text_of((await fetch(f"http://localhost:{port}/round")).output)

    async def test_what_is_too_large_is_refused_whether_it_says_so_or_not(self) -> None:
        endless = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n" + b"x" * 50_000
        pages = {"/told": answer(b"x" * 10_001), "/untold": endless, "/fits": answer(b"x" * 10_000)}
        async with site(pages) as (port, _), fetcher("localhost") as fetch:
            for path in ("/told", "/untold"):
                assert "over 10000 bytes" in text_of((await fetch(f"http://localhost:{port}{path}")).output)
            assert (await fetch(f"http://localhost:{port}/fits")).state == "success"

    async def test_what_comes_compressed_is_refused_for_nobody_knows_how_large_it_gets(self) -> None:
        packed = answer(b"\x1f\x8b", **{"content-encoding": "gzip"})
        async with site({"/": packed}) as (port, _), fetcher("localhost") as fetch:
            assert "compressed" in text_of((await fetch(f"http://localhost:{port}/")).output)


class TestRefusing:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "0.0.0.0"])
    async def test_a_host_that_is_not_public_is_not_asked_however_it_is_written(self, host: str) -> None:
        async with site({"/": answer(b"secret")}) as (port, asked):
            async with fetcher("*", may_reach=is_public) as fetch:
                refused = await fetch(f"http://{host}:{port}/")
            assert refused.state == "error"
            assert asked == []
            async with fetcher("*", may_reach=anywhere) as fetch:
                assert "secret" in text_of((await fetch(f"http://{host}:{port}/")).output)

    async def test_a_redirect_to_what_is_not_public_is_not_followed(self) -> None:
        def only_localhost_by_name(address: Address) -> bool:
            return str(address) == "127.0.0.1"

        pages = {"/secret": answer(b"secret")}
        async with site(pages) as (port, asked):
            pages["/"] = leads_to(f"http://127.0.0.2:{port}/secret")
            async with fetcher("*", may_reach=only_localhost_by_name) as fetch:
                assert "is not public" in text_of((await fetch(f"http://127.0.0.1:{port}/")).output)
            assert asked == ["/"]

    async def test_a_redirect_to_a_host_that_is_not_listed_is_not_followed(self) -> None:
        pages = {"/secret": answer(b"secret")}
        async with site(pages) as (port, asked):
            pages["/"] = leads_to(f"http://127.0.0.1:{port}/secret")
            async with fetcher("localhost") as fetch:
                assert "not on the list" in text_of((await fetch(f"http://localhost:{port}/")).output)
            assert asked == ["/"]
            async with fetcher("localhost", "127.0.0.1") as fetch:
                assert "secret" in text_of((await fetch(f"http://localhost:{port}/")).output)

    async def test_each_connection_goes_to_an_address_that_was_checked_for_it(self) -> None:
        checked: list[str] = []

        def once(address: Address) -> bool:
            checked.append(str(address))
            return len(checked) == 1

        async with site({"/": answer(b"first")}) as (port, asked), fetcher("*", may_reach=once) as fetch:
            assert "first" in text_of((await fetch(f"http://localhost:{port}/")).output)
            assert (await fetch(f"http://localhost:{port}/")).state == "error"
            assert asked == ["/"]

    @pytest.mark.parametrize(
        "url",
        [
            "file:///etc/passwd",
            "ftp://localhost/",
            "gopher://localhost/",
            "nats://localhost",
            "http://",
            "x",
            "http://u:p@localhost/",
        ],
    )
    async def test_what_is_no_plain_address_of_the_web_is_refused(self, url: str) -> None:
        async with fetcher("*") as fetch:
            assert (await fetch(url)).state == "error"


class TestOffering:
    async def test_there_is_no_such_tool_unless_the_operator_lists_hosts(self, nats_url: str) -> None:
        where = BusSettings(url=nats_url)
        async with connect("guest", where) as bus:
            offers: list[bool] = []
            for hosts in ((), ("localhost",)):
                async with app(Settings(backend="none", fetch_hosts=hosts), bus=where):
                    while not (told := await bus.ask_all(tool.LIST, tool.List(), wait_s=0.3)):
                        pass
                    (listed,) = told
                    offers.append("fetch_url" in [spec.name for spec in listed.tools])
        assert offers == [False, True]

    async def test_a_private_host_is_fetched_from_only_if_the_operator_says_that_too(self, nats_url: str) -> None:
        where, states = BusSettings(url=nats_url), list[str]()
        async with site({"/": answer(b"secret")}) as (port, asked), connect("guest", where) as bus:
            call = ToolUseBlock(id="c", name="fetch_url", input={"url": f"http://localhost:{port}/"})
            for private in (False, True):
                settings = Settings(backend="none", fetch_hosts=("localhost",), fetch_private=private)
                async with app(settings, bus=where):
                    ask = tool.Call(call_id=new_id(), call=call, session="s")
                    states.append((await bus.ask(tool.CALL, ask, "fetch_url")).result.state)
        assert (states, asked) == (["error", "success"], ["/"])
