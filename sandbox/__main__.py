"""Start the cell's worker: `python3 -I -S -u /opt/cell`."""

from worker.supervisor import main

main()
