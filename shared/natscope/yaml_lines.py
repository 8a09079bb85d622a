"""Tells at which line of a YAML file something stands, so that a fault can be told by line and field."""

from collections.abc import Sequence

import yaml

Place = Sequence[int | str]
"""The way from the root to a value: keys of mappings and numbers in lists."""


def line_of(root: yaml.Node | None, place: Place) -> int:
    """Return the line, from 1, of the deepest node on the way to `place` that is there.

    Steps that are not there are passed over: pydantic names the branches of unions among them.
    """
    line, node = 1, root
    for step in place:
        found = below(node, step)
        if found is not None:
            line, node = found
    return line


def below(node: yaml.Node | None, step: int | str) -> tuple[int, yaml.Node] | None:
    """Return the value one step down and its line, from 1: that of its key, or of the item of a list."""
    if isinstance(node, yaml.MappingNode):
        pairs = ((key.start_mark.line + 1, value) for key, value in node.value if key.value == str(step))
        return next(pairs, None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def repeated(node: yaml.Node | None) -> yaml.Node | None:
    """Return the first key that stands twice in the same mapping: YAML's parser would keep the last one silently."""
    if isinstance(node, yaml.SequenceNode):
        return next((found for each in node.value if (found := repeated(each))), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            return key
        seen.add(key.value)
        if found := repeated(value):
            return found
    return None
