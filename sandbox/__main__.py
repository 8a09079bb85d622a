"""Start the cell's worker: `python3 -I -S -u /opt/cell`."""

from worker.forking import preload

preload()

from worker.supervisor import main  # noqa: E402 - what it imports is there by now

main()
