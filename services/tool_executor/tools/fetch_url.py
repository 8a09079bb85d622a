"""`fetch_url`: a page or file of the web, from hosts that the operator lists."""

import codecs
from dataclasses import dataclass, replace
from typing import Annotated, Protocol

from pydantic import Field

from natscope.contracts.blocks import ContentBlock, TextBlock
from services.tool_executor.page_reading import readable
from services.tool_executor.tools.arguments import Arguments
from services.tool_executor.tools.attaching import MEDIA_BYTES, block_of, is_media, media_type_of
from services.tool_executor.tools.built_in import BuiltIn, built_in
from services.tool_executor.tools.port import Place, Result

WITHIN_S = 30.0
READ_S = 10.0
"""Of turning a page into text."""
PAGE_BYTES = 2 << 20
"""Of a page that is turned into text; a larger one is given as it is."""
_NO_CHARSETS = ("punycode", "idna", "unicode_escape", "raw_unicode_escape")
_TEXTUAL = ("json", "xml", "javascript", "yaml", "csv", "x-www-form-urlencoded")


@dataclass(frozen=True)
class Fetched:
    """What was found, wherever redirects led."""

    url: str
    status: int
    media_type: str
    charset: str | None
    data: bytes


class NotFetched(Exception):
    """Nothing was fetched; the message says why."""


class Web(Protocol):
    """The web, as far as it may be reached."""

    async def fetch(self, url: str, *, within_s: float) -> Fetched:
        """Return what is at `url`.

        Raises:
            NotFetched: nothing is, it must not be reached, it is too large, or there was no answer in time.
        """
        ...


class FetchArguments(Arguments):
    """Arguments of `fetch_url`."""

    url: Annotated[str, Field(min_length=1, max_length=4096, description="Address, with http:// or https://.")]
    raw: Annotated[bool, Field(description="Give a page as it is written, not as text.")] = False


def fetch_url(web: Web) -> BuiltIn[FetchArguments]:
    """Return the tool. What it asks for can tell others something, so that it does not count as reading only."""

    async def act(arguments: FetchArguments, place: Place) -> Result:
        try:
            found = await web.fetch(arguments.url, within_s=min(place.deadline_s, WITHIN_S))
        except NotFetched as error:
            return Result([TextBlock(text=f"[not fetched: {error}]")], "error")
        output = [TextBlock(text=_heading(found)), await _content(found, arguments, place)]
        facts = {"url": found.url, "status": found.status, "media_type": found.media_type}
        return Result(output, "success" if found.status < 400 else "error", {**facts, "size_bytes": len(found.data)})

    found = built_in(
        "fetch_url",
        "Fetch a page or file of the web and return its text; pictures are shown as such. Only some hosts may be"
        " fetched from.",
        FetchArguments,
        act,
        reads=True,
        sandboxed=False,
    )
    return replace(found, spec=found.spec.model_copy(update={"read_only": False}))


def _heading(found: Fetched) -> str:
    return f"[HTTP {found.status}, {found.media_type}, {len(found.data)} bytes, {found.url}]"


async def _content(found: Fetched, arguments: FetchArguments, place: Place) -> ContentBlock:
    kind = media_type_of(found.url, found.data)
    if is_media(found.media_type) or is_media(kind):
        name = found.url.partition("?")[0].rpartition("/")[2][-200:] or "file"
        if len(found.data) > MEDIA_BYTES:
            return TextBlock(text=f"[{name} is not shown: it is over {MEDIA_BYTES} bytes]")
        return await block_of(name, found.data, place.media)
    if not _is_text(found):
        return TextBlock(text="[it is no text and no picture, and is not shown]")
    text = _decoded(found)
    if found.media_type in ("text/html", "application/xhtml+xml") and not arguments.raw and len(text) <= PAGE_BYTES:
        text = await readable(text, within_s=min(place.deadline_s, READ_S))
    return TextBlock(text=_cut(text, place.limits.output_bytes))


def _is_text(found: Fetched) -> bool:
    kind = found.media_type
    return (kind.startswith("text/") or any(part in kind for part in _TEXTUAL)) and b"\0" not in found.data[:4096]


def _decoded(found: Fetched) -> str:
    """Return the text. Python knows charsets that are none, and some whose decoding takes a time without bound."""
    try:
        name = codecs.lookup(found.charset or "utf-8").name
        return found.data.decode("utf-8" if name in _NO_CHARSETS else name, "replace")
    except (LookupError, UnicodeError):
        return found.data.decode("utf-8", "replace")


def _cut(text: str, most: int) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return text or "[it is empty]"
    return data[:most].decode("utf-8", "ignore") + f"\n[… {len(data) - most} more bytes]"
