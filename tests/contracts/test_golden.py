"""The wire form is frozen: one golden file per contract."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from natscope.contracts.blocks import ContentBlock, TextBlock, ToolResultBlock, UnknownBlock
from natscope.contracts.catalog import DOORS
from natscope.contracts.contract import Contract
from natscope.contracts.door import Command, Durable
from natscope.contracts.event import TaskEvent, UnknownEvent
from natscope.contracts.message import Message
from natscope.contracts.run import JournalEntry
from tests.contracts.sampling import GOLDEN, contracts

CONTRACTS = contracts()
HOW = """
The wire form of {name} is not what {file} says. Processes of the last release read and write that form.
A contract only grows: give a new field a default, never rename or remove one, and give a changed meaning a new verb.
If this is such growth, run `python -m tests.contracts.write`, look at the difference, and commit it.
"""


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def each() -> Any:
    return pytest.mark.parametrize(("name", "kind"), CONTRACTS.items(), ids=CONTRACTS)


class TestGolden:
    def test_every_contract_has_one_and_nothing_else_has(self) -> None:
        assert {file.stem for file in GOLDEN.glob("*.json")} == set(CONTRACTS), "run `python -m tests.contracts.write`"

    def test_every_body_of_a_door_is_among_them(self) -> None:
        known = set(CONTRACTS.values())
        for door in DOORS:
            bodies = [door.ask, door.answer] if isinstance(door, Command) else []
            bodies += [door.ask] if isinstance(door, Durable) else []
            assert set(bodies) <= known

    @each()
    def test_reading_and_writing_it_gives_it_back(self, name: str, kind: type[Contract]) -> None:
        frozen = golden(name)
        how = HOW.format(name=name, file=f"tests/contracts/golden/{name}.json")
        try:
            written = json.loads(kind.model_validate(frozen).model_dump_json())
        except ValidationError as error:
            pytest.fail(f"{how}\n{error}")
        assert written == frozen, how

    @each()
    def test_what_is_required_stays_what_it_is(self, name: str, kind: type[Contract]) -> None:
        required = {field for field, info in kind.model_fields.items() if info.is_required()}
        least = {field: value for field, value in golden(name).items() if field in required}
        kind.model_validate(least)
        for field in required:
            with pytest.raises(ValidationError):
                kind.model_validate({other: value for other, value in least.items() if other != field})

    @each()
    def test_fields_of_a_later_version_survive(self, name: str, kind: type[Contract]) -> None:
        later = golden(name) | {"of_a_later_version": {"deep": [1, {"deeper": None}]}}
        assert json.loads(kind.model_validate(later).model_dump_json()) == later


class TestUnknownKinds:
    def test_a_block_of_a_later_version_survives_wherever_it_stands(self) -> None:
        later = {"type": "hologram", "depth": 3, "source": {"type": "laser", "watts": 1.5}}
        result = golden("blocks.ToolResultBlock") | {"output": [later, {"type": "text", "text": "hi"}]}
        message = golden("message.Message") | {"content": [later, result]}
        read = Message.model_validate(message)
        assert isinstance(read.content[0], UnknownBlock)
        assert isinstance(read.content[1], ToolResultBlock)
        assert isinstance(read.content[1].output[1], TextBlock)
        assert json.loads(read.model_dump_json()) == message

    def test_a_known_block_that_is_wrong_is_refused_not_taken_for_an_unknown_one(self) -> None:
        with pytest.raises(ValidationError):
            TypeAdapter[ContentBlock](ContentBlock).validate_python({"type": "text", "words": "hi"})

    def test_an_event_of_a_later_version_survives(self) -> None:
        later = {"id": "1", "task_id": "t", "at": "2026-11-21T12:00:00Z", "type": "daydream", "about": ["fish"]}
        adapter = TypeAdapter[TaskEvent](TaskEvent)
        read = adapter.validate_python(later)
        assert isinstance(read, UnknownEvent)
        assert json.loads(adapter.dump_json(read)) == later

    def test_an_unknown_journal_entry_stops_its_reader(self) -> None:
        with pytest.raises(ValidationError):
            TypeAdapter[JournalEntry](JournalEntry).validate_python({"entry": "teleported", "version": 9})
