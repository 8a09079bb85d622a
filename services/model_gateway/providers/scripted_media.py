"""What the offline provider does besides talking: deterministic vectors, tones, transcripts and pictures."""

import hashlib
import io
import math
import re
import struct
import wave
import zlib
from array import array

from natscope.contracts.model import Draw, Embed, Speak, Transcribe, Usage
from services.model_gateway.ports import Made, Media, Transcript, Vectors

DIMENSIONS = 64
RATE = 8_000
"""Samples of a tone in a second."""
LETTER_S = 0.02
LONGEST_S = 2.0
SIDE = 64
"""Pixels of a picture's side, at most and if nothing is said."""
_WORD = re.compile(r"\w+")


class ScriptedMedia:
    """Without a network, key or clock; the same ask always gives the same bytes."""

    texts_at_once = 2048

    async def embed(self, ask: Embed, *, model: str, timeout_s: float) -> Vectors:
        """Return vectors that are near for texts that share words; see `ports.Embedder`."""
        vectors = [_vector(text, ask.dimensions or DIMENSIONS) for text in ask.texts]
        return Vectors(vectors, Usage(input_tokens=sum(-(-len(text) // 4) for text in ask.texts)), model)

    async def speak(self, ask: Speak, *, model: str, timeout_s: float) -> Made:
        """Return a tone as WAV, whatever format was asked for; see `ports.Speaker`."""
        seconds = min(LONGEST_S, LETTER_S * len(ask.text))
        return Made([Media(_tone(seconds, pitch=220 + _seed(ask.voice) % 440), "audio/wav")], Usage(), model)

    async def transcribe(self, ask: Transcribe, sound: Media, *, model: str, timeout_s: float) -> Transcript:
        """Return what can be said of a recording without hearing it; see `ports.Transcriber`."""
        digest = hashlib.sha256(sound.data).hexdigest()[:8]
        text = f"A recording of {len(sound.data)} bytes ({sound.media_type}, {digest})."
        return Transcript(
            text, Usage(input_tokens=-(-len(sound.data) // 1024), output_tokens=-(-len(text) // 4)), model
        )

    async def draw(self, ask: Draw, *, model: str, timeout_s: float) -> Made:
        """Return small pictures of one colour each; see `ports.Painter`."""
        width, height = min(ask.width or SIDE, SIDE), min(ask.height or SIDE, SIDE)
        media = [Media(_png(width, height, _seed(f"{n} {ask.prompt}")), "image/png") for n in range(ask.count)]
        return Made(media, Usage(input_tokens=-(-len(ask.prompt) // 4)), model)


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _vector(text: str, size: int) -> list[float]:
    """Return a unit vector: each word adds to one place of it, forwards or backwards."""
    vector = [0.0] * size
    for word in _WORD.findall(text.lower()) or [text]:
        seed = _seed(word)
        vector[seed % size] += 1.0 if seed >> 63 else -1.0
    length = math.sqrt(sum(number * number for number in vector))
    if not length:
        vector[0] = length = 1.0
    return [number / length for number in vector]


def _tone(seconds: float, *, pitch: int) -> bytes:
    count = max(1, int(seconds * RATE))
    samples = array("h", (int(8_000 * math.sin(2 * math.pi * pitch * n / RATE)) for n in range(count)))
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    return out.getvalue()


def _png(width: int, height: int, colour: int) -> bytes:
    """Return a picture of one colour.

    Source: https://www.w3.org/TR/png-3/, sections 11.2 and 9.2.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + colour.to_bytes(8, "big")[:3] * width
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(row * height, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
