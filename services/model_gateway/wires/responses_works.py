"""Keeps what a provider did with its own tools (searches, code, MCP, compaction), so that it goes back as it came.

The item is an unknown block of ours. Its pictures are blocks of their own behind it, because they are large and others
want to see them; they are put back into the item when it is replayed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from natscope.contracts.blocks import Base64Source, ContentBlock, ImageBlock, UnknownBlock, URLSource

Json = dict[str, JsonValue]

KEPT = "responses_item"
"""The kind of the unknown block: `provider` is whose item it is, `pictures` say of each picture where it was (`at`,
empty if only an address stands there) and what stood before its base64 (`before`)."""
_WEB = ("https://", "http://")
_MARK = ";base64,"


@dataclass(frozen=True, slots=True)
class Returned:
    """What of a message goes back as items."""

    items: dict[int, Json] = field(default_factory=dict[int, Json])
    """By the identities of their blocks."""
    pictures: frozenset[int] = frozenset()
    """The identities of the blocks that went into an item."""


def blocks_of(item: Json, provider: str) -> list[ContentBlock]:
    """Return the block that keeps an item, and its pictures."""
    pictures, places = list[ContentBlock](), list[JsonValue]()
    for at, media_type in _places(item):
        data = _at(item, at)
        if not isinstance(data, str) or not data:
            continue
        before, kind, data = _parted(data, media_type)
        if before is None:
            places.append({"at": []})
            pictures.append(ImageBlock(source=URLSource(url=data, media_type=kind)))
            continue
        places.append({"at": at, "before": before})
        pictures.append(ImageBlock(source=Base64Source(data=data, media_type=kind)))
        item = _object(_changed(item, at, None)) or item
    block: Json = {"type": KEPT, "provider": provider, "item": item}
    return [UnknownBlock.model_validate({**block, "pictures": places} if places else block), *pictures]


def returned(content: Iterable[ContentBlock], provider: str | None) -> Returned:
    """Return what of a message goes back to `provider`.

    What waits for an output that nobody gave (the call of a computer, say) does not: the API refuses it.
    """
    found = list(_whole(list(content), provider)) if provider else []
    given = [item.get("call_id") for _, item, _ in found if str(item.get("type")).endswith("_output")]
    fit = [each for each in found if not each[1].get("call_id") or each[1]["call_id"] in given]
    return Returned({id(block): item for block, item, _ in fit}, frozenset(id(p) for *_, ps in fit for p in ps))


def _whole(
    content: list[ContentBlock], provider: str | None
) -> Iterator[tuple[UnknownBlock, Json, list[ContentBlock]]]:
    """Yield each block that keeps an item, with the item as it was, and the pictures that went into it."""
    for number, block in enumerate(content):
        if not isinstance(block, UnknownBlock) or block.type != KEPT:
            continue
        told = block.unknown_fields
        item, places = told.get("item"), told.get("pictures", [])
        if told.get("provider") != provider or not isinstance(item, dict) or not isinstance(places, list):
            continue
        pictures = content[number + 1 : number + 1 + len(places)]
        for place, picture in zip(places, pictures, strict=False):
            item = _put_back(item, place, picture) if item is not None else None
        if item is not None and len(pictures) == len(places):
            yield block, item, pictures


def _put_back(item: Json, place: JsonValue, picture: ContentBlock) -> Json | None:
    """Return the item with a picture in it again; None if it cannot be had."""
    if not isinstance(place, dict) or not isinstance(picture, ImageBlock):
        return None
    at = place.get("at")
    if not isinstance(at, list) or not at:
        return item
    if not isinstance(picture.source, Base64Source):
        return None
    return _object(_changed(item, at, f"{place.get('before', '')}{picture.source.data}"))


def _places(item: Json) -> Iterator[tuple[list[JsonValue], str]]:
    """Yield where pictures may be, and of which type they are if they do not say."""
    if item.get("type") == "image_generation_call":
        yield ["result"], f"image/{item.get('output_format') or 'png'}"
    if item.get("type") == "code_interpreter_call":
        outputs = item.get("outputs")
        for place in range(len(outputs) if isinstance(outputs, list) else 0):
            yield ["outputs", place, "url"], "image/png"


def _parted(data: str, media_type: str) -> tuple[str | None, str, str]:
    """Return what stands before the base64 of a picture, its type, and it; None and an address if that is all."""
    if data.startswith(_WEB):
        return None, media_type, data
    if data.startswith("data:") and _MARK in data:
        kind, base64 = data.removeprefix("data:").split(_MARK, 1)
        return f"data:{kind}{_MARK}", kind, base64
    return "", media_type, data


def _object(value: JsonValue) -> Json | None:
    return value if isinstance(value, dict) else None


def _at(value: JsonValue, way: Sequence[JsonValue]) -> JsonValue:
    for step in way:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _changed(value: JsonValue, way: Sequence[JsonValue], to: JsonValue) -> JsonValue:
    """Return `value` with `to` at the end of the way; where there is no such way it is as it was."""
    if not way:
        return to
    step, rest = way[0], way[1:]
    if isinstance(value, dict) and isinstance(step, str) and step in value:
        return {**value, step: _changed(value[step], rest, to)}
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return [_changed(each, rest, to) if place == step else each for place, each in enumerate(value)]
    return value
