"""Which calls of a reply are carried out together."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from natscope.contracts.blocks import ToolUseBlock
from services.agent.state import State

Calls = tuple[tuple[int, ToolUseBlock], ...]


def batches(state: State, calls: Calls) -> Iterator[list[tuple[int, ToolUseBlock]]]:
    """Give the calls in order, those together that may run at the same time."""
    alone = {spec.name for spec in state.tools if not spec.concurrent}
    batch: list[tuple[int, ToolUseBlock]] = []
    for index, call in calls:
        if batch and (call.name in alone or not state.agent.parallel_tool_calls):
            yield batch
            batch = []
        batch.append((index, call))
        if call.name in alone:
            yield batch
            batch = []
    if batch:
        yield batch


async def together(work: list[Coroutine[Any, Any, None]]) -> None:
    """Run all of `work`; the first failure cancels the rest and is raised as it is."""
    tasks = [asyncio.create_task(part) for part in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
