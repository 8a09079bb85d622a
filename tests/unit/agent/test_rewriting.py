"""Messages that hooks put in the place of others: what of them the journal keeps."""

from natscope.contracts.blocks import plain
from natscope.contracts.hook import Stretch
from natscope.contracts.message import Message
from services.agent.hooks.rewriting import difference


def said(id: str, text: str = "") -> Message:
    return Message(id=id, name="user", role="user", content=plain(text or id))


TALK = [said(each) for each in "abcdef"]


class TestADifference:
    def test_names_what_stays_by_its_places_alone(self) -> None:
        assert difference(TALK, TALK) == [Stretch(first=0, count=6)]
        assert difference(TALK, TALK[:2] + TALK[4:]) == [Stretch(first=0, count=2), Stretch(first=4, count=2)]
        assert difference(TALK, [TALK[1], TALK[0]]) == [Stretch(first=1, count=1), Stretch(first=0, count=1)]

    def test_holds_what_is_new_or_another(self) -> None:
        new, other = said("g"), said("c", "another")
        after = [*TALK[:2], other, *TALK[3:], new]
        assert difference(TALK, after) == [Stretch(first=0, count=2), other, Stretch(first=3, count=3), new]
