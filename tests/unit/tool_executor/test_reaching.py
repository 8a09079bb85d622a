"""Which hosts of the web may be reached."""

import ipaddress

import pytest

from natscope.addresses import is_public
from services.tool_executor.page_reading import readable
from services.tool_executor.page_text import text_of_page
from services.tool_executor.reaching import is_listed
from services.tool_executor.settings import Settings


class TestAddresses:
    @pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
    def test_those_of_the_internet_are_public(self, address: str) -> None:
        assert is_public(ipaddress.ip_address(address))

    @pytest.mark.parametrize(
        "address",
        [
            *("127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.100.100.200"),
            *("168.63.129.16", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
            *("::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
            *("::ffff:127.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1"),
            *("2002:7f00:1::", "2001:0:7f00:1::"),
        ],
    )
    def test_those_of_a_machine_a_network_a_cloud_or_hidden_in_others_are_not(self, address: str) -> None:
        assert not is_public(ipaddress.ip_address(address))


class TestNames:
    @pytest.mark.parametrize(
        ("host", "listed", "expected"),
        [
            ("example.org", ["example.org"], True),
            ("EXAMPLE.org.", ["example.org"], True),
            ("www.example.org", ["example.org"], False),
            ("www.example.org", ["*.example.org"], True),
            ("a.b.example.org", ["*.example.org"], True),
            ("example.org", ["*.example.org"], False),
            ("badexample.org", ["*.example.org"], False),
            ("example.org.evil.net", ["example.org", "*.example.org"], False),
            ("anything.net", ["*"], True),
            ("anything.net", [], False),
        ],
    )
    def test_a_host_is_listed_by_its_name_or_as_one_below_it(
        self, host: str, listed: list[str], expected: bool
    ) -> None:
        assert is_listed(host, listed) is expected

    def test_an_operator_lists_hosts_by_commas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOOL_EXECUTOR_FETCH_HOSTS", "example.org, *.example.net")
        assert Settings().fetch_hosts == ("example.org", "*.example.net")


class TestPages:
    def test_a_page_is_read_as_text_without_what_is_not_read(self) -> None:
        page = (
            "<html><head><title>News</title><style>p{}</style></head><body><p>One <b>two</b></p><script>evil()</script>"
            '<ul><li>a</li></ul><a href="/x">more</a></body></html>'
        )
        assert text_of_page(page) == "# News\n\nOne **two**\n\n- a\n\n[more](/x)"

    async def test_a_page_that_would_hold_its_reader_up_for_hours_is_read_as_its_words(self) -> None:
        endless = "<!--" * 400_000 + "<p>word</p>"
        assert "word" in await readable(endless, within_s=1.0)
        assert await readable("<p>a <b>word</b></p>", within_s=30.0) == "a **word**"

    def test_a_page_nested_too_deeply_is_read_as_its_words(self) -> None:
        assert "word" in text_of_page("<div>" * 20_000 + "word")
