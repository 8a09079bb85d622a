"""What a model writes for machines, repaired on its way through the gateway without asking again, over real HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.errors import OutputInvalid
from natscope.contracts.model import Chatted
from tests.integration.model_gateway.house import TOOL, House, opened
from tests.loopback.provider import Provider
from tests.loopback.replies import Call, Reply

CITY: dict[str, object] = {
    "json_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    }
}


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """The provider; it counts what it is asked."""
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def house(nats_url: str, provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    """A gateway in front of it."""
    async with opened(nats_url, provider.url, tmp_path) as house:
        yield house


def use(answer: Chatted) -> ToolUseBlock:
    (found,) = answer.message.tool_uses
    return found


@pytest.mark.parametrize("streamed", [False, True])
class TestACall:
    async def ask(self, house: House, *, streamed: bool) -> Chatted:
        return await house.chat(tools=[TOOL], deltas_to=await house.listen() if streamed else None)

    async def test_with_damaged_arguments_is_repaired_without_asking_again(
        self, house: House, provider: Provider, streamed: bool
    ) -> None:
        provider.queue(Reply(calls=(Call("execute_python", "{'code': 'print(\"hi\")',}"),)))
        found = use(await self.ask(house, streamed=streamed))
        assert (found.input, found.failure) == ({"code": 'print("hi")'}, None)
        assert provider.total == 1

    async def test_beyond_repair_says_which_tier_gave_up_and_why(
        self, house: House, provider: Provider, streamed: bool
    ) -> None:
        provider.queue(Reply(calls=(Call("execute_python", '{"code": "print('),)))
        found = use(await self.ask(house, streamed=streamed))
        assert found.failure is not None
        assert (found.input, found.failure.details["tier"]) == ({}, 2)
        assert "a string without an end" in found.failure.message
        assert provider.total == 1

    async def test_that_was_cut_by_the_token_limit_fails_though_it_parses(
        self, house: House, provider: Provider, streamed: bool
    ) -> None:
        provider.queue(Reply(calls=(Call("execute_python", '{"code": "1"}'),), finish_reason="length"))
        found = use(await self.ask(house, streamed=streamed))
        assert found.failure is not None
        assert (found.input, found.failure.details["cut"]) == ({}, True)


class TestStructuredOutput:
    async def test_that_is_damaged_is_repaired_in_value_and_text(self, house: House, provider: Provider) -> None:
        provider.queue(Reply(text="```json\n{'city': 'Rome', 'days': '3'}\n```"))
        answer = await house.chat(output=CITY)
        assert answer.output == {"city": "Rome", "days": 3}
        assert answer.message.text == '{"city":"Rome","days":3}'

    @pytest.mark.parametrize(
        ("reply", "why"),
        [
            (Reply(text='{"town": "Rome"}'), "required property"),
            (Reply(text='{"city": "Rome"}', finish_reason="length"), "token limit"),
            (Reply(text="I cannot tell."), "no JSON object"),
        ],
    )
    async def test_that_does_not_fit_is_a_typed_error(
        self, house: House, provider: Provider, reply: Reply, why: str
    ) -> None:
        provider.queue(reply)
        with pytest.raises(OutputInvalid, match=why) as caught:
            await house.chat(output=CITY)
        assert caught.value.details["tier"] == 2
        assert provider.total == 1
