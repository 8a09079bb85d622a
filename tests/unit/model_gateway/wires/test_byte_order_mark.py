"""A byte order mark before an answer, which some proxies put there: it takes nothing of the answer away."""

from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any

import pytest

from services.model_gateway.ports import Reply
from services.model_gateway.wires import chat_reply, gemini_reply, messages_reply, responses_reply
from services.model_gateway.wires.sse import Splitter
from tests.loopback import chat_wire, gemini_wire, messages_wire, replies, responses_wire

WIRES = {
    "chat": (chat_wire, chat_reply.Draft),
    "responses": (responses_wire, responses_reply.Draft),
    "messages": (messages_wire, messages_reply.Draft),
    "gemini": (gemini_wire, gemini_reply.Draft),
}
SENT = replies.Reply(text="one two three", pieces=3)


def _whole(draft: Any, body: bytes) -> Reply:
    draft.whole(body)
    return draft.end()


def _streamed(draft: Any, body: bytes) -> Reply:
    splitter = Splitter()
    draft.take([*splitter.feed(body), *splitter.end()])
    return draft.end()


@pytest.mark.parametrize("wire", WIRES)
class TestAMark:
    def test_before_a_whole_answer_changes_nothing(self, wire: str) -> None:
        module, draft = WIRES[wire]
        self._changes_nothing(_whole, draft, module.unary(SENT))

    def test_before_a_stream_changes_nothing(self, wire: str) -> None:
        module, draft = WIRES[wire]
        self._changes_nothing(_streamed, draft, b"".join(module.events(SENT)))

    def _changes_nothing(self, read: Callable[[Any, bytes], Reply], draft: Any, body: bytes) -> None:
        plain, marked = read(draft("p", "m"), body), read(draft("p", "m"), BOM_UTF8 + body)
        assert marked.content == plain.content
        assert (marked.usage, marked.response_id) == (plain.usage, plain.response_id)
