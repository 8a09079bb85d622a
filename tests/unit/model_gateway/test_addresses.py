"""Which addresses everybody can reach."""

from ipaddress import ip_address

import pytest

from natscope.addresses import is_public
from services.model_gateway.addresses import may_be_public


class TestIsPublic:
    @pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
    def test_the_internet_is(self, address: str) -> None:
        assert is_public(ip_address(address))

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b:1::1",
            "fec0::1",
            "168.63.129.16",
        ],
    )
    def test_what_is_within_a_network_is_not(self, address: str) -> None:
        assert not is_public(ip_address(address))


class TestMayBePublic:
    @pytest.mark.parametrize(
        "url",
        [
            "https://a.com/1.png",
            "http://a.com:8080",
            "https://bob:word@a.com/1",
            "https://1.1.1.1/1",
            "https://[2606:4700::1111]:443/1",
            "gs://bucket/1.png",
        ],
    )
    def test_what_others_may_reach(self, url: str) -> None:
        assert may_be_public(url)

    @pytest.mark.parametrize(
        "url",
        [
            "http://localhost/1",
            "http://localhost:80",
            "https://127.0.0.1/1",
            "https://a@10.0.0.1/1",
            "http://[::1]/1",
            "http://[::ffff:127.0.0.1]:9/1",
            "http://2130706433/1",
            "http://127.1/1",
            "http://printer/1",
            "http://nas.local/1",
            "http://nowhere.invalid/1",
            "https:///1",
            "http://",
            "1.png",
            "",
        ],
    )
    def test_what_they_cannot(self, url: str) -> None:
        assert not may_be_public(url)
