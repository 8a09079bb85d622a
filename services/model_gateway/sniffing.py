"""Tells from the first bytes of a file what kind of media it is."""

import re

_SIGNS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.S), "image/webp"),
    (re.compile(rb"RIFF....WAVE", re.S), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2]"), "audio/mpeg"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"\s*(<!doctype html|<html)", re.I), "text/html"),
)
SNIFFED = 64
"""Bytes that are looked at."""
_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
}


def kind_of(data: bytes) -> str | None:
    """Return the media type of a file that begins with `data`; None if its beginning tells nothing."""
    return next((kind for sign, kind in _SIGNS if sign.match(data)), None)


def plain_kind(media_type: str) -> str:
    """Return a media type without parameters, in lower case, by its usual name."""
    kind = media_type.partition(";")[0].strip().lower()
    return _SAME.get(kind, kind)


def contradicts(data: bytes, media_type: str) -> str | None:
    """Return what a file really is if that is certain and not what `media_type` says."""
    found = kind_of(data[:SNIFFED])
    declared = plain_kind(media_type)
    if declared.endswith("/*"):
        declared = found if found and found.startswith(declared[:-1]) else declared
    if found is None or found == declared or declared.split("/")[0] not in ("image", "audio", "video"):
        return None
    return found
