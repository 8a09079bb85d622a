"""Start the agent service."""

from natscope.bus import run_until_signalled
from natscope.telemetry import TelemetrySettings
from natscope.telemetry.logs import log_to_stderr
from services.agent.app import app

if __name__ == "__main__":
    log_to_stderr("agent", TelemetrySettings().log_level)
    run_until_signalled(app())
