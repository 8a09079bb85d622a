"""Estimates of prompts before they are sent."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natscope.contracts.blocks import (
    AudioBlock,
    Base64Source,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    URLSource,
    plain,
)
from natscope.contracts.message import Message
from natscope.contracts.model import Chat, Generation, Output
from natscope.contracts.tool import ToolSpec
from services.model_gateway.accounting.corrections import Corrections
from services.model_gateway.accounting.pieces import Pieces, Vocabulary
from services.model_gateway.accounting.tokens import Estimator

ESTIMATOR = Estimator()
WEATHER = ToolSpec(
    name="get_weather",
    description="Get the current weather in a given location.",
    parameters={
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state."},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["location"],
    },
)
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


def chat(*said: str | list[ContentBlock], tools: list[ToolSpec] | None = None, output: Output | None = None) -> Chat:
    roles = ("user", "assistant")
    messages = [
        Message(name="x", role=roles[at % 2], content=plain(each) if isinstance(each, str) else each)
        for at, each in enumerate(said)
    ]
    return Chat(model="m", messages=messages, tools=tools or [], output=output)


def tokens(ask: Chat, provider: str = "openai", model: str = "gpt-4o") -> int:
    return ESTIMATOR.input_tokens(ask, provider, model)


def png(width: int, height: int) -> ImageBlock:
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08\x06\x00\x00\x00"
    return ImageBlock(source=Base64Source(data=base64.b64encode(head).decode(), media_type="image/png"))


class TestAnEstimate:
    @pytest.mark.parametrize(
        ("text", "real"),
        [
            ("What is the capital of France?", 14),
            ("Tell me a joke about OpenTelemetry, please.", 16),
            ("Extract the book: The Name of the Wind by Patrick Rothfuss", 21),
        ],
    )
    def test_of_a_short_question_is_near_what_openai_counts(self, text: str, real: int) -> None:
        assert tokens(chat(text)) == pytest.approx(real, abs=2)

    def test_counts_what_every_message_takes_besides_its_text(self) -> None:
        assert tokens(chat("Hi", "Hi")) - tokens(chat("Hi")) == 5

    def test_counts_tools_and_schemas(self) -> None:
        bare = tokens(chat("Hi"))
        assert 55 < tokens(chat("Hi", tools=[WEATHER])) - bare < 75
        assert 20 < tokens(chat("Hi", output=Output(json_schema=SCHEMA))) - bare < 45

    def test_knows_that_claude_is_told_much_about_tools(self) -> None:
        bare, equipped = chat("Hi"), chat("Hi", tools=[WEATHER])
        assert tokens(equipped, "anthropic", "claude-sonnet-4-0") - tokens(bare, "anthropic", "claude-sonnet-4-0") > 380

    def test_counts_calls_and_their_results(self) -> None:
        used = ToolUseBlock(id="1", name="get_weather", raw_input='{"location": "Paris"}')
        result = ToolResultBlock(id="1", name="get_weather", output=plain("It is sunny and 21 degrees."))
        assert 20 < tokens(chat("Hi", [used], [result])) - tokens(chat("Hi", "", "")) < 45

    def test_counts_sealed_thoughts_for_their_writer_alone(self) -> None:
        thought = ThinkingBlock(thinking="", provider="openai", redacted="x" * 9572)
        ask = chat("Hi", [thought], "Go on")
        assert tokens(ask, "openai", "gpt-5") > 1500
        assert tokens(ask, "x_ai", "gpt-5") < 50

    def test_counts_what_it_takes_to_think(self) -> None:
        ask = chat("Hi")
        thinking = ask.model_copy(update={"generation": Generation(thinking="low")})
        model = "claude-sonnet-4-0"
        assert tokens(thinking, "anthropic", model) - tokens(ask, "anthropic", model) == pytest.approx(28, abs=1)

    @pytest.mark.parametrize(
        ("model", "size", "real"),
        [("gpt-4o", (512, 512), 255), ("gpt-4o", (4096, 1024), 765), ("claude-sonnet-4-0", (750, 1000), 1000)],
    )
    def test_counts_pictures_by_their_size(self, model: str, size: tuple[int, int], real: int) -> None:
        seen, unseen = chat([TextBlock(text="Hi"), png(*size)]), chat("Hi")
        assert tokens(seen, "any", model) - tokens(unseen, "any", model) == pytest.approx(real, abs=90)

    @pytest.mark.parametrize(
        "block",
        [
            ImageBlock(source=URLSource(url="https://a/b.png", media_type="image/png")),
            ImageBlock(source=Base64Source(data="bm90IGFuIGltYWdl", media_type="image/png")),
            ImageBlock(source=Base64Source(data="%%%", media_type="image/png")),
            FileBlock(name="a.pdf", source=URLSource(url="https://a/b.pdf", media_type="application/pdf")),
            AudioBlock(source=Base64Source(data="AAAA" * 10_000, media_type="audio/wav")),
        ],
    )
    def test_counts_media_that_it_cannot_see_into(self, block: ContentBlock) -> None:
        assert tokens(chat([block])) > tokens(chat(""))

    @given(st.lists(st.text(), max_size=4), st.sampled_from(["gpt-4o", "gpt-5", "claude-opus-4-5", "gemini-3-pro", ""]))
    def test_is_made_of_any_text(self, said: list[str], model: str) -> None:
        assert tokens(chat(*said), "any", model) >= 1

    def test_follows_a_schema_that_refers_to_itself_only_so_far(self) -> None:
        tree = {"type": "object", "properties": {"child": {"$ref": "#/$defs/Tree"}}}
        tool = WEATHER.model_copy(update={"parameters": {**tree, "$defs": {"Tree": tree}}})
        assert tokens(chat("Hi", tools=[tool])) < 400


class TestALongText:
    def test_is_counted_by_slices_of_it(self) -> None:
        seen: list[str] = []

        def tokens_of(piece: str) -> float:
            seen.append(piece)
            return 1.0

        text = " ".join(f"w{n:06}" for n in range(200_000))
        counted = Pieces(tokens_of).count(text)
        whole = sum(Pieces(lambda _: 1.0).count(text[at : at + 100_000]) for at in range(0, len(text), 100_000))
        assert counted == pytest.approx(whole, rel=0.05)
        assert sum(map(len, seen)) < len(text) / 10


class TestTheVocabulary:
    def test_joins_pairs_as_bytes_by_their_rank(self) -> None:
        ranks = [bytes([byte]) for byte in range(256)] + [b"he", b"ll", b"hell", b" w", b"orld", b"or", b"ld"]
        vocabulary = Vocabulary.read(
            b"\n".join(base64.b64encode(token) + b" " + str(rank).encode() for rank, token in enumerate(ranks))
        )
        pieces = Pieces(vocabulary.tokens_of)
        assert pieces.count("hello") == 2
        assert pieces.count("hello world") == 2 + 2
        assert pieces.count("é") == 2

    def test_says_of_a_text_again_what_it_said_before(self) -> None:
        counted: list[str] = []

        def one(piece: str) -> float:
            counted.append(piece)
            return 1.0

        pieces = Pieces(one)
        assert pieces.count("one two, one") == pieces.count("one two, one") == 4
        assert counted == ["one", " two", ",", " one"]


class TestCorrections:
    def test_begin_with_some_room_and_end_with_what_is_really_counted(self) -> None:
        corrections = Corrections()
        assert (corrections.expected("t", 100), corrections.bound("t", 100)) == (100, 132)
        assert corrections.bound("t", 1000) == 1250
        for _ in range(60):
            corrections.learn("t", 100, 90)
        assert (corrections.expected("t", 100), corrections.bound("t", 100)) == (90, 90)
        assert corrections.bound("other", 100) == 132

    def test_keep_in_mind_the_most_of_late(self) -> None:
        corrections = Corrections()
        for real in [100] * 20 + [150] + [100] * 3:
            corrections.learn("t", 100, real)
        assert corrections.expected("t", 100) < 110
        assert corrections.bound("t", 100) > 125

    def test_learn_nothing_of_pages_that_a_provider_read_by_itself(self) -> None:
        corrections = Corrections()
        corrections.learn("t", 100, 9000)
        corrections.learn("t", 0, 10)
        assert corrections.expected("t", 100) == 100

    def test_of_one_gateway_are_believed_by_one_that_has_made_no_call(self) -> None:
        taught, fresh = Corrections(), Corrections()
        for _ in range(4):
            told = taught.learn("t", 100, 90)
            assert told is not None
            assert fresh.hear(told) is None
        assert fresh.bound("t", 100) == taught.bound("t", 100) == 90

    def test_are_told_to_one_that_has_just_begun(self) -> None:
        taught, fresh = Corrections(), Corrections()
        for _ in range(10):
            taught.learn("t", 100, 90)
        first = fresh.learn("t", 100, 90)
        assert first is not None
        assert fresh.bound("t", 100) == 132
        answer = taught.hear(first)
        assert answer is not None
        fresh.hear(answer)
        assert fresh.bound("t", 100) == 90

    def test_are_told_again_only_when_calls_take_more_than_was_told(self) -> None:
        taught, fresh = Corrections(), Corrections()
        for real in [90] * 4:
            told = taught.learn("t", 100, real)
            assert told is not None
            fresh.hear(told)
        assert [taught.learn("t", 100, 90) for _ in range(20)] == [None] * 20
        more = taught.learn("t", 100, 140)
        assert more is not None
        assert fresh.hear(more) is None
        assert fresh.bound("t", 100) == 140

    def test_are_no_news_to_who_told_them(self) -> None:
        corrections = Corrections()
        told = [corrections.learn("t", 100, real) for real in [150, *[100] * 40]]
        bound = corrections.bound("t", 100)
        for each in told:
            if each is not None and each.calls >= 4:
                corrections.hear(each)
        assert corrections.bound("t", 100) == bound < 110
