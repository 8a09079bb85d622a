"""Which bodies are the same ask, and which are the same task."""

from typing import Any

from pydantic import Field

from natscope.bus.envelope import digest_of, digest_of_task
from natscope.contracts import tool
from natscope.contracts.task import Submit

BODY: dict[str, Any] = {"task_id": "t", "content": "hi", "session": "s"}


class Grown(Submit):
    """The contract as a later version may have it."""

    place: str | None = None
    tags: list[str] = Field(default_factory=list[str])


CALL: dict[str, Any] = {
    "call_id": "c",
    "call": {"id": "u", "name": "add", "input": {"a": None, "b": False}},
    "session": "s",
    "limits": {"deadline_s": 5},
}


class GrownLimits(tool.Limits):
    threads: int | None = None


class GrownCall(tool.Call):
    limits: GrownLimits = GrownLimits()  # pyright: ignore[reportIncompatibleVariableOverride]
    urgent: bool = False


class TestDigestOf:
    def test_an_ask_stays_the_same_when_its_contract_or_one_within_it_grows(self) -> None:
        before, after = tool.Call.model_validate(CALL), GrownCall.model_validate(CALL)
        assert digest_of(before) == digest_of(after)

    def test_what_is_said_counts(self) -> None:
        same = digest_of(GrownCall.model_validate(CALL))
        inputs: list[dict[str, object]] = [{"a": None}, {"b": False}, {"a": None, "b": True}]
        others = [CALL | {"call": CALL["call"] | {"input": each}} for each in inputs]
        for other in (*others, CALL | {"urgent": True}, CALL | {"limits": {"deadline_s": 5, "threads": 1}}):
            assert digest_of(GrownCall.model_validate(other)) != same


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
