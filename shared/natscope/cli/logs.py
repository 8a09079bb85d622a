"""What of the services' logs reaches the terminal when they run in this process."""

import logging
from datetime import datetime

from natscope.cli.telling import printable
from natscope.telemetry.logs import fields_of, log_to_stderr


class LineFormatter(logging.Formatter):
    """Writes time, level, service, event and its fields as one line for people; an exception's trace below it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = ", ".join(f"{name}: {value}" for name, value in fields_of(record).items())
        said = f"{record.getMessage()} ({fields})" if fields else record.getMessage()
        line = " ".join(printable(f"{at} {record.levelname.lower()} {_service(record.name)}: {said}").split())
        return f"{line}\n{printable(self.formatException(record.exc_info))}" if record.exc_info else line


def log_at(level: str) -> None:
    """Write logs of `level` and above to standard error, a line each."""
    log_to_stderr("natscope", level.upper(), LineFormatter())


def _service(logger: str) -> str:
    """Return the service that a logger is of, as it is called elsewhere."""
    first, _, rest = logger.partition(".")
    return rest.partition(".")[0].replace("_", "-") if first == "services" else first
