"""Choosing the ways that can take an ask, and what they see of it."""

import pytest

from natscope.contracts.blocks import Base64Source, ContentBlock, ImageBlock, TextBlock
from natscope.contracts.errors import ContextTooLong, ModalityUnsupported
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Modality
from services.model_gateway.catalog.models_file import Target
from services.model_gateway.choosing import sight, those_that_fit
from services.model_gateway.media import EVERYTHING, Sight
from services.model_gateway.ports import Fetches
from services.model_gateway.trying.routes import Route
from tests.unit.model_gateway.fakes import FakeAccount, FakeProvider

IMAGE = ImageBlock(source=Base64Source(data="AAAA", media_type="image/png"))


class Fetching(FakeProvider):
    """Fetches what lies at some addresses itself."""

    def __init__(self, *starts: str) -> None:
        super().__init__()
        self.fetches: Fetches = {"image": starts}


def _way(
    *takes: Modality, window: int | None = None, known: bool = True, provider: FakeProvider | None = None
) -> Route:
    target = Target("fake", "m", context_size=window, modalities=takes if known else None)
    return Route(target, FakeAccount("fake-0", provider or FakeProvider()))


def _ask(*content: ContentBlock) -> Chat:
    return Chat(model="m", messages=[Message(name="user", role="user", content=list(content))])


def _fifty(ask: Chat, way: Route) -> int:
    return 50


class TestThoseThatFit:
    def test_keep_their_order(self) -> None:
        ways = [_way("text", "image"), _way(known=False), _way("text", "image", window=100)]
        assert those_that_fit(_ask(IMAGE), ways, _fifty) == ways

    def test_are_not_those_that_take_no_such_media_or_have_no_room(self) -> None:
        blind, small, fit = _way("text"), _way("text", "image", window=10), _way("text", "image", window=100)
        assert those_that_fit(_ask(IMAGE), [blind, small, fit], _fifty) == [fit]

    def test_if_there_is_none_the_first_ones_reason_is_told(self) -> None:
        blind, small = _way("text"), _way("text", "image", window=10)
        with pytest.raises(ModalityUnsupported):
            those_that_fit(_ask(IMAGE), [blind, small], _fifty)
        with pytest.raises(ContextTooLong):
            those_that_fit(_ask(IMAGE), [small, blind], _fifty)

    def test_a_prompt_is_not_measured_where_no_window_is_known(self) -> None:
        def never(ask: Chat, way: Route) -> int:
            raise AssertionError("measured")

        assert len(those_that_fit(_ask(TextBlock(text="Hello.")), [_way("text")], never)) == 1


class TestSight:
    def test_of_text_needs_no_look_at_the_ways(self) -> None:
        assert sight(_ask(TextBlock(text="Hello.")), [_way("text")]) is EVERYTHING

    def test_is_what_any_of_the_models_takes(self) -> None:
        ways = [_way("text", "image"), _way("text", "audio")]
        assert sight(_ask(IMAGE), ways) == Sight(frozenset({"text", "image", "audio"}))

    def test_is_everything_if_one_is_not_known(self) -> None:
        assert sight(_ask(IMAGE), [_way("text"), _way(known=False)]).takes is None

    def test_what_all_providers_fetch_is_left_to_them(self) -> None:
        one, other = Fetching("gs://", "https://a.example/"), Fetching("https://a.example/")
        assert sight(_ask(IMAGE), [_way(provider=one), _way(provider=other)]).fetches == {
            "image": ("https://a.example/",)
        }
        assert sight(_ask(IMAGE), [_way(provider=one), _way()]).fetches == {"image": ()}
