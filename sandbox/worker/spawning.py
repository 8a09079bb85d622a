"""Let the processes that a program spawns find its functions: they read its source again, which is in no file else."""

from __future__ import annotations

import os
from typing import Any

from .loading import once_loaded
from .wiping import SHARED

_LIBRARY = "multiprocessing.spawn"


def give_source_to_the_spawned(source: str, name: str) -> None:
    """Have `multiprocessing` start interpreters of its own with the program, should it be loaded."""

    def give(library: Any) -> None:
        prepare, path = library.get_preparation_data, ""

        def with_source(process: str) -> dict[str, Any]:
            nonlocal path
            path = path or _file(source, name)
            order = {**prepare(process), "init_main_from_path": path}
            order.pop("init_main_from_name", None)
            return order

        library.get_preparation_data = with_source

    once_loaded(_LIBRARY, give)


def _file(source: str, name: str) -> str:
    """Return a file with the program; it lies in shared memory, so that it goes when the program does."""
    import tempfile

    path = os.path.join(tempfile.mkdtemp(dir=SHARED), name)
    with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(source)
    return path
