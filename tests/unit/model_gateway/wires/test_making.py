"""Requests for vectors, speech, transcripts and pictures, written and read."""

import base64
import contextlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natscope.contracts.blocks import AudioBlock, URLSource
from natscope.contracts.model import Draw, Embed, Speak, Transcribe, Usage
from services.model_gateway.ports import Media
from services.model_gateway.wires import making
from services.model_gateway.wires.dialects import dialect
from services.model_gateway.wires.making import Unreadable

SOUND = AudioBlock(source=URLSource(url="nats://blob/blobs/a", media_type="audio/mpeg"))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _row(index: int, embedding: object) -> dict[str, object]:
    return {"index": index, "embedding": embedding}


class TestVectors:
    def test_are_asked_for_packed(self) -> None:
        body = json.loads(making.embed_body(Embed(model="x", texts=["a", "b"], dimensions=3), "m-1"))
        assert body == {"model": "m-1", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 3}

    def test_are_asked_for_in_figures_where_an_endpoint_packs_none(self) -> None:
        packed = dialect("zhipu").embedding.packed
        body = json.loads(making.embed_body(Embed(model="x", texts=["a"]), "m-1", packed=packed))
        assert body == {"model": "m-1", "input": ["a"]}

    def test_come_in_the_order_of_their_texts_packed_or_not(self) -> None:
        content = _json(
            {
                "data": [_row(1, [3, 4.5]), _row(0, _packed(1.0, 2.0))],
                "model": "m-1-full",
                "usage": {"prompt_tokens": 7, "total_tokens": 7},
            }
        )
        found = making.embedded(content, count=2, model="m-1")
        assert found.vectors == [[1.0, 2.0], [3.0, 4.5]]
        assert (found.model, found.usage) == ("m-1-full", Usage(input_tokens=7))

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (b"", "empty"),
            (b"<html>", "not_json"),
            (b"[]", "no_answer"),
            (_json({"data": []}), "no_answer"),
            (_json({"data": [_row(0, [1.0])]}), "truncated"),
            (_json({"data": [_row(0, [1.0]), _row(1, [1.0, 2.0])]}), "truncated"),
            (_json({"data": [_row(0, [1.0]), _row(5, [1.0])]}), "truncated"),
            (_json({"data": [_row(0, "AAA"), _row(1, [1.0])]}), "no_answer"),
            (_json({"data": [_row(0, _packed(float("nan"))), _row(1, [1.0])]}), "no_answer"),
            (_json({"data": [_row(0, ["1"]), _row(1, [1.0])]}), "no_answer"),
            (_json({"data": [_row(0, [10**400]), _row(1, [1.0])]}), "no_answer"),
            (_json({"data": [_row(0, []), _row(1, [])]}), "no_answer"),
        ],
    )
    def test_that_are_not_all_there_are_no_answer(self, content: bytes, fault: str) -> None:
        with pytest.raises(Unreadable) as caught:
            making.embedded(content, count=2, model="m-1")
        assert caught.value.fault == fault

    def test_an_error_in_their_place_is_handed_on(self) -> None:
        with pytest.raises(Unreadable) as caught:
            making.embedded(_json({"error": {"message": "slow down", "code": 429}}), count=1, model="m-1")
        assert caught.value.error == {"message": "slow down", "code": 429}


