"""What a function returns, as the answer of its agent."""

from typing import cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from natscope.agents import Reply, Result, check_writable
from natscope.contracts.blocks import ContentBlock, ToolUseBlock, plain
from natscope.contracts.errors import SpecInvalid
from natscope.contracts.message import Content, Message
from natscope.contracts.run import Performed
from services.agent.custom.folding import ANSWER, END, OUTPUT
from services.agent.own import answer_text
from services.agent.state import State

_BLOCKS = TypeAdapter[list[ContentBlock]](Content)
_JSON = TypeAdapter[JsonValue](JsonValue)


def ended(state: State, answer: object) -> Performed:
    """Return the entry that says that the function has ended with `answer`.

    Raises:
        SpecInvalid: it is no answer.
    """
    content, output = _read(answer)
    spoken: list[ContentBlock] = [block for block in content if not isinstance(block, ToolUseBlock)]
    id = f"{state.started.task.task_id}-answer"
    message = Message(id=id, name=state.agent.name, role="assistant", content=spoken)
    value = {ANSWER: message.model_dump(mode="json"), OUTPUT: output}
    check_writable("the function's answer", value)
    return Performed(position=END, kind="return", name="", digest="", value=value)


def _read(answer: object) -> tuple[list[ContentBlock], JsonValue]:
    match answer:
        case None:
            return [], None
        case str():
            return plain(answer), None
        case Reply():
            return answer.message.content, answer.output
        case Result():
            return answer.block.output, answer.output
        case Message():
            return answer.content, None
        case list() if answer and all(hasattr(each, "type") for each in cast("list[object]", answer)):
            return _BLOCKS.validate_python(answer), None
        case _:
            return _value(answer)


def _value(answer: object) -> tuple[list[ContentBlock], JsonValue]:
    try:
        value = _JSON.validate_python(answer)
    except ValidationError as error:
        fault = f"the function has returned {type(answer).__name__}, which is no answer"
        raise SpecInvalid(fault, remedy="return text, blocks, a message, or a JSON value") from error
    return plain(answer_text(value)), value
