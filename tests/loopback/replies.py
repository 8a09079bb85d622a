"""One programmed answer of the loopback provider, whatever wire it goes out on."""

from dataclasses import dataclass

JSON = "application/json"
EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Call:
    """A tool call in a reply; `arguments` is the text exactly as the model would write it."""

    name: str
    arguments: str = "{}"
    id: str = "call_1"


@dataclass(frozen=True)
class Reply:
    """One programmed answer. What is not said is as a healthy provider would do it."""

    text: str | None = None
    calls: tuple[Call, ...] = ()
    thinking: str | None = None
    finish_reason: str | None = "auto"
    """`auto`: `tool_calls` if there are calls, else `stop`; None: the end is never said."""
    pieces: int = 4
    """Into how many chunks a streamed text is cut."""
    tokens: tuple[int, int] = (12, 7)
    model: str = "loopback-1"
    done: bool = True
    """False: a stream ends without `[DONE]`."""
    whole: bool = False
    """Answered in one piece even if a stream was asked for."""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None
    """Sent as the body instead of anything above."""
    content_type: str | None = None
    delay_s: float = 0
    """Before the headers."""
    stall_s: float = 0
    """After the headers."""
    reset: bool = False
    """The connection is closed before a byte is sent."""
    pace_s: float = 0
    """Before each event of a stream."""
    cut_after: int | None = None
    """The connection is cut after so many events of a stream, or at once after the headers of a unary answer."""
    rechunk: int | None = None
    """A stream is written in slices of so many bytes, each in a segment of its own."""

    @property
    def reason(self) -> str | None:
        """The finish reason on the wire."""
        if self.finish_reason != "auto":
            return self.finish_reason
        return "tool_calls" if self.calls else "stop"


def cut(text: str, pieces: int) -> list[str]:
    """Return `text` in at most so many pieces that are about equally long."""
    size = max(1, -(-len(text) // pieces))
    return [text[start : start + size] for start in range(0, len(text), size)]
