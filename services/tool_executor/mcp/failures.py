"""Says in one line what went wrong with a server, and keeps to itself what may be a secret."""

import re

from natscope.contracts.errors import NatscopeError, ToolUnavailable

_PASSWORD = re.compile(r"""(?<=://)[^\s/@'"]*@""")
_QUERY = re.compile(r"""(://[^\s'"?]*\?)[^\s'"]*""")


def no_session(failure: Exception, words: str = "") -> NatscopeError:
    """Return why there is no session: what went wrong first, in one line, and what the server said last."""
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, NatscopeError):
        return failure
    said = f"; it said last: {words.splitlines()[-1][:500]}" if words else ""
    return ToolUnavailable(f"no session: {one_line(failure)}{said}")


def one_line(error: Exception) -> str:
    """Return an error in one line, without what may be a secret in an address."""
    text = _QUERY.sub(r"\1…", _PASSWORD.sub("…@", " ".join(str(error).split())))
    return text[:500] or type(error).__name__
