"""`python -m services.model_gateway`: run the gateway until it is told to stop."""

import sys

from natscope.bus import run_until_signalled
from natscope.contracts.errors import SpecInvalid
from natscope.telemetry import TelemetrySettings
from natscope.telemetry.logs import log_to_stderr
from services.model_gateway.app import NAME, app


def main() -> int:
    """Run; 1 if the models file is wrong."""
    log_to_stderr(NAME, TelemetrySettings().log_level)
    try:
        run_until_signalled(app())
    except SpecInvalid as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
