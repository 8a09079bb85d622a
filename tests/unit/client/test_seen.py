"""Agents that were seen a moment ago are not looked for again."""

from natscope.client.submitting import SEEN_S, Seen


class TestSeen:
    def test_an_agent_is_known_for_a_second(self) -> None:
        now = 100.0
        seen = Seen(clock=lambda: now)
        assert not seen.has("helper")
        seen.note("helper")
        now += SEEN_S * 0.9
        assert seen.has("helper")
        now += SEEN_S * 0.2
        assert not seen.has("helper")

    def test_another_agent_is_not_known_by_it(self) -> None:
        seen = Seen(clock=lambda: 0.0)
        seen.note("helper")
        assert not seen.has("other")
