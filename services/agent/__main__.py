"""Start the agent service."""

import sys

from natscope.bus import start
from services.agent.app import app
from services.agent.settings import Settings

if __name__ == "__main__":
    sys.exit(start("agent", Settings, app))
