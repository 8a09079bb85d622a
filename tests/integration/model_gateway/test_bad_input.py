"""Bad input is told by a typed error that names it, before the provider is asked for anything."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natscope.contracts import errors, model
from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
    URLSource,
    VideoBlock,
)
from natscope.contracts.message import Message, Role
from natscope.contracts.tool import ToolSpec
from tests.integration.model_gateway.house import TOOL, House, opened, question
from tests.integration.model_gateway.site import PNG, File, Site, site
from tests.loopback.provider import Provider

MODELS = """\
providers:
  openai: {kind: openai, api_key: {env: OPENAI_API_KEY}, base_url: {env: OPENAI_BASE_URL}}
aliases:
  default: {targets: [{provider: openai, model: m-1}]}
  reader: {targets: [{provider: openai, model: m-2, modalities: [text]}]}
  small: {targets: [{provider: openai, model: m-3, context_size: 1000}]}
  viewer:
    targets:
      - {provider: openai, model: m-4, modalities: [text], context_size: 1000}
      - {provider: openai, model: m-5, modalities: [text, image], context_size: 100000}
  embedding: {purpose: embedding, targets: [{provider: openai, model: e-1, context_size: 100}]}
  speech: {purpose: speech, targets: [{provider: openai, model: s-1}]}
  transcription: {purpose: transcription, targets: [{provider: openai, model: t-1}]}
  image: {purpose: image, targets: [{provider: openai, model: i-1}]}
