"""What of the services' logs reaches the terminal when they run in this process."""

from natscope.telemetry.logs import log_to_stderr


def log_at(level: str) -> None:
    """Write logs of `level` and above to standard error as JSON lines."""
    log_to_stderr("natscope", level.upper())
