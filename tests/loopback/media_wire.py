"""What the loopback provider answers to asks for vectors, speech, transcripts and pictures, in OpenAI's shape."""

import base64
import json
import struct
from email.message import Message
from email.parser import BytesParser
from typing import Any

from tests.loopback.replies import JSON, Reply

Request = dict[str, Any]

PATHS = ("/embeddings", "/audio/speech", "/audio/transcriptions", "/images/generations")
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB6yZ8WgAAAABJRU5ErkJggg==")
MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x00" * 16
SIZE = 4
"""Numbers of a vector if nothing else is asked for."""


def takes(path: str) -> bool:
    """Return whether a request is for one of these."""
    return path.endswith(PATHS)


def asked(body: bytes, content_type: str) -> Request:
    """Return what a request says: JSON, or a form whose file is told by its name, type and text."""
    if not content_type.startswith("multipart/"):
        return json.loads(body)
    form = BytesParser().parsebytes(f"content-type: {content_type}\r\n\r\n".encode() + body)
    parts = (part for part in form.walk() if not part.is_multipart())
    return {str(part.get_param("name", header="content-disposition")): _field(part) for part in parts}


def _field(part: Message) -> object:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    if part.get_filename() is None:
        return data.decode()
    return {"name": part.get_filename(), "media_type": part.get_content_type(), "size": len(data)}


def vector(text: str, size: int = SIZE) -> list[float]:
    """Return the vector of a text: its length, and noughts."""
    return [float(len(text)), *[0.0] * (size - 1)]


def answer(path: str, request: Request) -> Reply:
    """Return what a healthy provider would."""
    if path.endswith("/embeddings"):
        return embedded(request)
    if path.endswith("/audio/speech"):
        return Reply(raw=MP3, content_type="audio/mpeg")
    if path.endswith("/audio/transcriptions"):
        usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19}
        return said({"text": "Four score and seven.", "usage": usage})
    picture = {"b64_json": base64.b64encode(PNG).decode()}
    usage = {"input_tokens": 9, "output_tokens": 100, "total_tokens": 109}
    return said({"created": 1_700_000_000, "data": [picture] * request.get("n", 1), "usage": usage})


def embedded(request: Request, *, packed: bool = True) -> Reply:
    """Return vectors, the last text's first; `packed` as base64, if that was asked for."""
    rows: list[object] = []
    for index, text in enumerate(request["input"]):
        numbers = vector(text, request.get("dimensions", SIZE))
        as_text = packed and request.get("encoding_format") == "base64"
        value = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode() if as_text else numbers
        rows.insert(0, {"object": "embedding", "index": index, "embedding": value})
    tokens = sum(len(text) for text in request["input"])
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return said({"object": "list", "data": rows, "model": request["model"], "usage": usage})


def said(value: object) -> Reply:
    """Return a JSON body."""
    return Reply(raw=json.dumps(value).encode(), content_type=JSON)
