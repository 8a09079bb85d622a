"""Fetching media from the web: real HTTP, and nothing that is not public."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from natscope.contracts.errors import BodyTooLarge, MediaUnavailable
from services.model_gateway.copies import Copies
from services.model_gateway.fetching import MayReach, Web
from tests.integration.model_gateway.site import PNG, File, site

LIMIT = 100_000
ETAG = (("etag", '"1"'),)


@asynccontextmanager
async def web(
    may_reach: MayReach | None = lambda _: True, *, timeout_s: float = 30, copies: Copies | None = None
) -> AsyncIterator[Web]:
    found = Web(timeout_s=timeout_s, may_reach=may_reach, copies=copies)
    try:
        yield found
    finally:
        await found.close()


class TestFetch:
    async def test_returns_the_bytes_and_what_the_server_calls_them(self) -> None:
        async with site(a=File()) as there, web() as here:
            found = await here.fetch(f"{there.url}/a", max_bytes=LIMIT)
        assert (found.data, found.media_type) == (PNG, "image/png")

    @pytest.mark.parametrize("media_type", [None, "application/octet-stream"])
    async def test_a_server_that_does_not_know_says_nothing(self, media_type: str | None) -> None:
        async with site(a=File(media_type=media_type)) as there, web() as here:
            assert (await here.fetch(f"{there.url}/a", max_bytes=LIMIT)).media_type is None

    async def test_follows_a_few_redirects(self) -> None:
        files = {"a": File(status=302, location="/b"), "b": File(status=301, location="c"), "c": File()}
        async with site(**files) as there, web() as here:
            assert (await here.fetch(f"{there.url}/a", max_bytes=LIMIT)).data == PNG
        assert there.asked == ["/a", "/b", "/c"]

    async def test_gives_up_on_redirects_without_an_end(self) -> None:
        async with site(a=File(status=302, location="/a")) as there, web() as here:
            with pytest.raises(MediaUnavailable, match="more than 3 redirects"):
                await here.fetch(f"{there.url}/a", max_bytes=LIMIT)
        assert len(there.asked) == 4

    async def test_stops_reading_what_is_too_large(self) -> None:
        async with site(a=File(data=b"x" * (LIMIT * 100))) as there, web() as here:
            with pytest.raises(BodyTooLarge, match=f"over {LIMIT} bytes"):
                await here.fetch(f"{there.url}/a", max_bytes=LIMIT)
        assert there.sent < LIMIT * 100

    async def test_waits_no_longer_than_it_may(self) -> None:
        async with site(a=File(delay_s=30)) as there, web(timeout_s=0.1) as here:
            with pytest.raises(MediaUnavailable, match=r"no answer within 0\.1 s"):
                await here.fetch(f"{there.url}/a", max_bytes=LIMIT)

    @pytest.mark.parametrize(
        ("file", "reason"),
        [(File(status=404), "HTTP 404"), (File(status=500), "HTTP 500"), (File(data=b""), "it is empty")],
    )
    async def test_says_why_there_is_nothing(self, file: File, reason: str) -> None:
        async with site(a=file) as there, web() as here:
            with pytest.raises(MediaUnavailable, match=reason):
                await here.fetch(f"{there.url}/a", max_bytes=LIMIT)

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("http://127.0.0.1:9/a", "cannot be reached"),
            ("http://nowhere.invalid/a", "host is not known"),
            ("ftp://127.0.0.1/a", "is none of the web"),
            ("file:///etc/hostname", "is none of the web"),
            ("gs://bucket/a", "is none of the web"),
            ("http://", "is none of the web"),
            ("http://[::1", "is none of the web"),
            ("", "is none of the web"),
        ],
    )
    async def test_says_what_is_wrong_with_an_address(self, url: str, reason: str) -> None:
        async with web() as here:
            with pytest.raises(MediaUnavailable, match=reason):
                await here.fetch(url, max_bytes=LIMIT)

    async def test_tells_nobody_what_may_be_secret_in_an_address(self) -> None:
        async with web() as here:
            with pytest.raises(MediaUnavailable) as caught:
                await here.fetch("http://bob:word@127.0.0.1:9/a?signature=hidden", max_bytes=LIMIT)
        assert "127.0.0.1:9/a" in caught.value.message
        assert not any(word in str(caught.value) for word in ("bob", "word", "hidden"))


class TestAgain:
    async def test_what_has_not_changed_is_not_sent_again(self) -> None:
        async with site(a=File(headers=ETAG)) as there, web(copies=Copies(LIMIT)) as here:
            found = [await here.fetch(f"{there.url}/a", max_bytes=LIMIT) for _ in range(3)]
            assert {each.data for each in found} == {PNG}
            assert (len(there.asked), there.unchanged) == (3, 2)
            there.files["/a"] = File(data=PNG + b"!", headers=(("etag", '"2"'),))
            assert (await here.fetch(f"{there.url}/a", max_bytes=LIMIT)).data == PNG + b"!"

    async def test_without_room_for_copies_it_is(self) -> None:
        async with site(a=File(headers=ETAG)) as there, web() as here:
            for _ in range(3):
                await here.fetch(f"{there.url}/a", max_bytes=LIMIT)
            assert (len(there.asked), there.unchanged) == (3, 0)

    async def test_what_is_fresh_is_not_even_asked_for(self) -> None:
        fresh = File(headers=(("cache-control", "max-age=60"),))
        async with site(a=fresh) as there, web(copies=Copies(LIMIT)) as here:
            for _ in range(3):
                await here.fetch(f"{there.url}/a", max_bytes=LIMIT)
            assert there.asked == ["/a"]

    async def test_a_redirect_is_followed_anew_and_what_it_leads_to_is_known(self) -> None:
        files = {
            "a": File(status=302, location="/b"),
            "b": File(headers=ETAG),
            "c": File(data=PNG + b"c", headers=ETAG),
        }
        async with site(**files) as there, web(copies=Copies(LIMIT)) as here:
            for _ in range(2):
                assert (await here.fetch(f"{there.url}/a", max_bytes=LIMIT)).data == PNG
            assert (there.asked, there.unchanged) == (["/a", "/b"] * 2, 1)
            there.files["/a"] = File(status=302, location="/c")
            assert (await here.fetch(f"{there.url}/a", max_bytes=LIMIT)).data == PNG + b"c"

    async def test_a_copy_is_of_no_use_where_it_is_too_large_or_gone(self) -> None:
        async with site(a=File(headers=ETAG)) as there, web(copies=Copies(LIMIT)) as here:
            await here.fetch(f"{there.url}/a", max_bytes=LIMIT)
            with pytest.raises(BodyTooLarge):
                await here.fetch(f"{there.url}/a", max_bytes=4)
            there.files["/a"] = File(status=404)
            with pytest.raises(MediaUnavailable, match="HTTP 404"):
                await here.fetch(f"{there.url}/a", max_bytes=LIMIT)


class TestTheWall:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "localhost",
            "0.0.0.0",
            "10.0.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ],
    )
    async def test_no_address_within_the_network_is_reached(self, host: str) -> None:
        async with web(None) as here:
            with pytest.raises(MediaUnavailable, match="is not public"):
                await here.fetch(f"http://{host}:9/a", max_bytes=LIMIT)

    @pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1"])
    async def test_nor_one_that_is_written_in_another_way(self, host: str) -> None:
        async with site(a=File()) as there, web(None) as here:
            with pytest.raises(MediaUnavailable):
                await here.fetch(f"http://{host}:{there.url.rpartition(':')[2]}/a", max_bytes=LIMIT)
        assert there.asked == []

    async def test_a_name_that_leads_there_is_none_better(self) -> None:
        async with site(a=File()) as there:
            url = there.url.replace("127.0.0.1", "localhost")
            async with web(None) as here:
                with pytest.raises(MediaUnavailable, match="is not public"):
                    await here.fetch(f"{url}/a", max_bytes=LIMIT)
            assert there.asked == []
            async with web() as here:
                assert (await here.fetch(f"{url}/a", max_bytes=LIMIT)).data == PNG

    async def test_it_stands_unless_it_is_taken_down(self) -> None:
        async with site(a=File()) as there:
            async with web(None) as here:
                with pytest.raises(MediaUnavailable):
                    await here.fetch(f"{there.url}/a", max_bytes=LIMIT)
            assert there.asked == []
            async with web() as here:
                assert (await here.fetch(f"{there.url}/a", max_bytes=LIMIT)).data == PNG

    @pytest.mark.parametrize("location", ["http://127.0.0.2:{port}/b", "//127.0.0.2:{port}/b"])
    async def test_no_redirect_leads_around_it(self, location: str) -> None:
        async with site(b=File()) as there:
            port = there.url.rpartition(":")[2]
            there.files["/a"] = File(status=302, location=location.format(port=port))
            async with web(lambda address: str(address) == "127.0.0.1") as here:
                with pytest.raises(MediaUnavailable, match=r"127\.0\.0\.2 is not public"):
                    await here.fetch(f"{there.url}/a", max_bytes=LIMIT)
            assert there.asked == ["/a"]
