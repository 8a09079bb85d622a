"""Copies of what was fetched: kept while their servers let them, and never more of them than there is room for."""

from services.model_gateway.copies import FRESH_S, Copies, Fetched

URL = "https://example.com/a"
ETAG = {"etag": '"1"'}


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _kept(headers: dict[str, str], *, direct: bool = True, size: int = 3) -> tuple[Copies, Clock]:
    clock = Clock()
    copies = Copies(10, clock=clock)
    copies.keep(URL, Fetched(b"x" * size, "image/png"), at=URL, direct=direct, headers=headers)
    return copies, clock


def _is_fresh(copies: Copies) -> bool:
    copy = copies.of(URL)
    return copy is not None and copies.is_fresh(copy)


class TestACopy:
    def test_is_asked_for_by_all_that_its_server_said(self) -> None:
        copy = _kept({**ETAG, "last-modified": "Sat, 21 Nov 2026 07:00:00 GMT"})[0].of(URL)
        assert copy is not None
        assert copy.validators == {"if-none-match": '"1"', "if-modified-since": "Sat, 21 Nov 2026 07:00:00 GMT"}

    def test_need_not_be_asked_for_while_it_is_fresh(self) -> None:
        copies, clock = _kept({"cache-control": "public, max-age=60", "age": "20"})
        clock.now = 39
        assert _is_fresh(copies)
        clock.now = 41
        assert not _is_fresh(copies)

    def test_is_not_fresh_for_ever(self) -> None:
        copies, clock = _kept({"cache-control": "max-age=31536000, immutable"})
        clock.now = FRESH_S + 1
        assert not _is_fresh(copies)

    def test_is_fresh_again_once_it_was_confirmed(self) -> None:
        copies, clock = _kept({**ETAG, "cache-control": "max-age=60"})
        clock.now = 100
        copies.confirm(URL, {"cache-control": "max-age=60"})
        assert _is_fresh(copies)

    def test_is_asked_for_each_time_where_it_must_be(self) -> None:
        assert not _is_fresh(_kept({**ETAG, "cache-control": "no-cache, max-age=60"})[0])
        assert not _is_fresh(_kept({**ETAG, "cache-control": "max-age=60"}, direct=False)[0])
        assert _is_fresh(_kept({**ETAG, "cache-control": "max-age=60"})[0])

    def test_is_not_kept_where_it_must_not_be_or_nobody_could_tell_whether_it_has_changed(self) -> None:
        assert _kept({**ETAG, "cache-control": "no-store"})[0].of(URL) is None
        assert _kept({**ETAG, "vary": "*"})[0].of(URL) is None
        assert _kept({})[0].of(URL) is None
        assert _kept(ETAG)[0].of(URL) is not None


class TestRoom:
    def test_is_made_by_dropping_what_was_of_no_use_for_longest(self) -> None:
        copies = Copies(10)
        for name in ("a", "b", "c"):
            copies.keep(name, Fetched(b"xxx", None), at=name, direct=True, headers=ETAG)
        copies.of("a")
        copies.keep("d", Fetched(b"xxx", None), at="d", direct=True, headers=ETAG)
        assert [name for name in "abcd" if copies.of(name)] == ["a", "c", "d"]

    def test_is_given_back_by_what_is_replaced(self) -> None:
        copies = Copies(10)
        for _ in range(5):
            copies.keep("a", Fetched(b"xxxxx", None), at="a", direct=True, headers=ETAG)
        copies.keep("b", Fetched(b"xxxxx", None), at="b", direct=True, headers=ETAG)
        assert [name for name in "ab" if copies.of(name)] == ["a", "b"]

    def test_is_not_made_for_what_is_larger_than_all_of_it(self) -> None:
        assert _kept(ETAG, size=11)[0].of(URL) is None
        assert _kept(ETAG, size=10)[0].of(URL) is not None
