"""An MCP server of the handshake era in plain Python, which starts at once and misbehaves as its argument says.

well · banner · chatter (garbage without end) · endless (no end of line) · mute (never answers)
late (begins once `go` lies beside its log)
garbled (an answer that is none) · wrong (one that is no result) · stubborn (ignores every wish that it end)
gone (ends at once) · once (ends at once the second time) · older (talks of an unknown protocol)
twins (tools whose names look the same) · many (500 tools) · odd (names that no tool of ours has)
crooked (schemas that are none) · flood (a thousand notifications before each answer)
noisy (garbage before each answer)
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

MANNER = sys.argv[1]
TOOLS = {
    "twins": ["a.b", "a b", "a_b"],
    "many": [f"tool_{number}" for number in range(500)],
    "odd": ["Zähler/neu", "drop table;--", "a" * 200, "__init__", "🦊", "9", "x.y-z", " "],
}.get(MANNER, ["ping", "note", "mute", "die", "x" * 90])
SCHEMAS = {"note": {"type": "object", "properties": []}, "mute": {"type": "object", "required": "a"}}
STRAY = [
    "}{", "null", "[]", "42", '{"jsonrpc": "1.0"}', '{"jsonrpc": "2.0", "id": 99999, "result": {}}',
    '{"jsonrpc": "2.0", "method": "notifications/none", "params": {"a": 1}}', "\x00\x01", "é" * 50,
]  # fmt: skip


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def answer(id: Any, result: Any) -> None:
    """Answer a request."""
    say(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}))


def notify(method: str, params: Any) -> None:
    """Tell something."""
    say(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))


def refuse(id: Any) -> None:
    """Answer a request with an error."""
    say(json.dumps({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "what?"}}))


def initialize(id: Any) -> None:
    """Shake hands."""
    if MANNER == "mute":
        return
    version = "1999-01-01" if MANNER == "older" else "2025-06-18"
    info = {"name": "bare", "version": "1"}
    answer(id, {"protocolVersion": version, "capabilities": {"tools": {"listChanged": True}}, "serverInfo": info})


def call(id: Any, name: str, arguments: Any) -> None:
    """Carry a call out."""
    if name in ("note", "mute"):
        with Path(os.environ["MCP_LOG"]).open("a") as file:
            file.write(f"{arguments}\n")
    for number in range(1000 if MANNER == "flood" else 0):
        notify("notifications/tools/list_changed", {})
        notify("notifications/progress", {"progressToken": "none", "progress": number})
        notify("notifications/message", {"level": "info", "data": "x" * 100})
    for line in STRAY if MANNER == "noisy" else ():
        say(line)
    if MANNER == "garbled":
        return say("}{ this is no JSON")
    if MANNER == "wrong":
        return answer(id, {"content": [{"type": "text"}]})
    if name == "mute":
        return None
    if name == "die":
        sys.stderr.write("I give up\n")
        sys.stderr.flush()
        os._exit(9)
    return answer(id, {"content": [{"type": "text", "text": f"{name} of {os.getpid()}"}]})


def handle(message: Any) -> None:
    """Handle one message."""
    id, method = message.get("id"), message.get("method")
    if method == "initialize":
        initialize(id)
    elif method == "tools/list":
        schemas = SCHEMAS if MANNER == "crooked" else {}
        answer(id, {"tools": [{"name": name, "inputSchema": schemas.get(name, {"type": "object"})} for name in TOOLS]})
    elif method == "tools/call":
        call(id, message["params"]["name"], message["params"].get("arguments"))
    elif id is not None and method:
        refuse(id)


def first() -> bool:
    """Return whether this is the first start."""
    mark = Path(os.environ["MCP_LOG"] + ".started")
    before = mark.exists()
    mark.touch()
    return not before


def main() -> None:
    """Misbehave, then serve."""
    if MANNER == "gone" or (MANNER == "once" and not first()):
        sys.stderr.write("there is no such database\n")
        sys.exit(4)
    if MANNER == "banner":
        say("Welcome!\n\n*** bare server ***")
    while MANNER == "late" and not Path(os.environ["MCP_LOG"]).with_name("go").exists():
        time.sleep(0.02)
    if MANNER == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while MANNER == "chatter":
        say("blah " * 20)
    while MANNER == "endless":
        sys.stdout.write("x" * 65536)
    for line in sys.stdin:
        handle(json.loads(line))
    while MANNER == "stubborn":
        time.sleep(60)


if __name__ == "__main__":
    main()
