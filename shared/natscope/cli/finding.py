"""What Python files hold for others: tools and hooks, and agents that are functions."""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from natscope.agents import FunctionAgent
from natscope.client.tools import Tool
from natscope.contracts.errors import NatscopeError, SpecInvalid
from natscope.hooks import HookFunction

T = TypeVar("T")

_REMEDY = "write `@natscope.tool` above a typed function, or `@natscope.hook` above `async def f(asked)`"
_FOLDER = "put it into the agent service's folder of functions (AGENT_FUNCTIONS): agents run there"


@dataclass(frozen=True)
class Found:
    """What modules hold under names of their own."""

    tools: list[Tool]
    hooks: list[HookFunction]
    agents: list[str]
    """The names of functions that are agents."""


def found(places: Sequence[str]) -> Found:
    """Return what the modules at `places`, Python files or names of modules, hold.

    Raises:
        SpecInvalid: a place cannot be imported, or holds nothing that can be served.
    """
    tools: dict[int, Tool] = {}
    hooks: dict[int, HookFunction] = {}
    agents: list[str] = []
    for place in places:
        here = {name: value for name, value in vars(_module(place)).items() if name[:1] != "_"}
        served = (_each(here, Tool), _each(here, HookFunction))
        found = [name for name, value in here.items() if isinstance(value, FunctionAgent)]
        if not any(served):
            raise SpecInvalid(f"{place}: there is no tool or hook", remedy=_FOLDER if found else _REMEDY)
        tools.update(served[0])
        hooks.update(served[1])
        agents += found
    return Found(list(tools.values()), list(hooks.values()), agents)


def _each(here: Mapping[str, object], kind: type[T]) -> dict[int, T]:
    return {id(value): value for value in here.values() if isinstance(value, kind)}


def _module(place: str) -> ModuleType:
    file = Path(place)
    try:
        if file.suffix != ".py":
            sys.path.insert(0, os.getcwd())
            return importlib.import_module(place)
        if not file.is_file():
            raise SpecInvalid(f"{place}: there is no such file")
        sys.path.insert(0, str(file.resolve().parent))
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise SpecInvalid(f"{place}: is no Python file")
        module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except NatscopeError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and place.startswith(error.name or place):
            raise SpecInvalid(f"{place}: there is no such module, and it is no file that ends with .py") from error
        ours = [each for each in traceback.extract_tb(error.__traceback__) if not _is_importlib(each.filename)]
        where = "" if isinstance(error, SyntaxError) else f" ({ours[-1].filename}:{ours[-1].lineno})"
        raise SpecInvalid(f"{place} cannot be imported: {type(error).__name__}: {error}{where}") from error
    return module


def _is_importlib(file: str) -> bool:
    return file.startswith("<frozen") or Path(file).parent.name == "importlib"
