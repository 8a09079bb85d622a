"""Gemini's requests for vectors, speech and pictures."""

import base64
import io
import json
import wave
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natscope.contracts.model import Draw, Embed, Speak, Usage
from services.model_gateway.ports import Media, Vectors
from services.model_gateway.wires import gemini_making as making

SAMPLES = Media(b"\x00\x01" * 8, "audio/L16;codec=pcm;rate=16000")


class TestVectors:
    def test_are_asked_for_text_by_text(self) -> None:
        sent = json.loads(making.embed_body(Embed(model="m", texts=["a", "b"], dimensions=2), "gemini-embedding-001"))
        one = {"model": "models/gemini-embedding-001", "outputDimensionality": 2}
        assert sent == {"requests": [{**one, "content": {"parts": [{"text": text}]}} for text in "ab"]}

    def test_come_in_the_order_of_the_texts(self) -> None:
        body = b'{"embeddings": [{"values": [1, 0.5]}, {"values": [0, 1]}], "usageMetadata": {"promptTokenCount": 4}}'
        found = making.embedded(body, count=2, model="m")
        assert found == Vectors([[1.0, 0.5], [0.0, 1.0]], Usage(input_tokens=4), "m")

    @pytest.mark.parametrize(
        ("body", "fault"),
        [
            (b"", "empty"),
            (b"<html>", "not_json"),
            (b"{}", "no_answer"),
            (b"[]", "no_answer"),
            (b'{"embeddings": [{"values": [1]}]}', "truncated"),
            (b'{"embeddings": [{"values": [1]}, {"values": [1, 2]}]}', "truncated"),
            (b'{"embeddings": [{"values": [1]}, {"values": ["1"]}]}', "truncated"),
        ],
    )
    def test_that_are_not_all_there_are_a_fault(self, body: bytes, fault: str) -> None:
        assert making.embedded(body, count=2, model="m") == fault


class TestSpeech:
    def test_is_asked_for_with_a_voice_that_google_knows(self) -> None:
        def voice(ask: Speak) -> str:
            config = json.loads(making.speak_body(ask))["generationConfig"]
            assert config["responseModalities"] == ["AUDIO"]
            return config["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"]

        assert voice(Speak(model="m", text="Hi.")) == making.VOICE
        assert voice(Speak(model="m", text="Hi.", voice="Puck")) == "Puck"

    def test_is_made_playable(self) -> None:
        made = making.playable(SAMPLES, Speak(model="m", text="Hi."))
        assert made.media_type == "audio/wav"
        with wave.open(io.BytesIO(made.data)) as sound:
            assert (sound.getframerate(), sound.getnframes(), sound.getnchannels()) == (16_000, 8, 1)

    def test_is_left_as_it_is_if_samples_are_wanted(self) -> None:
        assert making.playable(SAMPLES, Speak(model="m", text="Hi.", format="pcm")) is SAMPLES


class TestPictures:
    @pytest.mark.parametrize(
        ("width", "height", "ratio"), [(None, None, None), (512, 512, "1:1"), (1920, 1080, "16:9"), (9, 100, "9:16")]
    )
    def test_are_asked_for_by_ratio(self, width: int | None, height: int | None, ratio: str | None) -> None:
        ask = Draw(model="m", prompt="A cat.", width=width, height=height, count=2)
        config = json.loads(making.draw_body(ask, "gemini-2.5-flash-image"))["generationConfig"]
        assert config.get("imageConfig", {}).get("aspectRatio") == ratio
        parameters = json.loads(making.draw_body(ask, "imagen-4.0-generate-001"))["parameters"]
        assert (parameters["sampleCount"], parameters.get("aspectRatio")) == (2, ratio)

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            (b"", "empty"),
            (b"<html>", "not_json"),
            (b"{}", "no_answer"),
            (b'{"predictions": [{"raiFilteredReason": "no"}]}', "content_filter"),
            (
                b'{"predictions": [{"mimeType": "image/jpeg", "bytesBase64Encoded": "YQ=="}]}',
                [Media(b"a", "image/jpeg")],
            ),
        ],
    )
    def test_are_predicted(self, body: bytes, found: Any) -> None:
        assert making.predicted(body) == found


class TestAnything:
    @given(st.binary(max_size=40) | st.from_regex(rb'\{"(embeddings|predictions)": .{0,30}\}'))
    def test_is_read_without_an_exception(self, body: bytes) -> None:
        making.embedded(body, count=1, model="m")
        making.predicted(body)

    def test_base64_of_either_alphabet_is_read(self) -> None:
        data = bytes(range(256))
        for text in (base64.b64encode(data), base64.urlsafe_b64encode(data).rstrip(b"=")):
            body = b'{"predictions": [{"bytesBase64Encoded": "' + text + b'"}]}'
            assert making.predicted(body) == [Media(data, "image/png")]
