"""The span keeper: what was seen is published, and no failure of publishing ends that."""

import asyncio
import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider

from natscope.telemetry.spans import HELD, RECORDS, SpanKeeper


class _Line:
    """Takes what is published, unless it is down."""

    def __init__(self, *, up: bool = True) -> None:
        self.up = up
        self.names: list[str] = []

    async def publish(self, trace_id: str, spans: bytes) -> None:
        names = [record.name for record in RECORDS.validate_json(spans)]
        if not self.up or "too large" in names:
            raise ConnectionError("not taken")
        self.names += names


def _see(keeper: SpanKeeper, *names: str) -> None:
    tracer = TracerProvider(shutdown_on_exit=False)
    tracer.add_span_processor(keeper)
    for name in names:
        tracer.get_tracer("test").start_span(name).end()


class TestTheSpanKeeper:
    async def test_publishes_what_ended(self) -> None:
        keeper, line = SpanKeeper(interval_s=0.01), _Line()
        keeper.start(line.publish)
        _see(keeper, "a", "b")
        await keeper.stop()
        assert sorted(line.names) == ["a", "b"]

    async def test_goes_on_when_publishing_failed_and_loses_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        keeper, line = SpanKeeper(interval_s=0.01), _Line(up=False)
        with caplog.at_level(logging.WARNING):
            keeper.start(line.publish)
            _see(keeper, "a", "b")
            await asyncio.sleep(0.1)
            assert line.names == []
            line.up = True
            _see(keeper, "c")
            async with asyncio.timeout(5):
                while len(line.names) < 3:  # noqa: ASYNC110 - the keeper tells nobody
                    await asyncio.sleep(0.01)
            await keeper.stop()
        assert sorted(line.names) == ["a", "b", "c"]
        assert len([record for record in caplog.records if record.msg == "spans could not be published"]) == 1

    async def test_drops_what_is_refused_while_the_rest_is_taken(self) -> None:
        keeper, line = SpanKeeper(interval_s=60), _Line()
        keeper.start(line.publish)
        _see(keeper, "too large", "a")
        await keeper.flush()
        _see(keeper, *["x"] * HELD)
        await keeper.stop()
        assert len(line.names) == 1 + HELD

    async def test_ends_in_order_when_publishing_fails(self) -> None:
        keeper = SpanKeeper(interval_s=60)
        keeper.start(_Line(up=False).publish)
        _see(keeper, "a")
        await keeper.stop()

    async def test_holds_no_more_than_its_limit(self) -> None:
        keeper, line = SpanKeeper(interval_s=60), _Line(up=False)
        keeper.start(line.publish)
        _see(keeper, *["x"] * HELD)
        await keeper.flush()
        _see(keeper, "one too many")
        line.up = True
        await keeper.stop()
        assert len(line.names) == HELD
        assert "one too many" not in line.names
