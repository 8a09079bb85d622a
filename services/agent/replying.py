"""A model's reply as the run takes it."""

from natscope.contracts.blocks import ContentBlock, ToolUseBlock
from natscope.contracts.model import Chatted
from natscope.contracts.run import ModelReplied
from services.agent.actions import AskModel
from services.agent.own import FINISH
from services.agent.state import State


def entry_of(state: State, wanted: AskModel, reply: Chatted) -> ModelReplied:
    """Return the journal's entry of a reply; the last one of a run is without the calls that it must not make."""
    id = f"{state.started.task.task_id}-{wanted.step}"
    message = reply.message.model_copy(update={"id": id, "name": state.agent.name})
    if wanted.last:
        content = [block for block in message.content if not _is_barred(state, block)]
        message = message.model_copy(update={"content": content})
    return ModelReplied(
        step=wanted.step,
        message=message,
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        cost_usd=reply.cost_usd,
        model=reply.model,
    )


def _is_barred(state: State, block: ContentBlock) -> bool:
    return isinstance(block, ToolUseBlock) and not (block.name == FINISH and state.owes_output)
