"""What a server's tool is called here."""

import hashlib
import re

MOST = 64
"""Characters of a tool's name (`natscope.contracts.tool.ToolName`)."""
DIGITS = 8

_STRANGE = re.compile(r"[^A-Za-z0-9_-]")


def name_of(server: str, tool: str) -> str:
    """Return `mcp__<server>__<tool>`.

    Characters that no name of ours has become `_`, and what is over 64 characters is cut; either is made up for by `_`
    and eight digits of a hash of the server's and the tool's own names, so that no two names fall together and a name
    stays the same for ever.
    """
    wanted = f"mcp__{server}__{tool}"
    name = _STRANGE.sub("_", wanted)
    if name == wanted and len(name) <= MOST:
        return name
    digest = hashlib.sha256(f"{server}\0{tool}".encode()).hexdigest()[:DIGITS]
    return f"{name[: MOST - DIGITS - 1]}_{digest}"
