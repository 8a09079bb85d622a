"""Logs: one JSON object a line, with the ids of the span it was written in."""

import json
import logging
import sys
from datetime import UTC, datetime

from opentelemetry import trace

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Writes event name, level, time, logger, `extra` fields, trace and span id, and the exception if there is one."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "event": record.getMessage(),
            "logger": record.name,
        }
        line |= fields_of(record)
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = f"{context.trace_id:032x}"
            line["span_id"] = f"{context.span_id:016x}"
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what was said as `extra`, by name."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def log_to_stderr(service: str, level: str = "INFO", formatter: logging.Formatter | None = None) -> None:
    """Send the whole process's logs to standard error; without a `formatter` as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter or JsonFormatter(service))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpx2", "nats", "asyncio", "urllib3", "docker"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
