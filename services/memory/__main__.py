"""The memory service as a process."""

from natscope.bus import run_until_signalled
from natscope.telemetry.logs import log_to_stderr
from services.memory.app import app
from services.memory.settings import Settings

if __name__ == "__main__":
    settings = Settings()
    log_to_stderr("memory", settings.log_level)
    run_until_signalled(app(settings))
