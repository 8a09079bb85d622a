"""What a provider says of a call or a thought beside its words goes back to that provider, and to no other."""

import json
from typing import Any

import pytest

from natscope.contracts.blocks import ContentBlock, ThinkingBlock, ToolResultBlock, ToolUseBlock, plain
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from services.model_gateway.wires import chat_reply, messages_reply, messages_turns, responses, responses_reply
from services.model_gateway.wires.chat import body as chat_body
from services.model_gateway.wires.dialects import dialect
from tests.loopback.messages_wire import message
from tests.loopback.replies import Reply as Sent
from tests.loopback.responses_wire import response

PROGRAM = {"type": "program", "caller_id": "prog_1"}
SERVER = {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}

ITEM = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'}
BLOCK = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}


def _asked(*content: ContentBlock) -> Chat:
    """Return a question after a reply, whose calls are answered."""
    calls = [block for block in content if isinstance(block, ToolUseBlock)]
    results = [ToolResultBlock(id=call.id, name=call.name, output=list(plain("3"))) for call in calls]
    said = [
        Message(name="user", role="user", content=plain("Add.")),
        Message(name="assistant", role="assistant", content=list(content)),
        Message(name="user", role="tool", content=[*results, *([] if results else plain("And now?"))]),
    ]
    return Chat(request_id="r", model="default", messages=said)


def _responded(item: dict[str, Any]) -> list[ContentBlock]:
    draft = responses_reply.Draft("openai", "m-1", wrapped=False)
    draft.whole(json.dumps(response(Sent(), output=[item])).encode())
    return draft.end().content


def _items(provider: str, *content: ContentBlock) -> list[dict[str, Any]]:
    sent = json.loads(responses.body(_asked(*content), model="gpt-5", provider=provider, stream=False))
    return [item for item in sent["input"] if item.get("type") == "function_call"]


def _replied(block: dict[str, Any]) -> list[ContentBlock]:
    draft = messages_reply.Draft("anthropic", "m-1")
    draft.whole(json.dumps(message(Sent(text=""), content=[block], stop_reason="tool_use")).encode())
    return draft.end().content


def _parts(provider: str, *content: ContentBlock) -> list[dict[str, Any]]:
    turns: Any = messages_turns.turns(_asked(*content), provider=provider)
    return [part for turn in turns for part in turn["content"] if part["type"] == "tool_use"]


class TestWhatOpenAISaysOfACall:
    def test_goes_back_with_it(self) -> None:
        (item,) = _items("openai", *_responded({**ITEM, "namespace": "crm", "caller": PROGRAM}))
        assert (item["namespace"], item["caller"]) == ("crm", PROGRAM)

    def test_goes_to_no_other_provider(self) -> None:
        (item,) = _items("azure", *_responded({**ITEM, "namespace": "crm", "caller": PROGRAM}))
        assert not item.keys() & {"namespace", "caller"}

    def test_leaves_no_mark_where_there_is_nothing(self) -> None:
        (call,) = _responded({**ITEM, "namespace": None})
        assert isinstance(call, ToolUseBlock)
        assert call.metadata == {}


class TestWhatAnthropicSaysOfACall:
    def test_goes_back_with_it_and_to_no_other_provider(self) -> None:
        said = _replied({**BLOCK, "caller": SERVER, "toolset_name": "files"})
        (back,), (elsewhere,) = _parts("anthropic", *said), _parts("bedrock", *said)
        assert (back["caller"], back["toolset_name"]) == (SERVER, "files")
        assert elsewhere.keys() == {"type", "id", "name", "input"}


class TestAThoughtOfMistral:
    @pytest.mark.parametrize("chunked", [False, True], ids=["whole", "streamed"])
    def test_goes_back_as_it_was_signed(self, *, chunked: bool) -> None:
        words = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
        contents: list[Any] = [[words], [{"type": "thinking", "thinking": [], "signature": "c2ln"}], "Three."]
        if not chunked:
            contents = [[{**words, "signature": "c2ln"}, {"type": "text", "text": "Three."}]]
        draft = chat_reply.Draft("mistral_ai", "m-1")
        for content in contents:
            choice = {"index": 0, "finish_reason": "stop" if content is contents[-1] else None}
            if chunked:
                draft.take([json.dumps({"id": "x", "choices": [{**choice, "delta": {"content": content}}]}).encode()])
            else:
                draft.whole(json.dumps({"id": "x", "choices": [{**choice, "message": {"content": content}}]}).encode())
        if chunked:
            draft.take([b"[DONE]"])
        content = draft.end().content
        assert content[0] == ThinkingBlock(thinking="hm", provider="mistral_ai", signature="c2ln")
        call = ToolUseBlock(id="c1", name="add", input={})
        sent = json.loads(
            chat_body(
                _asked(*content, call), model="m-1", provider="mistral_ai", dialect=dialect("mistral"), stream=False
            )
        )
        assert sent["messages"][1]["content"][0] == {**words, "signature": "c2ln"}
