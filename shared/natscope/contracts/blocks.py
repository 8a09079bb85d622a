"""Content blocks: the pieces that every message is made of."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag

from natscope.contracts.contract import Contract
from natscope.contracts.errors import Failure


class Base64Source(Contract):
    """Media carried in the message itself. At most 64 KiB after decoding; larger media travels as a blob."""

    type: Literal["base64"] = "base64"
    data: str
    """Standard base64 with padding (RFC 4648, section 4)."""
    media_type: str


class URLSource(Contract):
    """Media by reference: `https://…`, or `nats://blob/<bucket>/<name>` for a blob of ours."""

    type: Literal["url"] = "url"
    url: str
    media_type: str
    digest: str | None = None
    """`SHA-256=<base64url>` as the NATS object store writes it; always set on blobs."""
    size_bytes: int | None = None


Source = Annotated[Base64Source | URLSource, Field(discriminator="type")]


class TextBlock(Contract):
    """Plain text."""

    type: Literal["text"] = "text"
    text: str


class ThinkingBlock(Contract):
    """A model's reasoning. Kept so that it can be replayed to the provider that wrote it, and to no other."""

    type: Literal["thinking"] = "thinking"
    thinking: str
    provider: str | None = None
    """Who wrote it; the opaque parts below mean nothing to anybody else."""
    signature: str | None = None
    redacted: str | None = None
    """An encrypted or redacted payload, replayed byte for byte."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    """What else its provider wants to have back with it, such as its id."""


class ImageBlock(Contract):
    """A picture."""

    type: Literal["image"] = "image"
    source: Source


class AudioBlock(Contract):
    """Sound."""

    type: Literal["audio"] = "audio"
    source: Source


class VideoBlock(Contract):
    """Moving pictures."""

    type: Literal["video"] = "video"
    source: Source


def _inside(path: str) -> str:
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("is no path inside a workspace: relative, with `/`, without `.` and `..`")
    return path


FilePath = Annotated[str, Field(pattern=r"^[^\\\x00-\x1f]{1,1024}$"), AfterValidator(_inside)]
"""Relative to a workspace, with `/` between its parts, none of which is empty, `.` or `..`."""


class FileBlock(Contract):
    """Any other media, with the path it gets in the session's workspace."""

    type: Literal["file"] = "file"
    name: FilePath
    source: Source


class ToolUseBlock(Contract):
    """A call of a tool, as the model wrote it."""

    type: Literal["tool_use"] = "tool_use"
    id: str
    """The provider's id of the call. Unique within one reply only; some providers repeat it across replies."""
    name: str
    input: dict[str, JsonValue] = Field(default_factory=dict)
    raw_input: str = ""
    """The arguments' text as the model wrote it. `input` is what it says, repaired by rule where it is no JSON."""
    failure: Failure | None = None
    """Why the arguments are of no use: cut by the token limit, beyond repair, or not fitting the tool's schema.
    `input` is empty then, and the call must not be carried out; the model is told instead."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    """What else its provider said of it and wants to have back, under the provider's name."""


ResultState = Literal["success", "error", "denied", "interrupted", "unknown"]


class ToolResultBlock(Contract):
    """What a tool call came to."""

    type: Literal["tool_result"] = "tool_result"
    id: str
    """The id of the `ToolUseBlock` it answers."""
    name: str
    output: list["ContentBlock"] = Field(default_factory=list["ContentBlock"])
    state: ResultState = "success"
    """`error`: the tool ran and failed. `unknown`: it had begun and its outcome was lost; it is not run again."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class UnknownBlock(Contract):
    """A block of a later version: kept whole and passed on."""

    type: str


_KINDS = frozenset({"text", "thinking", "image", "audio", "video", "file", "tool_use", "tool_result"})


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return kind if isinstance(kind, str) and kind in _KINDS else "unknown"


ContentBlock = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[ImageBlock, Tag("image")]
    | Annotated[AudioBlock, Tag("audio")]
    | Annotated[VideoBlock, Tag("video")]
    | Annotated[FileBlock, Tag("file")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[UnknownBlock, Tag("unknown")],
    Discriminator(_kind),
]
"""One piece of content, told apart by its `type`."""

ToolResultBlock.model_rebuild()

MediaBlock = ImageBlock | AudioBlock | VideoBlock | FileBlock


def plain(text: str) -> list[ContentBlock]:
    """Return `text` as content: one text block."""
    return [TextBlock(text=text)]


def is_blank(blocks: list[ContentBlock]) -> bool:
    """Return whether content has neither a word nor anything but text."""
    return all(isinstance(block, TextBlock) and not block.text.strip() for block in blocks)


def text_of(blocks: list[ContentBlock]) -> str:
    """Return the text blocks' text, joined with line feeds; other blocks are passed over."""
    return "\n".join(block.text for block in blocks if isinstance(block, TextBlock))