class TestSpeech:
    def test_is_asked_for_in_a_voice_and_a_format(self) -> None:
        ask = Speak(model="x", text="Hello.", voice="nova", format="wav", instructions="Softly.")
        assert json.loads(making.speak_body(ask, "tts")) == {
            "model": "tts",
            "input": "Hello.",
            "voice": "nova",
            "response_format": "wav",
            "instructions": "Softly.",
        }

    @pytest.mark.parametrize(
        ("kind", "expected"), [("audio/mpeg", "audio/mpeg"), ("audio/x-wav", "audio/wav"), ("", "audio/mpeg")]
    )
    def test_is_what_its_content_type_says_or_what_was_asked_for(self, kind: str, expected: str) -> None:
        made = making.spoken(b"ID3 sound", kind=kind, ask=Speak(model="x", text="Hello."), model="tts")
        assert made.media == [Media(b"ID3 sound", expected)]

    @pytest.mark.parametrize(
        ("content", "kind", "fault"),
        [
            (b"", "audio/mpeg", "empty"),
            (b"<html>down</html>", "audio/mpeg", "not_json"),
            (b"Bad gateway", "text/plain", "not_json"),
            (b'{"error": {"message": "no"}}', "application/json", "no_answer"),
        ],
    )
    def test_is_never_a_page_or_an_error(self, content: bytes, kind: str, fault: str) -> None:
        with pytest.raises(Unreadable) as caught:
            making.spoken(content, kind=kind, ask=Speak(model="x", text="Hello."), model="tts")
        assert caught.value.fault == fault


class TestTranscripts:
    def test_are_asked_for_by_a_form(self) -> None:
        ask = Transcribe(model="x", audio=SOUND, language="de", hint="Grüße")
        fields = {"model": "w", "response_format": "json", "language": "de", "prompt": "Grüße"}
        assert making.transcribe_fields(ask, "w") == fields

    @pytest.mark.parametrize(
        ("kind", "name"),
        [("audio/mpeg", "audio.mp3"), ("audio/x-wav", "audio.wav"), ("audio/webm;codecs=opus", "audio.webm")],
    )
    def test_a_recording_has_an_ending_that_says_what_it_is(self, kind: str, name: str) -> None:
        assert making.file_name(kind) == name

    def test_are_text_and_its_tokens(self) -> None:
        content = _json({"text": "Four score.", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 3}})
        found = making.transcribed(content, model="w")
        assert (found.text, found.usage, found.model) == ("Four score.", Usage(input_tokens=14, output_tokens=3), "w")

    def test_silence_is_an_answer_and_nothing_is_none(self) -> None:
        assert making.transcribed(b'{"text": ""}', model="w").text == ""
        with pytest.raises(Unreadable):
            making.transcribed(b"{}", model="w")


class TestPictures:
    def test_are_asked_for_by_number_and_size(self) -> None:
        ask = Draw(model="x", prompt="A hut.", count=2, width=512, height=256, quality="high")
        body = {"model": "p", "prompt": "A hut.", "n": 2, "size": "512x256", "quality": "high"}
        assert json.loads(making.draw_body(ask, "p")) == body

    def test_come_inline_or_by_their_addresses(self) -> None:
        data = base64.b64encode(b"\xff\xd8\xff jpeg").decode()
        made = making.drawn(_json({"data": [{"b64_json": data}, {"url": "https://x.example/1.png"}]}), model="p")
        assert made.media == [Media(b"\xff\xd8\xff jpeg", "image/jpeg")]
        assert made.addresses == ("https://x.example/1.png",)

    @pytest.mark.parametrize("value", [{}, {"data": []}, {"data": [{}]}, {"data": [{"b64_json": "?"}]}, {"data": 1}])
    def test_without_any_there_is_no_answer(self, value: object) -> None:
        with pytest.raises(Unreadable):
            making.drawn(_json(value), model="p")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "index", "embedding", "text", "usage", "b64_json", "url", "error", "model"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


class TestAnyBody:
    @given(st.binary(max_size=64) | _JSON.map(lambda value: json.dumps(value).encode()))
    def test_is_an_answer_or_unreadable(self, content: bytes) -> None:
        speak = Speak(model="x", text="Hello.")
        for read in (
            lambda: making.embedded(content, count=1, model="m"),
            lambda: making.transcribed(content, model="m"),
            lambda: making.drawn(content, model="m"),
            lambda: making.spoken(content, kind="application/json", ask=speak, model="m"),
        ):
            with contextlib.suppress(Unreadable):
                read()
