"""Pictures that a program shows, kept as files of its output folder. Costs nothing until one is drawn."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

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
    sys.meta_path.insert(0, _Finder())


class _Finder:
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _LIBRARY:
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            saving: Any = _Loader(spec.loader)
            spec.loader = saving
        return spec


class _Loader:
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)

        class Saving(module.Viewer):  # type: ignore[misc, name-defined]
            """Saves instead of showing."""

            def show(self, image: Any, **_: Any) -> int:
                image.save(_free_name("image"))
                return 1

        module.register(Saving, 0)


def _free_name(kind: str) -> str:
    folder = os.environ["NATSCOPE_OUTPUT"]
    os.makedirs(folder, exist_ok=True)
    number = 1
    while os.path.exists(path := os.path.join(folder, f"{kind}-{number}.png")):
        number += 1
    return path
