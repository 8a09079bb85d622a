"""Which bodies are the same task."""

from typing import Any

from pydantic import Field

from natscope.bus.envelope import digest_of_task
from natscope.contracts.task import Submit

BODY: dict[str, Any] = {"task_id": "t", "content": "hi", "session": "s"}


class Grown(Submit):
    """The contract as a later version may have it."""

    place: str | None = None
    tags: list[str] = Field(default_factory=list[str])


class TestDigestOfTask:
    def test_a_task_stays_the_same_when_the_contract_grows(self) -> None:
        before, after = Submit.model_validate(BODY), Grown.model_validate(BODY)
        assert digest_of_task(before) == digest_of_task(after)

    def test_how_it_is_told_and_what_it_may_cost_do_not_count_and_all_else_does(self) -> None:
        same = digest_of_task(Submit.model_validate(BODY))
        for more in ({"stream": True}, {"tokens": 9}, {"usd": 1.0}):
            assert digest_of_task(Submit.model_validate(BODY | more)) == same
        for more in ({"content": "ho"}, {"session": "other"}, {"tenant": "acme"}, {"metadata": {"a": 1}}):
            assert digest_of_task(Submit.model_validate(BODY | more)) != same
        assert digest_of_task(Grown.model_validate(BODY | {"place": "Kiel"})) != same
