"""Turns what a server answered into blocks of ours."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from pydantic import JsonValue

from natscope.contracts.blocks import (
    AudioBlock,
    ContentBlock,
    FileBlock,
    ImageBlock,
    TextBlock,
    VideoBlock,
)
from services.tool_executor.mcp.speaking import Answer, Json
from services.tool_executor.tools.port import Media

STRUCTURED_BYTES = 64 << 10
"""A structured result up to this is kept beside the text, for programs."""
NAME_LETTERS = 128

_KINDS = {"image": ImageBlock, "audio": AudioBlock, "video": VideoBlock}
_STRANGE = re.compile(r"[^A-Za-z0-9._-]+")


async def blocks_of(answer: Answer, media: Media) -> list[ContentBlock]:
    """Return the answer's content; a structured result that no text block says is added as text."""
    found = [await _block(item, media) for item in answer.content]
    if answer.structured is not None and not _is_said(answer.structured, found):
        found.append(TextBlock(text=json.dumps(answer.structured, ensure_ascii=False)))
    return found


def metadata_of(answer: Answer) -> dict[str, JsonValue]:
    """Return what goes along with the result for programs."""
    small = len(json.dumps(answer.structured)) <= STRUCTURED_BYTES
    return {"structured": answer.structured} if answer.structured is not None and small else {}


async def _block(item: Json, media: Media) -> ContentBlock:
    match item:
        case {"type": "text", "text": str(text)}:
            return TextBlock(text=text)
        case {"type": "image" | "audio", "data": str(data), "mimeType": str(kind)}:
            return await _media(data, kind, str(item["type"]), media)
        case {"type": "resource", "resource": dict(resource)}:
            return await _resource(resource, media)
        case {"type": "resource_link", "uri": str(uri)}:
            told = [str(item[key]) for key in ("title", "name", "description", "mimeType") if item.get(key)]
            return TextBlock(text=f"[resource {uri}: {'; '.join(dict.fromkeys(told))}]")
        case _:
            return TextBlock(text=json.dumps(item, ensure_ascii=False))


async def _resource(resource: Mapping[str, JsonValue], media: Media) -> ContentBlock:
    uri, kind = str(resource.get("uri", "")), str(resource.get("mimeType") or "application/octet-stream")
    data = resource.get("blob")
    if not isinstance(data, str):
        return TextBlock(text=f"[resource {uri}]\n{resource.get('text', '')}")
    return await _media(data, kind, _name_in(uri), media)


async def _media(data: str, kind: str, name: str, media: Media) -> ContentBlock:
    try:
        source = await media.source(base64.b64decode(data, validate=True), kind)
    except binascii.Error:
        return TextBlock(text=f"[{kind} that is no base64, {len(data):,} characters]")
    block = _KINDS.get(kind.partition("/")[0])
    return block(source=source) if block else FileBlock(name=name, source=source)


def _name_in(uri: str) -> str:
    """Return a file's name for the resource at `uri`: the last part of its path, in plain letters."""
    last = unquote(urlsplit(uri).path).rstrip("/").rpartition("/")[2]
    return _STRANGE.sub("_", last)[-NAME_LETTERS:].lstrip(".") or "resource"


def _is_said(structured: JsonValue, blocks: list[ContentBlock]) -> bool:
    for block in blocks:
        if isinstance(block, TextBlock):
            if isinstance(structured, dict) and structured == {"result": block.text}:
                return True
            try:
                said = json.loads(block.text)
            except ValueError:
                continue
            if said in (structured, structured.get("result", ...) if isinstance(structured, dict) else ...):
                return True
    return False
