"""Long results: the model sees the beginning and the end, the whole is a file of the workspace."""

from collections.abc import Iterable
from dataclasses import replace

from natscope.bus.blobs import Blobs
from natscope.contracts.blocks import ContentBlock, FileBlock, TextBlock, ToolResultBlock
from natscope.contracts.message import Message
from services.agent.open_tasks import recalled
from services.agent.own import KEPT
from services.agent.state import State


async def shortened(result: ToolResultBlock, *, limit: int, blobs: Blobs, name: str) -> ToolResultBlock:
    """Return `result` with at most `limit` bytes of text; the whole text is kept under `name` then.

    Source: AgentScope's `tool_result_limit` keeps the head alone; what went wrong stands at the end more often.
    """
    texts = [block.text for block in result.output if isinstance(block, TextBlock)]
    whole = "\n".join(texts).encode("utf-8", "replace")
    if len(whole) <= limit:
        return result
    path = f"results/{name}.txt"
    kept = FileBlock(name=path, source=await blobs.source(whole, "text/plain; charset=utf-8"))
    head = whole[: limit // 2].decode("utf-8", "ignore")
    tail = whole[len(whole) - (limit - limit // 2) :].decode("utf-8", "ignore")
    left_out = len(whole) - len(head.encode()) - len(tail.encode())
    gap = f"[… {left_out} of {len(whole)} bytes are left out here; the whole is the file {path} of the workspace …]"
    others = [block for block in result.output if not isinstance(block, TextBlock)]
    output: list[ContentBlock] = [TextBlock(text=f"{head}\n{gap}\n{tail}"), *others]
    metadata = {**result.metadata, KEPT: [kept.model_dump(mode="json")]}
    return result.model_copy(update={"output": output, "metadata": metadata})


def remembering(state: State, past: Iterable[Message]) -> State:
    """Return the state with what earlier tasks have left: files that the model recalls, and an open list of tasks."""
    past = list(past)
    results = (block for each in past for block in each.content if isinstance(block, ToolResultBlock))
    kept = (*(file for each in results for file in files_left_by(each)), *state.kept)
    return recalled(replace(state, kept=kept), past)


def files_left_by(result: ToolResultBlock) -> tuple[FileBlock, ...]:
    """Return the files that a result has left for the workspace, whatever its state."""
    kept = result.metadata.get(KEPT)
    return tuple(map(FileBlock.model_validate, kept)) if isinstance(kept, list) else ()
