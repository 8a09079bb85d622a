"""What the offline provider makes: always the same, and what it says it is."""

import io
import struct
import wave

from natscope.contracts.blocks import AudioBlock, Base64Source
from natscope.contracts.model import Draw, Embed, Speak, Transcribe
from services.model_gateway.ports import Media
from services.model_gateway.providers.scripted_media import ScriptedMedia

OFFLINE = ScriptedMedia()


class TestEmbed:
    async def test_texts_that_share_words_are_near(self) -> None:
        ask = Embed(model="e", texts=["The cat sat.", "the CAT sat down", "Interest rates rose."])
        first, second, third = (await OFFLINE.embed(ask, model="m", timeout_s=1)).vectors
        assert _dot(first, first) > 0.999
        assert _dot(first, second) > 0.5 > _dot(first, third)

    async def test_has_as_many_dimensions_as_are_asked_for(self) -> None:
        ask = Embed(model="e", texts=["a", "?", " "], dimensions=3)
        assert [len(vector) for vector in (await OFFLINE.embed(ask, model="m", timeout_s=1)).vectors] == [3, 3, 3]

    async def test_is_the_same_each_time(self) -> None:
        ask = Embed(model="e", texts=["a b c"])
        assert await OFFLINE.embed(ask, model="m", timeout_s=1) == await OFFLINE.embed(ask, model="m", timeout_s=1)


class TestSpeak:
    async def test_is_a_sound_that_is_longer_for_a_longer_text(self) -> None:
        lengths: list[int] = []
        for text in ("Hello.", "Hello, hello, hello."):
            (sound,) = (await OFFLINE.speak(Speak(model="s", text=text), model="m", timeout_s=1)).media
            assert sound.media_type == "audio/wav"
            with wave.open(io.BytesIO(sound.data)) as read:
                lengths.append(read.getnframes())
        assert lengths[0] < lengths[1]


class TestTranscribe:
    async def test_says_what_it_got(self) -> None:
        ask = Transcribe(model="t", audio=AudioBlock(source=Base64Source(data="", media_type="audio/wav")))
        found = await OFFLINE.transcribe(ask, Media(b"abc", "audio/wav"), model="m", timeout_s=1)
        assert found.text.startswith("A recording of 3 bytes (audio/wav")


class TestDraw:
    async def test_is_pictures_of_the_asked_size(self) -> None:
        ask = Draw(model="i", prompt="A hut.", count=2, width=5, height=3)
        made = await OFFLINE.draw(ask, model="m", timeout_s=1)
        assert [struct.unpack(">II", picture.data[16:24]) for picture in made.media] == [(5, 3)] * 2
        assert made.media[0] != made.media[1]


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
