"""Start the tool-executor service."""

import sys

from natscope.bus import start
from services.tool_executor.app import app
from services.tool_executor.settings import Settings

if __name__ == "__main__":
    sys.exit(start("tool-executor", Settings, app))
