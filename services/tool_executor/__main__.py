"""`python -m services.tool_executor`: run the tool executor until it is told to stop."""

from natscope.bus import run_until_signalled
from natscope.telemetry import TelemetrySettings
from natscope.telemetry.logs import log_to_stderr
from services.tool_executor.app import NAME, app
from services.tool_executor.settings import Settings

if __name__ == "__main__":
    log_to_stderr(NAME, TelemetrySettings().log_level)
    run_until_signalled(app(Settings()))
