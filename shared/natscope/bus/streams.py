"""Every stream, bucket and consumer of the house, provisioned in this one place."""

# nats-py leaves headers, futures and keyword arguments untyped.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from nats import errors as nats_errors
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    KeyValueConfig,
    ObjectStoreConfig,
    RetentionPolicy,
    StreamConfig,
)
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from natscope.bus.blobs import BODIES, MEDIA
from natscope.bus.ledger import INSTANCES
from natscope.contracts import approval, event, hub, memory, run, task
from natscope.contracts.contract import Duration
from natscope.contracts.door import Durable
from natscope.contracts.errors import BusUnavailable, Internal

log = logging.getLogger(__name__)

SPANS = "SPANS"
SPAN_SUBJECT = "trace.span"
AGENTS = "agents"
REPLIES = "replies"
CALLS = "calls"
REUSED = "reused"
"""Answers by what was asked, for asks that take an earlier one."""
USAGE = "usage"
"""What was used and is reserved, by scope; changed by compare-and-set alone."""
BREAKERS = "breakers"
"""Which keys of which providers are not to be asked for now."""
HUBS = "hubs"
CELLS = "cells"
SCHEDULES = "schedules"
"""Schedules by name; changed by compare-and-set alone."""
TOOLS = "tools"
"""The names of the tools that were ever served, each under a digest of it."""
TODO = "todo"
"""The sessions' lists of tasks; changed by compare-and-set alone."""
SAID = "said"
"""Bucket of session entries that are too large for their stream; like them, they stay until the session is cleared."""
FRONT = "front"
"""Consumer of `task.submit.<agent>`: puts each task in line with its session."""
RUNS = "runs"
"""Consumer of `task.submit.<agent>.<session>`: the work itself."""
LATER = "later"
"""Consumer of `task.defer.<agent>.<task>`: puts each task in line when its time has come."""

_DAY_S = 86_400.0
_MIB = 1 << 20
_LAST = task.BURIED.stream
"""Created last: who finds it finds everything."""


class StreamSettings(BaseSettings):
    """How the streams are laid out."""

    model_config = SettingsConfigDict(env_prefix="NATSCOPE_", frozen=True, extra="ignore")

    replicas: int = Field(default=1, ge=1, le=5)
    """Copies of each stream; three in a cluster for anything that must not be lost."""
    ack_wait: Duration = timedelta(seconds=10)
    """How long after a worker's last sign of life its task goes to another one."""
    max_waiting_tasks: int = Field(default=100_000, ge=1)
    """Above this many unfinished tasks, submitting is refused (`overloaded`)."""


def streams(settings: StreamSettings) -> list[StreamConfig]:
    """Return every stream, the one created last at the end."""

    def facts(
        name: str | None, subjects: list[str], *, days: float, mib: int, full: DiscardPolicy = DiscardPolicy.OLD
    ) -> StreamConfig:
        return StreamConfig(
            name=name,
            subjects=subjects,
            retention=RetentionPolicy.LIMITS,
            discard=full,
            max_age=days * _DAY_S,
            max_bytes=mib * _MIB,
            duplicate_window=120,
            allow_direct=True,
            num_replicas=settings.replicas,
        )

    def work(door: Durable[task.Submit]) -> StreamConfig:
        return StreamConfig(
            name=door.stream,
            subjects=[door.wildcard],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_msgs=settings.max_waiting_tasks,
            max_bytes=1024 * _MIB,
            duplicate_window=600,
            allow_direct=True,
            num_replicas=settings.replicas,
        )

    control = [task.INTERRUPT.wildcard, task.STEER.wildcard, approval.DECIDE.wildcard]
    return [
        work(task.SUBMIT),
        work(task.SUBMIT_IN),
        work(task.DEFER),
        facts(task.INTERRUPT.stream, control, days=30, mib=256),
        facts(event.HAPPENED.stream, [event.HAPPENED.wildcard], days=1, mib=2048),
        facts(task.FINISHED.stream, [task.FINISHED.wildcard], days=7, mib=4096),
        facts(run.JOURNALED.stream, [run.JOURNALED.wildcard], days=30, mib=8192),
        # what was said is never forgotten in silence: a full store refuses
        facts(memory.LOGGED.stream, [memory.LOGGED.wildcard], days=0, mib=8192, full=DiscardPolicy.NEW),
        facts(hub.SAID.stream, [hub.SAID.wildcard], days=30, mib=2048),
        facts(SPANS, [f"{SPAN_SUBJECT}.*"], days=1, mib=256),
        facts(_LAST, [task.BURIED.wildcard], days=30, mib=1024),
    ]


def consumers(settings: StreamSettings) -> list[ConsumerConfig]:
    """Return the consumers of the work queues: one each.

    None gives up on a task: attempts are counted in the run's journal, where progress resets them. The front takes
    one task at a time, so that tasks of one session stand in line in the order they were accepted.
    """

    def consumer(name: str, subject: str, ack_wait_s: float, pending: int) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=name,
            filter_subject=subject,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=DeliverPolicy.ALL,
            ack_wait=ack_wait_s,
            max_deliver=-1,
            max_ack_pending=pending,
            max_waiting=8192,
        )

    return [
        consumer(FRONT, task.SUBMIT.wildcard, 2.0, 1),
        consumer(RUNS, task.SUBMIT_IN.wildcard, settings.ack_wait.total_seconds(), -1),
        consumer(LATER, task.DEFER.wildcard, settings.ack_wait.total_seconds(), -1),
    ]


