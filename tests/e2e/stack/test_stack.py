"""The images, started as compose starts them: one task goes through, and the walls between the rooms stand."""

import asyncio
import json
from typing import Any

import nats
import pytest

from natscope.bus import Bus, BusSettings, connect
from natscope.client.traces import Trace, trace_of
from natscope.telemetry import Telemetry, TelemetrySettings, telemetry_for
from tests.e2e.stack.house import SERVICES, ComposedHouse

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

QUESTION = "How many primes are there below 10000?"
MIB = 1 << 20


async def outcome_of(house: ComposedHouse, question: str, *, session: str | None = None) -> dict[str, Any]:
    """Publish plain text as `nats pub` does and return the outcome that a listener hears."""
    subject = f"task.submit.assistant.{session}" if session else "task.submit.assistant"
    async with await nats.connect(house.nats_url) as guest:
        finished = await guest.subscribe("task.finished.*")
        kept = await guest.jetstream().publish(subject, question.encode())
        assert kept.stream == ("LANES" if session else "TASKS")
        heard = await finished.next_msg(timeout=150)
        return json.loads(heard.data)


async def events_of(house: ComposedHouse, task_id: str) -> list[dict[str, Any]]:
    """Return the kept events of a task, up to its last one."""
    async with await nats.connect(house.nats_url) as guest:
        heard = await guest.jetstream().subscribe(f"task.event.{task_id}", stream="EVENTS", ordered_consumer=True)
        events: list[dict[str, Any]] = []
        while not events or events[-1]["type"] != "reply_end":
            events.append(json.loads((await heard.next_msg(timeout=60)).data))
        return events


def silent() -> Telemetry:
    """Return the telemetry of one that leaves no trace."""
    return telemetry_for("reader", TelemetrySettings.model_construct(endpoint=None, disabled=True))


async def whole_trace(bus: Bus, task_id: str) -> Trace:
    """Return the kept trace of a task once every service has sent its part."""
    async with asyncio.timeout(90):
        while True:
            trace = await trace_of(bus, task_id)
            if {span.service for span in trace.spans} >= set(SERVICES):
                return trace
            await asyncio.sleep(0.1)


def complaints(house: ComposedHouse) -> list[str]:
    """Return the errors that services have logged."""
    return [line for service in SERVICES for line in house.log(service).splitlines() if '"level": "ERROR"' in line]


def refusals(house: ComposedHouse) -> list[str]:
    """Return what NATS said when it refused somebody something."""
    return [line for line in house.log("nats").splitlines() if "Violation" in line]


async def heard_of(error: Exception) -> None:
    """Take note that the server refused; the test looks at the server's log instead."""


class TestTask:
    async def test_a_published_task_is_answered_by_what_ran_in_a_cell(self, house: ComposedHouse) -> None:
        outcome = await outcome_of(house, QUESTION)
        assert (outcome["state"], outcome["text"]) == ("completed", "There are 1229 primes below 10000.")
        events = await events_of(house, outcome["task_id"])
        (result,) = (event for event in events if event["type"] == "tool_result")
        assert result["backend"] == "docker"
        assert result["result"]["state"] == "success"

    def test_cells_have_their_doors_in_a_volume_of_the_executors(self, house: ComposedHouse) -> None:
        assert house.inside_a_cell("sh", "-c", "whoami; ls -A /run/natscope") == "cell\n"
        assert "workers cannot dial in" not in house.log("tool-executor")

    async def test_a_request_is_answered_on_the_spot(self, house: ComposedHouse) -> None:
        async with await nats.connect(house.nats_url) as guest:
            reply = await guest.request("agent.ask.assistant", b"What is 2+2?", timeout=60)
        assert "2 + 2 = 4" in reply.data.decode()

    async def test_leaves_one_trace_of_all_four_services(self, house: ComposedHouse) -> None:
        outcome = await outcome_of(house, QUESTION)
        async with connect("reader", BusSettings.model_construct(url=house.nats_url), silent()) as bus:
            trace = await whole_trace(bus, outcome["task_id"])
        calls = [span for span in trace.spans if span.name == "execute_tool execute_python"]
        assert len(calls) == 1
        assert not [span.name for span in trace.spans if span.error]

    async def test_no_service_had_anything_to_complain_about(self, house: ComposedHouse) -> None:
        await outcome_of(house, QUESTION)
        assert complaints(house) == []

    async def test_nobody_was_refused_by_nats_on_the_way(self, house: ComposedHouse) -> None:
        await outcome_of(house, QUESTION)
        assert refusals(house) == []
        async with await nats.connect(house.nats_url, error_cb=heard_of) as guest:
            await guest.publish("run.journal.r1", b"control")
            await guest.flush()
        assert len(refusals(house)) == 1


