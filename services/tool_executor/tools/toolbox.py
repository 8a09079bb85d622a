"""All tools that this executor serves, by name; tools may come and go while it runs."""

from collections.abc import Callable, Iterable
from typing import Any

from natscope.contracts.errors import SpecInvalid, ToolNotFound
from natscope.contracts.tool import ToolSpec
from services.tool_executor.tools.port import Tool

AnyTool = Tool[Any]


class Toolbox:
    """Tools by name. Whoever `follow`s hears that there are others."""

    def __init__(self, tools: Iterable[AnyTool] = ()) -> None:
        self._tools: dict[str, AnyTool] = {}
        self._followers: list[Callable[[], None]] = []
        self.add(*tools)

    @property
    def specs(self) -> list[ToolSpec]:
        """What a model is told of the tools, in the order they came."""
        return [found.spec for found in self._tools.values()]

    def named(self, name: str) -> AnyTool:
        """Return the tool of that name.

        Raises:
            ToolNotFound: there is none.
        """
        found = self._tools.get(name)
        if found is None:
            raise ToolNotFound(f"there is no tool {name!r} here", remedy=f"there are {', '.join(sorted(self._tools))}")
        return found

    def add(self, *tools: AnyTool) -> None:
        """Serve these too.

        Raises:
            SpecInvalid: a name is taken; nothing was changed.
        """
        self.replace((), tools)

    def remove(self, *names: str) -> None:
        """Serve these no longer; a name that is not there is no error. Calls that run already go on."""
        self.replace(names, ())

    def replace(self, names: Iterable[str], tools: Iterable[AnyTool]) -> None:
        """Serve `tools` in place of `names`, in one step.

        Raises:
            SpecInvalid: a name is taken by a tool that is to stay; nothing was changed.
        """
        gone, come = set(names), tuple(tools)
        new = [found.spec.name for found in come]
        taken = [name for name in new if (name in self._tools and name not in gone) or new.count(name) > 1]
        if taken:
            raise SpecInvalid(f"there is a tool {taken[0]!r} already", remedy="give one of them another name")
        before = self._tools
        self._tools = {name: found for name, found in before.items() if name not in gone} | dict(
            zip(new, come, strict=True)
        )
        if self._tools != before:
            for heard in self._followers:
                heard()

    def follow(self, heard: Callable[[], None]) -> None:
        """Call `heard` whenever the tools are others, from now on."""
        self._followers.append(heard)
