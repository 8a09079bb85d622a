"""Splitting a byte stream into server-sent events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model_gateway.wires.sse import Splitter

EVENTS = 'data: {"a": "ä"}\n\n: a comment\n\nevent: note\ndata: one\ndata:two\n\ndata: [DONE]\n\n'.encode()
DATA = ['{"a": "ä"}'.encode(), b"one\ntwo", b"[DONE]"]


def _fed(stream: bytes, cuts: list[int]) -> list[bytes]:
    splitter, found, start = Splitter(), list[bytes](), 0
    for cut in [*sorted(cuts), len(stream)]:
        found += splitter.feed(stream[start:cut])
        start = cut
    return found + splitter.end()


class TestSplitter:
    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
    def test_reads_every_kind_of_line_end(self, line_end: bytes) -> None:
        assert Splitter().feed(EVENTS.replace(b"\n", line_end) + b"\n") == DATA

    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
    def test_reads_the_same_one_byte_at_a_time(self, line_end: bytes) -> None:
        stream = EVENTS.replace(b"\n", line_end)
        assert _fed(stream, list(range(len(stream)))) == DATA

    @given(st.lists(st.integers(0, len(EVENTS)), max_size=8), st.sampled_from([b"\n", b"\r\n"]))
    def test_does_not_care_where_the_network_cuts(self, cuts: list[int], line_end: bytes) -> None:
        assert _fed(EVENTS.replace(b"\n", line_end), cuts) == DATA

    def test_keeps_an_event_back_until_it_is_whole(self) -> None:
        splitter = Splitter()
        assert splitter.feed(b'data: {"a"') == []
        assert splitter.feed(b": 1}\n") == []
        assert splitter.feed(b"\n") == [b'{"a": 1}']

    def test_gives_a_last_event_without_its_empty_line_at_the_end(self) -> None:
        splitter = Splitter()
        assert splitter.feed(b"data: [DONE]") == []
        assert splitter.end() == [b"[DONE]"]

    @pytest.mark.parametrize("cuts", [[], [1], [1, 2], [3], [4]])
    def test_passes_over_a_byte_order_mark_wherever_it_is_cut(self, cuts: list[int]) -> None:
        assert _fed(b"\xef\xbb\xbf" + EVENTS, cuts) == DATA

    @pytest.mark.parametrize("name", [b"dta: ", b"dat", b"\xef\xbb\xbfdata: ", b"Data: ", b"\0data: "])
    def test_does_not_lose_an_event_whose_name_is_garbled(self, name: bytes) -> None:
        garbled = EVENTS.replace(b"data: {", name + b"{")
        assert len(Splitter().feed(b"data: first\n\n" + garbled)) == len(DATA) + 1

    def test_passes_over_names_that_it_does_not_know_if_they_hold_no_data(self) -> None:
        assert Splitter().feed(b"x-note: pause\n\nretry: 3\n\nping\n\n: {\n\nid: {1}\n\n" + EVENTS) == DATA

    def test_gives_nothing_for_a_page_of_html(self) -> None:
        splitter = Splitter()
        assert splitter.feed(b"<html>\n\n<body>down</body>\n\n</html>") + splitter.end() == []