class TestWalls:
    @pytest.mark.parametrize("service", SERVICES)
    def test_a_service_is_nobody_and_can_become_nobody_else(self, house: ComposedHouse, service: str) -> None:
        status = house.inside(service, "cat", "/proc/1/status", "/proc/self/status")
        fields = [line.split() for line in status.splitlines()]
        assert {uid for name, *uids in fields if name == "Uid:" for uid in uids} == {"10001"}
        assert {bits for name, *rest in fields if name == "CapBnd:" for bits in rest} == {"0" * 16}
        assert {bit for name, *rest in fields if name == "NoNewPrivs:" for bit in rest} == {"1"}

    @pytest.mark.parametrize("service", SERVICES)
    def test_a_service_cannot_write_but_to_its_temporary_folder(self, house: ComposedHouse, service: str) -> None:
        script = "touch /app/x 2>/dev/null || echo refused; touch /tmp/x && echo allowed"
        assert house.inside(service, "sh", "-c", script).split() == ["refused", "allowed"]

    def test_only_the_tool_executor_has_the_engines_socket(self, house: ComposedHouse) -> None:
        holders = {
            service
            for service in (*SERVICES, "nats")
            if "docker.sock" in json.dumps(house.container(service)["Mounts"])
        }
        assert holders == {"tool-executor"}

    def test_only_nats_can_be_reached_from_this_machine_and_only_from_it(self, house: ComposedHouse) -> None:
        published = {
            service: house.container(service)["NetworkSettings"]["Ports"] or {} for service in (*SERVICES, "nats")
        }
        bound = {
            service: {place["HostIp"] for places in ports.values() for place in places or ()}
            for service, ports in published.items()
        }
        assert bound == {"nats": {"127.0.0.1"}, **{service: set() for service in SERVICES}}


class TestImages:
    @pytest.mark.parametrize("service", SERVICES)
    def test_an_image_holds_its_own_service_alone(self, house: ComposedHouse, service: str) -> None:
        rooms = house.inside(service, "ls", "/app/house/services").split()
        assert rooms == [service.replace("-", "_")]
        assert sorted(house.inside(service, "ls", "/app").split()) == ["house", "lib"]

    @pytest.mark.parametrize("service", SERVICES)
    def test_only_the_service_that_needs_an_sdk_has_it(self, house: ComposedHouse, service: str) -> None:
        installed = set(house.inside(service, "ls", "/app/lib").split())
        wanted = {"model-gateway": {"openai"}, "tool-executor": {"docker"}}.get(service, set())
        assert installed & {"openai", "docker", "pytest", "typer"} == wanted

    @pytest.mark.parametrize("service", SERVICES)
    def test_an_image_is_at_most_250_mb_over_its_base(self, house: ComposedHouse, service: str) -> None:
        over = house.image(f"natscope-{service}:dev")["Size"] - house.image("natscope-base:dev")["Size"]
        assert over <= 250 * MIB


class TestEnd:
    async def test_every_service_ends_by_itself_and_takes_its_cells_along(self, another_house: ComposedHouse) -> None:
        outcome = await outcome_of(another_house, QUESTION, session="s1")
        assert outcome["session"] == "s1"
        assert another_house.cells()
        another_house.stop()
        codes = {service: another_house.container(service)["State"]["ExitCode"] for service in SERVICES}
        assert codes == dict.fromkeys(SERVICES, 0)
        assert another_house.cells() == []
