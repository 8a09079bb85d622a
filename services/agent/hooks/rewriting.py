"""Messages that hooks put in the place of others: the journal keeps what is new, and no more of it than a little."""

import hashlib
from collections.abc import Iterator

from nats import errors as nats_errors
from nats.js import errors as js_errors
from pydantic import TypeAdapter

from natscope.bus.blobs import Blobs
from natscope.contracts.blocks import URLSource
from natscope.contracts.errors import BusUnavailable, RunDiverged
from natscope.contracts.hook import Rewritten, Stretch
from natscope.contracts.message import Message
from natscope.contracts.run import Hooked

INLINE_BYTES = 4 << 10
"""More than this of one question is kept in the object store."""
Parts = list[Stretch | Message]
_PARTS = TypeAdapter[Parts](Parts)


async def kept(blobs: Blobs, before: list[Message], entry: Hooked) -> Hooked:
    """Return what is journaled of an entry of hooks that were asked about the messages `before`.

    Raises:
        BusUnavailable: what is too much for the journal cannot be stored.
    """
    after = entry.answer.messages
    if after is None:
        return entry
    parts = difference(before, after)
    data = _PARTS.dump_json(parts)
    if len(data) <= INLINE_BYTES:
        rewritten = Rewritten(of=len(before), parts=parts)
    else:
        rewritten = Rewritten(of=len(before), stored=await _stored(blobs, data))
    answer = entry.answer.model_copy(update={"messages": None})
    return entry.model_copy(update={"answer": answer, "messages": rewritten})


async def rewritten(blobs: Blobs, before: list[Message], entry: Hooked | None) -> list[Message] | None:
    """Return the messages that hooks have put in the place of `before`; None: they have not.

    Raises:
        RunDiverged: they were asked about others.
        BlobNotFound: what they have put there is kept no longer.
    """
    if entry is None or entry.messages is None:
        return None
    found = entry.messages
    if found.of != len(before):
        raise RunDiverged(f"hooks have rewritten {found.of} messages, and there are {len(before)} now")
    stored = found.stored
    parts = found.parts if stored is None else _PARTS.validate_json(await blobs.load(stored.url, digest=stored.digest))
    return list(_joined(before, parts))


def difference(before: list[Message], after: list[Message]) -> Parts:
    """Return `after` with what stands in `before` named by its places."""
    places = {message.id: place for place, message in enumerate(before)}
    parts: Parts = []
    for message in after:
        place = places.get(message.id)
        if place is None or before[place] != message:
            parts.append(message)
            continue
        last = parts[-1] if parts else None
        if isinstance(last, Stretch) and last.first + last.count == place:
            parts[-1] = Stretch(first=last.first, count=last.count + 1)
        else:
            parts.append(Stretch(first=place, count=1))
    return parts


def _joined(before: list[Message], parts: Parts) -> Iterator[Message]:
    for part in parts:
        if isinstance(part, Stretch):
            yield from before[part.first : part.first + part.count]
        else:
            yield part


async def _stored(blobs: Blobs, data: bytes) -> URLSource:
    name = f"rewritten-{hashlib.sha256(data).hexdigest()}"
    try:
        return await blobs.store(data, "application/json", name=name)
    except (nats_errors.Error, js_errors.Error) as error:
        raise BusUnavailable(f"what hooks have put to the model could not be stored: {error!r}") from error