def buckets(settings: StreamSettings) -> list[KeyValueConfig]:
    """Return every key-value bucket. TTLs are in seconds and hold for each value from when it was written.

    A bucket that is full refuses; what is in it is kept.
    """

    def bucket(name: str, *, mib: int, ttl: float | None = None, history: int = 1) -> KeyValueConfig:
        return KeyValueConfig(
            bucket=name, ttl=ttl, history=history, max_bytes=mib * _MIB, replicas=settings.replicas, direct=True
        )

    return [
        bucket(AGENTS, mib=64, history=5),
        bucket(HUBS, mib=256),
        bucket(SCHEDULES, mib=64),
        bucket(TOOLS, mib=16),
        bucket(CELLS, mib=64, ttl=_DAY_S),
        bucket(TODO, mib=256, ttl=30 * _DAY_S),
        bucket(REPLIES, mib=4096, ttl=_DAY_S),
        bucket(CALLS, mib=4096, ttl=_DAY_S),
        bucket(REUSED, mib=1024, ttl=_DAY_S),
        bucket(USAGE, mib=256, ttl=40 * _DAY_S),
        bucket(BREAKERS, mib=16, ttl=_DAY_S),
        bucket(INSTANCES, mib=16, ttl=10.0),
    ]


async def provision(js: JetStreamContext, settings: StreamSettings | None = None) -> None:
    """Create or update everything. Any number of processes may do so at the same time; data is kept.

    Raises:
        Internal: the server refused a configuration; the message says which and why.
        BusUnavailable: the server does not answer.
    """
    settings = settings or StreamSettings()
    for bucket in buckets(settings):
        await _settle(f"bucket {bucket.bucket}", lambda bucket=bucket: _ensure_bucket(js, bucket))
    for store, days in ((MEDIA, 30), (BODIES, 8), (SAID, 0)):
        config = ObjectStoreConfig(ttl=int(days * _DAY_S), replicas=settings.replicas)
        await _settle(f"store {store}", lambda store=store, config=config: _ensure_store(js, store, config))
    for stream in streams(settings):
        await _settle(f"stream {stream.name}", lambda stream=stream: _ensure_stream(js, stream))
    queues = (task.SUBMIT.stream, task.SUBMIT_IN.stream, task.DEFER.stream)
    for queue, consumer in zip(queues, consumers(settings), strict=True):
        await _settle(
            f"consumer {consumer.durable_name}", lambda queue=queue, consumer=consumer: js.add_consumer(queue, consumer)
        )


async def wait_until_provisioned(js: JetStreamContext, *, patience_s: float = 60.0) -> None:
    """Return when everything is there.

    Raises:
        BusUnavailable: it was not there within `patience_s`.
    """
    told = False
    try:
        async with asyncio.timeout(patience_s):
            while True:
                try:
                    await js.stream_info(_LAST or "")
                    return
                except (js_errors.Error, nats_errors.Error):
                    if not told:
                        log.info("waiting for the streams")
                        told = True
                    await asyncio.sleep(0.2)
    except TimeoutError as error:
        raise BusUnavailable(
            f"the streams were not there within {patience_s:g} s", remedy="run `python -m natscope.bus.provision`"
        ) from error


async def _ensure_stream(js: JetStreamContext, config: StreamConfig) -> object:
    try:
        return await js.add_stream(config)
    except js_errors.BadRequestError as error:
        if error.err_code != 10058:
            raise
        return await js.update_stream(config)


async def _ensure_bucket(js: JetStreamContext, config: KeyValueConfig) -> object:
    try:
        found = await js.stream_info(f"KV_{config.bucket}")
    except js_errors.NotFoundError:
        return await js.create_key_value(config)
    return await _adjust(
        js, found.config, ttl=config.ttl or 0, max_bytes=config.max_bytes or -1, replicas=config.replicas
    )


async def _ensure_store(js: JetStreamContext, name: str, config: ObjectStoreConfig) -> object:
    try:
        found = await js.stream_info(f"OBJ_{name}")
    except js_errors.NotFoundError:
        return await js.create_object_store(name, config)
    return await _adjust(js, found.config, ttl=config.ttl or 0, max_bytes=-1, replicas=config.replicas or 1)


async def _adjust(js: JetStreamContext, found: StreamConfig, *, ttl: float, max_bytes: int, replicas: int) -> object:
    """Change what was laid out differently before."""
    if (found.max_age or 0, found.max_bytes or -1, found.num_replicas or 1) == (ttl, max_bytes, replicas):
        return found
    window = min(ttl, 120.0) if ttl else 120.0
    return await js.update_stream(
        found.evolve(max_age=ttl, max_bytes=max_bytes, num_replicas=replicas, duplicate_window=window)
    )


async def _settle(what: str, act: Callable[[], Awaitable[object]]) -> None:
    """Carry out `act`; another process that does the same at this moment may make the server refuse once or twice."""
    for attempt in range(5):
        try:
            await act()
            return
        except (nats_errors.TimeoutError, nats_errors.NoRespondersError, js_errors.ServiceUnavailableError) as error:
            if attempt == 4:
                raise BusUnavailable(
                    f"{what} could not be made: JetStream does not answer ({error!r})",
                    remedy="start nats-server with JetStream (`-js`)",
                ) from error
        except js_errors.APIError as error:
            if attempt == 4:
                raise Internal(f"{what} was refused: {error.description} ({error.err_code})") from error
        await asyncio.sleep(0.1 * 2**attempt)
