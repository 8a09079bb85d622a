"""Start the memory service."""

import sys

from natscope.bus import start
from services.memory.app import app
from services.memory.settings import Settings

if __name__ == "__main__":
    sys.exit(start("memory", Settings, app))