"""
HELLO = TextBlock(text="Hello?")
CALL = ToolUseBlock(id="call_7", name="execute_python", input={"code": "1"})
RESULT = ToolResultBlock(id="call_7", name="execute_python", output=[TextBlock(text="1")])
LIMIT = 100_000
PIXEL = "iVBORw0KGgo="


def _said(role: Role, *content: ContentBlock) -> Message:
    return Message(name=role, role=role, content=list(content))


def _image(data: str = PIXEL, media_type: str = "image/png") -> ImageBlock:
    return ImageBlock(source=Base64Source(data=data, media_type=media_type))


def _lies(url: str) -> ImageBlock:
    return ImageBlock(source=URLSource(url=url, media_type="image/png"))


def _schema(**parameters: object) -> ToolSpec:
    return TOOL.model_copy(update={"name": "broken", "parameters": parameters})


@pytest.fixture
async def there() -> AsyncIterator[Site]:
    """A site with files good and bad."""
    files = {
        "large": File(data=PNG + b"x" * LIMIT),
        "page": File(data=b"<html>log in</html>", media_type="text/html"),
        "good": File(),
    }
    async with site(**files) as found:
        yield found


@pytest.fixture
async def strict(nats_url: str, provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    """A gateway that knows what its models take, and may fetch from the loopback."""
    settings = {"max_media_bytes": LIMIT, "private_media": True}
    async with opened(nats_url, provider.url, tmp_path, models=MODELS, settings=settings) as house:
        yield house


TALKS: list[tuple[str, model.Chat, type[errors.NatscopeError], str]] = [
    ("unknown alias", question(model="nope"), errors.ModelNotFound, "'nope'"),
    ("alias of another purpose", question(model="embedding"), errors.ModelNotFound, "'embedding' is for embedding"),
    ("no message", question().model_copy(update={"messages": []}), errors.BodyInvalid, "no message"),
    (
        "message with no content",
        question().model_copy(update={"messages": [_said("user", HELLO), _said("user")]}),
        errors.BodyInvalid,
        "message 1 .* has no content",
    ),
    ("message with blank text", question(" "), errors.BodyInvalid, "message 0 .* has no content"),
    (
        "message of a kind that nobody knows",
        question().model_copy(update={"messages": [_said("user", UnknownBlock.model_validate({"type": "hologram"}))]}),
        errors.BodyInvalid,
        "message 0 .* has no content",
    ),
    (
        "tool with a schema that is none",
        question(tools=[_schema(type="objekt")]),
        errors.SchemaInvalid,
        "'broken'.*/type",
    ),
    (
        "tool with a schema that refers elsewhere",
        question(tools=[_schema(**{"$ref": "http://127.0.0.1:9/schema"})]),
        errors.SchemaInvalid,
        "'broken'.*127",
    ),
    (
        "output with a schema that is none",
        question(output=model.Output(json_schema={"type": "object", "required": "all"})),
        errors.SchemaInvalid,
        "output 'answer'.*/required",
    ),
    ("two tools of one name", question(tools=[TOOL, TOOL]), errors.BodyInvalid, "'execute_python'"),
    ("choice not offered", question(tools=[TOOL], tool_choice="peek"), errors.BodyInvalid, "'peek'"),
    (
        "result without its call",
        question().model_copy(update={"messages": [_said("user", HELLO), _said("tool", RESULT)]}),
        errors.BodyInvalid,
        "'call_7'",
    ),
    (
        "call without its result",
        question().model_copy(update={"messages": [_said("user", HELLO), _said("assistant", CALL)]}),
        errors.BodyInvalid,
        "'call_7'",
    ),
    (
        "two calls of one id",
        question().model_copy(update={"messages": [_said("assistant", CALL, CALL), _said("tool", RESULT)]}),
        errors.BodyInvalid,
        "'call_7'",
    ),
    ("prompt over the window", question("word " * 9000, model="small"), errors.ContextTooLong, "1,000"),
    ("prompt over every window", question("word " * 900_000, model="viewer"), errors.ContextTooLong, "1,000"),
]

SHOWN: list[tuple[str, str, ContentBlock, type[errors.NatscopeError], str]] = [
    ("image", "reader", _image(), errors.ModalityUnsupported, "'m-2' takes no image"),
    ("audio", "reader", AudioBlock(source=_image().source), errors.ModalityUnsupported, "no audio"),
    ("video", "reader", VideoBlock(source=_image().source), errors.ModalityUnsupported, "no video"),
    ("file", "reader", FileBlock(name="a.bin", source=_image().source), errors.ModalityUnsupported, "no file"),
    ("no base64", "default", _image("…"), errors.BodyInvalid, "image in message 0 .* no base64"),
    ("base64 cut", "default", _image(PIXEL[:-2]), errors.BodyInvalid, "no base64"),
    ("nothing", "default", _image(""), errors.BodyInvalid, "is empty"),
    ("other kind", "default", _image(media_type="image/jpeg"), errors.BodyInvalid, "image/jpeg, but is image/png"),
    ("no picture", "default", _image(media_type="text/html"), errors.BodyInvalid, "text/html, which is no image"),
    ("too large", "default", _image("A" * 200_000), errors.BodyTooLarge, f"the limit is {LIMIT}"),
    ("blob gone", "default", _lies("nats://blob/blobs/gone"), errors.BlobNotFound, "gone"),
    ("nobody there", "default", _lies("http://127.0.0.1:9/a.png"), errors.MediaUnavailable, "cannot be reached"),
    ("no host", "default", _lies("http://nowhere.invalid/a.png"), errors.MediaUnavailable, "not known"),
    ("no address", "default", _lies("ftp://127.0.0.1/a.png"), errors.MediaUnavailable, "none of the web"),
    ("not found", "default", _lies("{site}/nothing"), errors.MediaUnavailable, "HTTP 404"),
    ("a page", "default", _lies("{site}/page"), errors.MediaUnavailable, "text/html"),
    ("too large there", "default", _lies("{site}/large"), errors.BodyTooLarge, "is over"),
]


class TestChat:
    @pytest.mark.parametrize(("ask", "error", "named"), [talk[1:] for talk in TALKS], ids=[talk[0] for talk in TALKS])
    async def test_is_refused_before_anything_is_asked(
        self, strict: House, provider: Provider, ask: model.Chat, error: type[errors.NatscopeError], named: str
    ) -> None:
        for asked in (ask, ask.model_copy(update={"deltas_to": await strict.listen()})):
            with pytest.raises(error, match=named) as caught:
                await strict.guest.ask(model.CHAT, asked)
            assert type(caught.value) is error
            assert not caught.value.retryable
        assert provider.total == 0
        assert strict.deltas == []

    @pytest.mark.parametrize(
        ("alias", "block", "error", "named"), [each[1:] for each in SHOWN], ids=[each[0] for each in SHOWN]
    )
    async def test_media_is_refused_before_anything_is_asked(
        self,
        strict: House,
        provider: Provider,
        there: Site,
        alias: str,
        block: ImageBlock,
        error: type[errors.NatscopeError],
        named: str,
    ) -> None:
        if isinstance(block.source, URLSource):
            block = _lies(block.source.url.format(site=there.url))
        ask = question(model=alias).model_copy(update={"messages": [_said("user", HELLO, block)]})
        with pytest.raises(error, match=named) as caught:
            await strict.guest.ask(model.CHAT, ask)
        assert type(caught.value) is error
        assert provider.total == 0

    @pytest.mark.parametrize("subject", ["", "a b", "a 0\r\n\r\nPUB b 0", "a.*", ">", "a..b", "$KV.usage.a", "a" * 600])
    async def test_pieces_go_to_no_subject_that_is_none_or_the_server_s_own(
        self, strict: House, provider: Provider, subject: str
    ) -> None:
        with pytest.raises(errors.BodyInvalid, match=r"deltas_to: .* is no subject"):
            await strict.guest.ask(model.CHAT, question().model_copy(update={"deltas_to": subject}))
        assert provider.total == 0

    async def test_what_is_not_public_is_not_looked_at_unless_a_setting_says_so(
        self, nats_url: str, provider: Provider, there: Site, tmp_path: Path
    ) -> None:
        ask = question().model_copy(update={"messages": [_said("user", HELLO, _lies(f"{there.url}/good"))]})
        async with opened(nats_url, provider.url, tmp_path, models=MODELS) as house:
            with pytest.raises(errors.MediaUnavailable, match=r"127\.0\.0\.1 is not public"):
                await house.guest.ask(model.CHAT, ask)
        assert (there.asked, provider.total) == ([], 0)


class TestTheControl:
    async def test_good_input_passes(self, strict: House, provider: Provider, there: Site) -> None:
        talk = [
            _said("system", TextBlock(text="")),
            _said("user", HELLO, _image(), _lies(f"{there.url}/good")),
            _said("assistant", CALL),
            _said("tool", RESULT),
            _said("user", HELLO),
        ]
        await strict.guest.ask(model.CHAT, question(tools=[TOOL]).model_copy(update={"messages": talk}))
        assert provider.total == 1
        assert there.asked == ["/good"]
        assert "data:image/png;base64," in str(provider.requests[0]["messages"])
        assert there.url not in str(provider.requests[0])

    async def test_a_target_that_cannot_take_it_is_passed_over(self, strict: House, provider: Provider) -> None:
        ask = question(model="viewer").model_copy(update={"messages": [_said("user", HELLO, _image())]})
        await strict.guest.ask(model.CHAT, ask)
        await strict.guest.ask(model.CHAT, question("word " * 9000, model="viewer"))
        await strict.guest.ask(model.CHAT, question(model="viewer"))
        assert [request["model"] for request in provider.requests] == ["m-5", "m-5", "m-4"]

    async def test_what_a_tool_shows_to_a_reader_is_mentioned_instead(self, strict: House, provider: Provider) -> None:
        shown = RESULT.model_copy(update={"output": [TextBlock(text="1"), _image()]})
        talk = [_said("user", HELLO), _said("assistant", CALL), _said("tool", shown)]
        await strict.guest.ask(model.CHAT, question(model="reader", tools=[TOOL]).model_copy(update={"messages": talk}))
        sent = str(provider.requests[0])
        assert "[image (image/png): left out, the model takes none]" in sent
        assert PIXEL not in sent


MADE = [
    (model.EMBED, model.Embed(model="default", texts=["a"]), errors.ModelNotFound, "not for embedding"),
    (model.EMBED, model.Embed(model="embedding", texts=["a", ""]), errors.BodyInvalid, "text 1 is empty"),
    (model.EMBED, model.Embed(model="embedding", texts=["word " * 900]), errors.ContextTooLong, "text 0"),
    (model.SPEAK, model.Speak(model="nope", text="a"), errors.ModelNotFound, "'nope'"),
    (
        model.TRANSCRIBE,
        model.Transcribe(model="transcription", audio=AudioBlock(source=_image("?").source)),
        errors.BodyInvalid,
        "the recording is no base64",
    ),
    (
        model.TRANSCRIBE,
        model.Transcribe(model="transcription", audio=AudioBlock(source=_lies("http://127.0.0.1:9/a").source)),
        errors.MediaUnavailable,
        "cannot be reached",
    ),
    (model.DRAW, model.Draw(model="image", prompt="a", width=1), errors.BodyInvalid, "one side"),
]


class TestMaking:
    @pytest.mark.parametrize(("door", "ask", "error", "named"), MADE)
    async def test_is_refused_before_anything_is_asked(
        self,
        strict: House,
        provider: Provider,
        door: object,
        ask: object,
        error: type[errors.NatscopeError],
        named: str,
    ) -> None:
        with pytest.raises(error, match=named) as caught:
            await strict.guest.ask(door, ask)  # pyright: ignore[reportArgumentType]
        assert type(caught.value) is error
        assert provider.total == 0
