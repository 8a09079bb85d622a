"""What can go wrong at a provider, each by one name; every wire's module makes all of them in its own shape."""

STATUSES = (
    "429 retry-after",
    "429 insufficient_quota",
    "500",
    "529 overloaded",
    "401",
    "403",
    "402",
    "404 model",
    "400 context_length",
    "400 content_filter",
    "408",
)
"""An answer with an error status, in the wire's own shape."""
BROKEN = (
    "503 html",
    "reset",
    "stall",
    "tcp cut",
    "clean truncation",
    "200 html",
    "200 empty",
    "error event mid-stream",
    "error as first event",
    "empty choices",
    "garbled json",
    "malformed tool args",
)
"""An answer that is not what its status says, or none at all."""
NAMES = (*STATUSES, *BROKEN)
