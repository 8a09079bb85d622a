"""Keeps the opaque parts of thoughts in blocks, and puts them back for the provider that wrote them.

OpenRouter's `reasoning_details` hold text, summaries and encrypted parts, each with a format, an id and a signature;
Google's endpoint hangs a signature on a call. Both are refused or lost if they do not come back as they were.
Source: https://openrouter.ai/docs/guides/best-practices/reasoning-tokens,
https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from natscope.contracts.blocks import ContentBlock, ThinkingBlock
from services.model_gateway.wires.dialects import Json

DETAIL = "reasoning_detail"
ON_MESSAGE = "on_message"
ON_CALL = "on_call"
TEXTS = {"reasoning.text": "text", "reasoning.summary": "summary"}
_ENCRYPTED = "reasoning.encrypted"


def is_own(block: ContentBlock, provider: str) -> bool:
    """Return whether a block is a thought that `provider` may have written."""
    return isinstance(block, ThinkingBlock) and block.provider in (None, provider)


def detail(block: ThinkingBlock, place: int) -> Json:
    """Return a thought as the `reasoning_details` item that it came from."""
    kept = block.metadata.get(DETAIL)
    out: Json = {"type": _ENCRYPTED if block.redacted is not None else "reasoning.text"}
    out.update(kept if isinstance(kept, dict) else {"index": place})
    if block.redacted is not None:
        out["data"] = block.redacted
    else:
        out[TEXTS.get(str(out["type"]), "text")] = block.thinking
    if block.signature is not None:
        out["signature"] = block.signature
    return out


def hung_on(block: ThinkingBlock, where: str) -> Json:
    """Return what has to be hung on the message, or on the call behind a thought that is nothing but a signature."""
    kept = block.metadata.get(where)
    return kept if isinstance(kept, dict) else {}


def is_detail(block: ThinkingBlock) -> bool:
    """Return whether a thought is more than a signature that hangs on something else."""
    return ON_MESSAGE not in block.metadata and ON_CALL not in block.metadata


def tells(detail: Json) -> bool:
    """Return whether a `reasoning_details` item holds words."""
    return any(isinstance(detail.get(name), str) and detail[name] for name in TEXTS.values())


def signatures(value: Json, where: str) -> tuple[str, str, Json] | None:
    """Return the signature that hangs on a message or on a call, where it hangs, and all that hangs there."""
    extra = value.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return (found, where, {"extra_content": extra}) if isinstance(found, str) and found else None
