"""The entry point of the `natscope` command."""

import logging
import sys


def main() -> None:
    """Run the command line. What fails is said in one line, never as a traceback."""
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        _run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run() -> None:
    try:
        from natscope.cli.app import app
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {error.name} is not installed (`pip install 'natscope[cli]'`)\n")
        raise SystemExit(3) from None
    app(prog_name="natscope")


if __name__ == "__main__":
    main()
