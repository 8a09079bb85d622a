"""What an asker is told when nobody answered: by the names of the models file, and each thing once."""

from services.model_gateway.trying import telling
from services.model_gateway.trying.faults import FaultName
from services.model_gateway.trying.outs import Out
from services.model_gateway.trying.routes import Route
from services.model_gateway.trying.telling import Said
from tests.unit.model_gateway.fakes import FakeProvider, fault
from tests.unit.model_gateway.trying.trip import keys, route

UNTIL = 1_800_000_000.0


def _said(way: Route, name: FaultName) -> Said:
    return Said(way, fault(name))


def _out(name: FaultName = "bad_key") -> Out:
    return Out(state="resting", reason=name, until=UNTIL, provider="fake", key="A")


class TestWhatIsTold:
    def test_calls_a_provider_as_the_models_file_does(self) -> None:
        told = telling.error([_said(route(FakeProvider(), "mine"), "bad_key")], {}).message
        assert told == "'mine' does not accept the key (model 'm-1')"

    def test_names_the_address_of_who_cannot_be_reached_and_of_nobody_else(self) -> None:
        way = route(FakeProvider(), "mine")
        assert "cannot be reached at fake.example:443 (model" in telling.error([_said(way, "connection")], {}).message
        assert "fake.example" not in telling.error([_said(way, "server_error")], {}).message

    def test_says_once_for_all_models_of_a_key_why_it_was_not_asked(self) -> None:
        small, large, other = route(FakeProvider()), route(FakeProvider(), model="m-2"), route(FakeProvider(), "other")
        told = telling.error([_said(other, "connection")], {small: _out(), large: _out()}).message
        assert told.endswith(
            "'fake' is not asked until 08:00:00 UTC (models 'm-1', 'm-2', FAKE): it does not accept the key"
        )

    def test_says_it_apart_for_each_key_and_reason(self) -> None:
        first, second = keys("m-1", FakeProvider(), FakeProvider())
        told = telling.error([], {first: _out(), second: _out("rate_limit")}).message
        assert told.count("is not asked until") == 2
        assert "FAKE-0" in told
        assert "FAKE-1" in told

    def test_counts_as_people_do(self) -> None:
        way = route(FakeProvider())
        said = [_said(way, "overloaded")]
        assert telling.error(said, {}).details["why"] == "1 attempt at 1 target failed, and none is left"
        assert telling.error(said * 2, {}).details["why"] == "2 attempts at 1 target failed, and none is left"
