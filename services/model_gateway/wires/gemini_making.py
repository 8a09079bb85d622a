"""Writes and reads Gemini's requests for vectors, speech and pictures."""

import io
import re
import wave

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from natscope.contracts.model import Draw, Embed, Speak
from services.model_gateway.ports import Media, Vectors
from services.model_gateway.trying.faults import FaultName
from services.model_gateway.wires.gemini import resource
from services.model_gateway.wires.gemini_parts import decoded
from services.model_gateway.wires.gemini_reply import usage_of

Json = dict[str, JsonValue]

TEXTS_AT_ONCE = 100
"""Source: the error of batchEmbedContents, "at most 100 requests can be in one batch"."""
VOICE = "Kore"
"""Speaks where the voice that is asked for is OpenAI's: Google knows none by these names."""
_OPENAIS = frozenset(("alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer", "verse"))
_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_PREDICTED_RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9")
_RATE = re.compile(r"rate=(\d{4,6})")
_SAMPLE_BYTES = 2


def embed_body(ask: Embed, model: str) -> bytes:
    """Return the body of a request for vectors."""
    one: Json = {"model": resource(model)}
    if ask.dimensions is not None:
        one["outputDimensionality"] = ask.dimensions
    return to_json({"requests": [{**one, "content": {"parts": [{"text": text}]}} for text in ask.texts]})


def embedded(content: bytes, *, count: int, model: str) -> Vectors | FaultName:
    """Return the `count` vectors of a body, in the order of their texts, or what is wrong with it."""
    if not content.strip():
        return "empty"
    try:
        value: JsonValue = from_json(content, allow_inf_nan=False)
    except ValueError:
        return "not_json"
    rows = value.get("embeddings") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(rows, list) or not rows:
        return "no_answer"
    found = [vector for row in rows if (vector := _vector(row))]
    if len(rows) != count or len(found) != count or len({len(vector) for vector in found}) != 1:
        return "truncated"
    usage = value.get("usageMetadata")
    return Vectors(found, usage_of(usage if isinstance(usage, dict) else {}), model)


def _vector(row: JsonValue) -> list[float]:
    values = row.get("values") if isinstance(row, dict) else None
    values = values if isinstance(values, list) else []
    numbers = [float(each) for each in values if isinstance(each, int | float) and not isinstance(each, bool)]
    return numbers if len(numbers) == len(values) else []


def speak_body(ask: Speak) -> bytes:
    """Return the body of a request for speech."""
    voice = VOICE if ask.voice in _OPENAIS else ask.voice
    text = f"{ask.instructions}:\n{ask.text}" if ask.instructions else ask.text
    return to_json(
        {
            "contents": [{"role": "user", "parts": [{"text": text}]}],
            "generationConfig": {
                "responseModalities": ["AUDIO"],
                "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}},
            },
        }
    )


def playable(sound: Media, ask: Speak) -> Media:
    """Return sound as it was asked for if it can be had. Google sends bare samples; all but `pcm` get them as WAV."""
    if not sound.media_type.lower().startswith(("audio/l16", "audio/pcm")) or ask.format == "pcm":
        return sound
    found = _RATE.search(sound.media_type)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(_SAMPLE_BYTES)
        out.setframerate(int(found[1]) if found else 24_000)
        out.writeframes(sound.data)
    return Media(file.getvalue(), "audio/wav")


def is_predicted(model: str) -> bool:
    """Return whether a model that draws is asked by `predict`: Imagen is, Gemini is not."""
    return "imagen" in model


def draw_body(ask: Draw, model: str) -> bytes:
    """Return the body of a request for pictures."""
    predicted = is_predicted(model)
    ratio = _ratio(ask, _PREDICTED_RATIOS if predicted else _RATIOS)
    if predicted:
        parameters: Json = {"sampleCount": ask.count, **({"aspectRatio": ratio} if ratio else {})}
        return to_json({"instances": [{"prompt": ask.prompt}], "parameters": parameters})
    config: Json = {"responseModalities": ["TEXT", "IMAGE"]}
    if ratio:
        config["imageConfig"] = {"aspectRatio": ratio}
    return to_json({"contents": [{"role": "user", "parts": [{"text": ask.prompt}]}], "generationConfig": config})


def _ratio(ask: Draw, known: tuple[str, ...]) -> str | None:
    """Return the ratio of width to height that comes closest; Google takes no sizes."""
    if ask.width is None or ask.height is None:
        return None
    wanted = ask.width / ask.height
    return min(known, key=lambda ratio: abs(wanted - int(ratio.split(":")[0]) / int(ratio.split(":")[1])))


def predicted(content: bytes) -> list[Media] | FaultName:
    """Return the pictures in an answer of `predict`, or what is wrong with it."""
    if not content.strip():
        return "empty"
    try:
        value: JsonValue = from_json(content)
    except ValueError:
        return "not_json"
    rows = value.get("predictions") if isinstance(value, dict) else None
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    media = [
        Media(data, str(row.get("mimeType") or "image/png"))
        for row in rows
        if (data := decoded(row.get("bytesBase64Encoded")))
    ]
    if not media and any(row.get("raiFilteredReason") for row in rows):
        return "content_filter"
    return media or "no_answer"
