"""Pictures that a program shows, kept as files of its output folder. Costs nothing until one is drawn."""

from __future__ import annotations

import os
import sys
from typing import Any

from .loading import once_loaded

_LIBRARY = "PIL.ImageShow"


def save_figures() -> None:
    """Save every figure that matplotlib has open, and close it."""
    plots = sys.modules.get("matplotlib.pyplot")
    if plots is None:
        return
    try:
        for number in plots.get_fignums():
            plots.figure(number).savefig(_free_name("figure"))
        plots.close("all")
    except Exception as error:  # noqa: BLE001 - a figure that cannot be drawn must not hide what the program said
        sys.stderr.write(f"a figure could not be saved: {error}\n")


def watch_for_pictures() -> None:
    """Have `Image.show()` of PIL save the picture, should PIL be loaded."""
    once_loaded(_LIBRARY, _save_what_is_shown)


def _save_what_is_shown(library: Any) -> None:
    class Saving(library.Viewer):  # type: ignore[misc, name-defined]
        """Saves instead of showing."""

        def show(self, image: Any, **_: Any) -> int:
            image.save(_free_name("image"))
            return 1

    library.register(Saving, 0)


def _free_name(kind: str) -> str:
    folder = os.environ["NATSCOPE_OUTPUT"]
    os.makedirs(folder, exist_ok=True)
    number = 1
    while os.path.exists(path := os.path.join(folder, f"{kind}-{number}.png")):
        number += 1
    return path
