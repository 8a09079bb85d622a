"""The order in which targets and keys are asked."""

from collections import Counter
from random import Random

from services.model_gateway.catalog.models_file import Target
from services.model_gateway.trying.routes import routes
from tests.unit.model_gateway.fakes import FakeAccounts, FakeProvider

ACCOUNTS = FakeAccounts(a=[FakeProvider(), FakeProvider()], b=[FakeProvider()])


def _names(targets: list[Target], draw: Random) -> list[str]:
    return [each.target.model for each in routes(targets, ACCOUNTS, draw=draw.random)]


class TestRoutes:
    def test_go_key_by_key_and_target_by_target(self) -> None:
        ways = routes([Target("a", "m-1"), Target("b", "m-2")], ACCOUNTS)
        assert [(way.target.model, way.account.id) for way in ways] == [("m-1", "a-0"), ("m-1", "a-1"), ("m-2", "b-0")]

    def test_draw_the_first_of_neighbours_by_weight(self) -> None:
        draw = Random(7)
        targets = [Target("b", "heavy", weight=3), Target("b", "light", weight=1)]
        firsts = Counter(_names(targets, draw)[0] for _ in range(2000))
        assert 0.7 < firsts["heavy"] / 2000 < 0.8

    def test_keep_the_rest_of_the_neighbours_as_a_way_out(self) -> None:
        targets = [Target("b", "one", weight=3), Target("b", "two", weight=1), Target("b", "last")]
        for seed in range(20):
            names = _names(targets, Random(seed))
            assert (sorted(names[:2]), names[2]) == (["one", "two"], "last")

    def test_do_not_mix_neighbours_over_a_target_without_a_weight(self) -> None:
        targets = [Target("b", "one", weight=1), Target("b", "fixed"), Target("b", "two", weight=9)]
        assert all(_names(targets, Random(seed)) == ["one", "fixed", "two"] for seed in range(20))

    def test_share_a_limit_only_with_the_same_key_and_model(self) -> None:
        ways = routes([Target("a", "m-1"), Target("a", "m-2"), Target("a", "m-1")], ACCOUNTS)
        assert len({way.limit_id for way in ways}) == 4
