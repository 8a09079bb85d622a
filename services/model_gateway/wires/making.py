"""Writes and reads OpenAI's requests for vectors, speech, transcripts and pictures."""

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Mapping

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from natscope.contracts.model import Draw, Embed, Speak, Transcribe, Usage
from services.model_gateway.ports import Made, Media, Transcript, Vectors
from services.model_gateway.sniffing import kind_of, plain_kind
from services.model_gateway.trying.faults import FaultName
from services.model_gateway.wires.http_faults import error_in

Json = dict[str, JsonValue]

SPOKEN = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
}
_ENDINGS = {
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/x-m4a": "m4a",
    "audio/webm": "webm",
    "audio/aac": "aac",
}


class Unreadable(Exception):
    """The body is no answer."""

    def __init__(self, fault: FaultName, error: Mapping[str, JsonValue] | None = None) -> None:
        """`error` is the provider's own, if it sent one."""
        super().__init__(fault)
        self.fault: FaultName = fault
        self.error = error


def embed_body(ask: Embed, model: str, *, packed: bool = True) -> bytes:
    """Return the body of a request for vectors, `packed` as base64 or in figures."""
    body: Json = {"model": model, "input": list[JsonValue](ask.texts)}
    if packed:
        body["encoding_format"] = "base64"
    if ask.dimensions is not None:
        body["dimensions"] = ask.dimensions
    return to_json(body)


def embedded(content: bytes, *, count: int, model: str) -> Vectors:
    """Return the `count` vectors of a body, in the order of their texts.

    Raises:
        Unreadable: it holds none, not all of them, or not of one length.
    """
    value = _object(content)
    rows = value.get("data")
    if not isinstance(rows, list) or not rows:
        raise Unreadable("no_answer")
    found: dict[int, list[float]] = {}
    for place, row in enumerate(rows):
        index = row.get("index", place) if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(index, int):
            raise Unreadable("no_answer")
        found[index] = _vector(row.get("embedding"))
    if set(found) != set(range(count)) or len({len(vector) for vector in found.values()}) != 1:
        raise Unreadable("truncated")
    return Vectors([found[index] for index in range(count)], usage_in(value), _model(value, model))


def speak_body(ask: Speak, model: str) -> bytes:
    """Return the body of a request for speech."""
    body: Json = {"model": model, "input": ask.text, "voice": ask.voice, "response_format": ask.format}
    if ask.instructions is not None:
        body["instructions"] = ask.instructions
    return to_json(body)


def spoken(content: bytes, *, kind: str, ask: Speak, model: str) -> Made:
    """Return the sound in a body; `kind` is its content type.

    Raises:
        Unreadable: it holds none.
    """
    if not content:
        raise Unreadable("empty")
    if "json" in kind:
        raise Unreadable("no_answer", error_in(_object(content)))
    if kind_of(content[:64]) == "text/html" or kind.startswith("text/"):
        raise Unreadable("not_json")
    declared = plain_kind(kind)
    return Made([Media(content, declared if declared.startswith("audio/") else SPOKEN[ask.format])], Usage(), model)


def transcribe_fields(ask: Transcribe, model: str) -> dict[str, str]:
    """Return the fields of a form that asks for a transcript."""
    fields = {"model": model, "response_format": "json", "language": ask.language, "prompt": ask.hint}
    return {name: value for name, value in fields.items() if value is not None}


def file_name(media_type: str) -> str:
    """Return a name for a recording: its ending is what providers go by."""
    return f"audio.{_ENDINGS.get(plain_kind(media_type), 'bin')}"


def transcribed(content: bytes, *, model: str) -> Transcript:
    """Return the transcript in a body.

    Raises:
        Unreadable: it holds none.
    """
    value = _object(content)
    text = value.get("text")
    if not isinstance(text, str):
        raise Unreadable("no_answer")
    return Transcript(text, usage_in(value), _model(value, model))


def draw_body(ask: Draw, model: str) -> bytes:
    """Return the body of a request for pictures."""
    body: Json = {"model": model, "prompt": ask.prompt, "n": ask.count}
    if ask.width is not None and ask.height is not None:
        body["size"] = f"{ask.width}x{ask.height}"
    if ask.quality is not None:
        body["quality"] = ask.quality
    return to_json(body)


def drawn(content: bytes, *, model: str) -> Made:
    """Return the pictures in a body, or where they lie.

    Raises:
        Unreadable: it holds none.
    """
    value = _object(content)
    rows = value.get("data")
    media: list[Media] = []
    addresses: list[str] = []
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        data, url = row.get("b64_json"), row.get("url")
        if isinstance(data, str):
            media.append(_picture(data))
        elif isinstance(url, str):
            addresses.append(url)
    if not media and not addresses:
        raise Unreadable("no_answer")
    return Made(media, usage_in(value), _model(value, model), tuple(addresses))


def usage_in(value: Json) -> Usage:
    """Return the tokens that a body tells of, under either pair of names."""
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return Usage()

    def count(*names: str) -> int:
        return next((found for name in names if isinstance(found := usage.get(name), int) and found > 0), 0)

    return Usage(
        input_tokens=count("prompt_tokens", "input_tokens"), output_tokens=count("completion_tokens", "output_tokens")
    )


def _object(content: bytes) -> Json:
    if not content.strip():
        raise Unreadable("empty")
    try:
        value: JsonValue = from_json(content)
    except ValueError:
        raise Unreadable("not_json") from None
    if not isinstance(value, dict):
        raise Unreadable("no_answer")
    if value.get("data") is None and value.get("text") is None and (error := error_in(value)) is not None:
        raise Unreadable("no_answer", error)
    return value


def _vector(value: JsonValue) -> list[float]:
    try:
        numbers = _unpacked(value) if isinstance(value, str) else _listed(value)
    except (ValueError, OverflowError):
        raise Unreadable("no_answer") from None
    if not numbers or not math.isfinite(sum(numbers)):
        raise Unreadable("no_answer")
    return numbers


def _listed(value: JsonValue) -> list[float]:
    numbers = value if isinstance(value, list) else []
    return [float(number) if isinstance(number, int | float) else math.nan for number in numbers]


def _unpacked(text: str) -> list[float]:
    """Return the numbers in base64 of little-endian 32-bit floats."""
    numbers = array("f", binascii.a2b_base64(text, strict_mode=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _picture(data: str) -> Media:
    try:
        found = base64.b64decode(data, validate=True)
    except ValueError:
        raise Unreadable("no_answer") from None
    if not found:
        raise Unreadable("no_answer")
    return Media(found, kind_of(found[:64]) or "image/png")


def _model(value: Json, asked: str) -> str:
    found = value.get("model")
    return found if isinstance(found, str) and found else asked
