"""Start the model-gateway service."""

import sys

from natscope.bus import start
from services.model_gateway.app import app
from services.model_gateway.settings import Settings

if __name__ == "__main__":
    sys.exit(start("model-gateway", Settings, app))
