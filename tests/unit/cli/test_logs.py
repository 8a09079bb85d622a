"""What `natscope up` shows of the services' logs."""

import logging
import sys
from types import TracebackType

from natscope.cli.logs import LineFormatter

Fault = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def shown(logger: str, event: str, fault: Fault | None = None, **fields: object) -> str:
    record = logging.getLogger(logger).makeRecord(logger, logging.WARNING, "file", 1, event, (), fault, extra=fields)
    return LineFormatter().format(record)[len("00:00:00 ") :]


class TestALine:
    def test_says_which_service_and_what_in_words(self) -> None:
        line = shown("services.tool_executor.mcp.offering", "tool left out", server="s", reason="no name")
        assert line == "warning tool-executor: tool left out (server: s, reason: no name)"
        assert shown("natscope.bus.room", "waiting for NATS") == "warning natscope: waiting for NATS"

    def test_stays_one_and_steers_no_terminal_whatever_is_told(self) -> None:
        assert shown("x", "lost", reason="a\nb\x1b[2J") == "warning x: lost (reason: a b[2J)"

    def test_has_the_trace_of_an_exception_below_it(self) -> None:
        try:
            raise LookupError("no such thing")
        except LookupError:
            first, *rest = shown("x", "failed", sys.exc_info()).splitlines()
        assert first == "warning x: failed"
        assert rest[-1] == "LookupError: no such thing"
