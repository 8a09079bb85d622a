"""Nothing that stands beside the plain words of a chat completions answer is lost."""

import json
from typing import Any

import pytest

from natscope.contracts.blocks import ImageBlock, TextBlock, ThinkingBlock
from services.model_gateway.ports import Reply
from services.model_gateway.wires.chat_reply import Draft

PICTURE = "data:image/png;base64,iVBORw0KGgo="


def _read(message: dict[str, Any], *, streamed: bool, **more: Any) -> Reply:
    draft = Draft("mistral", "asked-for")
    choice = {"index": 0, "finish_reason": "stop", ("delta" if streamed else "message"): message}
    body = json.dumps({"choices": [choice], **more}).encode()
    if streamed:
        draft.take([body, b"[DONE]"])
    else:
        draft.whole(body)
    return draft.end()


@pytest.mark.parametrize("streamed", [False, True])
class TestBeside:
    @pytest.mark.parametrize(
        "thought",
        [
            {"reasoning": {"content": "hm"}},
            {"reasoning_content": [{"type": "text", "text": "hm"}]},
            {"reasoning_content": "", "reasoning": "hm"},
            {"reasoning": "hm", "reasoning_details": ["odd"]},
        ],
    )
    def test_a_thought_is_read_in_whatever_shape_it_stands(self, thought: dict[str, Any], streamed: bool) -> None:
        reply = _read({**thought, "content": "Yes."}, streamed=streamed)
        assert reply.content == [ThinkingBlock(thinking="hm", provider="mistral"), TextBlock(text="Yes.")]

    def test_a_thought_may_be_a_summary_among_the_parts(self, streamed: bool) -> None:
        parts = [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "text", "text": "Yes."},
        ]
        reply = _read({"content": parts}, streamed=streamed)
        assert reply.content == [ThinkingBlock(thinking="hm", provider="mistral"), TextBlock(text="Yes.")]

    def test_words_stay_beside_details_that_only_the_provider_can_read(self, streamed: bool) -> None:
        detail = {"type": "reasoning.encrypted", "data": "c2VhbGVk", "index": 0}
        message = {"reasoning": "hm", "reasoning_details": [detail], "content": "Yes."}
        thoughts = [each for each in _read(message, streamed=streamed).content if isinstance(each, ThinkingBlock)]
        assert [(each.thinking, each.redacted) for each in thoughts] == [("", "c2VhbGVk"), ("hm", None)]

    def test_a_refusal_may_be_a_part(self, streamed: bool) -> None:
        reply = _read({"content": [{"type": "refusal", "refusal": "I will not."}]}, streamed=streamed)
        assert reply.content == [TextBlock(text="I will not.")]

    def test_a_picture_may_be_a_part(self, streamed: bool) -> None:
        picture = {"type": "image_url", "image_url": {"url": PICTURE}}
        reply = _read({"content": [{"type": "text", "text": "Here:"}, picture]}, streamed=streamed)
        assert [type(block) for block in reply.content] == [TextBlock, ImageBlock]
        assert reply.metadata == {}

    @pytest.mark.parametrize("name", ["executed_tools", "video_result", "annotations"])
    def test_what_the_provider_did_is_kept(self, name: str, streamed: bool) -> None:
        reply = _read({"content": "Yes.", name: [{"type": "search", "output": "x"}]}, streamed=streamed)
        assert reply.metadata == {name: [{"type": "search", "output": "x"}]}

    @pytest.mark.parametrize("name", ["citations", "search_results", "web_search"])
    def test_sources_of_the_whole_answer_are_kept(self, name: str, streamed: bool) -> None:
        reply = _read({"content": "Yes."}, streamed=streamed, **{name: ["https://example.org"]})
        assert reply.metadata == {name: ["https://example.org"]}
