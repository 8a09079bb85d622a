"""Loading agents' functions and hooks: out of one folder, and nothing that was not written to be one."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TypeVar

from natscope.agents import FunctionAgent
from natscope.contracts.agent import AgentSpec
from natscope.contracts.errors import SpecInvalid

T = TypeVar("T")


class Functions:
    """The functions in a folder, by `module:name`. A module is imported once in a process's life."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def load(self, spec: AgentSpec) -> FunctionAgent:
        """Return the function of an agent.

        Raises:
            SpecInvalid: the folder has no such module, it cannot be imported, or has no agent of that name.
        """
        remedy = "write `@natscope.agent` above the function"
        return self.find(spec.function or "", FunctionAgent, where=f"agent {spec.name!r}: function", remedy=remedy)

    def find(self, function: str, kind: type[T], *, where: str, remedy: str) -> T:
        """Return what stands at `module:name`, if it is of that kind; `where` names who asks for it.

        Raises:
            SpecInvalid: the folder has no such module, it cannot be imported, or has nothing of that kind there.
        """
        module, _, name = function.partition(":")
        where = f"{where}: {function!r}"
        self._check(module.split(".", 1)[0], where)
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise SpecInvalid(f"{where}: there is no module {error.name!r} in {self._folder}") from error
        except Exception as error:
            raise SpecInvalid(f"{where}: cannot be imported: {type(error).__name__}: {error}") from error
        found = getattr(loaded, name, None)
        if not isinstance(found, kind):
            fault = "has no" if found is None else "has something else as"
            raise SpecInvalid(f"{where}: {module} {fault} {name!r}", remedy=remedy)
        return found

    def _check(self, package: str, where: str) -> None:
        """Let nothing be imported that lies elsewhere."""
        if str(self._folder) not in sys.path:
            sys.path.append(str(self._folder))
            importlib.invalidate_caches()
        try:
            found = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            found = None
        places = [*(found.submodule_search_locations or []), found.origin] if found is not None else []
        if not any(place is not None and Path(place).resolve().is_relative_to(self._folder) for place in places):
            remedy = "AGENT_FUNCTIONS is the folder; a name that an installed package has cannot be used"
            raise SpecInvalid(f"{where}: there is no module {package!r} in {self._folder}", remedy=remedy)
