"""What a command says and how it exits when something is not as it should be: one line, with the way out."""

from pathlib import Path

import pytest

from tests.e2e.cli.conftest import Start
from tests.integration.client import fake_agent

NOWHERE = "nats://127.0.0.1:1"


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("ask", "assistant", "  "),
            ("watch", "--task", "t", "--hub", "h"),
            ("steer", "t", " "),
            ("decide", "t", "c"),
            ("decide", "t", "c", "answer"),
            ("decide", "t", "c", "deny", "--arguments", "{}"),
            ("decide", "t", "c", "deny", "--always"),
            ("interrupt", "no id"),
        ],
    )
    async def test_wrong_usage_exits_2(self, natscope: Start, arguments: tuple[str, ...]) -> None:
        ended = await (await natscope(*arguments)).done()
        assert (ended.code, ended.out) == (2, "")
        assert "Usage: natscope" in ended.err


class TestUnavailable:
    @pytest.mark.parametrize("arguments", [("ask", "assistant", "hello"), ("agents",)])
    async def test_no_nats_exits_3_and_says_how_to_start_it(self, natscope: Start, arguments: tuple[str, ...]) -> None:
        ended = await (await natscope(*arguments, url=NOWHERE)).done()
        assert (ended.code, ended.out) == (3, "")
        assert ended.err == (
            f"error: no NATS server answers at {NOWHERE} (start one with `natscope up`, or set NATS_URL)\n"
        )

    async def test_programs_get_the_error_as_json(self, natscope: Start) -> None:
        ended = await (await natscope("models", "--json", url=NOWHERE)).done()
        assert (ended.code, ended.err) == (3, "")
        assert ended.lines[0]["error"]["code"] == "bus_unavailable"
        assert ended.lines[0]["error"]["retryable"] is True

    async def test_a_task_that_no_agent_service_takes_waits_and_that_is_said(
        self, natscope: Start, nats_url: str
    ) -> None:
        async with fake_agent.fake_agent(nats_url):
            pass
        ended = await (await natscope("ask", "assistant", "hello", "--timeout", "10", url=nats_url)).done()
        assert ended.code == 3
        assert "no agent service is running; the task waits until one is" in ended.err

    async def test_a_service_that_is_not_running_is_named(self, natscope: Start, nats_url: str) -> None:
        ended = await (await natscope("models", url=nats_url)).done()
        assert ended.code == 3
        assert ended.err == "error: nobody answers at 'model.list' (start the model-gateway service)\n"


class TestRefused:
    async def test_steering_a_task_nobody_knows_exits_4(self, natscope: Start, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url):
            ended = await (await natscope("steer", "nothing", "In French.", url=nats_url)).done()
        assert (ended.code, ended.err) == (4, "error: there is no task 'nothing' (`natscope runs` lists them)\n")

    async def test_an_unknown_agent_exits_4_and_the_known_ones_are_named(self, natscope: Start, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url):
            ended = await (await natscope("ask", "asistant", "hello", url=nats_url)).done()
        assert ended.code == 4
        assert ended.err.startswith("error: no agent 'asistant'; there are: assistant (apply its file")

    async def test_a_chat_with_an_unknown_agent_is_refused_before_it_begins(
        self, natscope: Start, nats_url: str
    ) -> None:
        async with fake_agent.fake_agent(nats_url):
            ended = await (await natscope("chat", "asistant", url=nats_url)).done("hello\n")
        assert ended.code == 4
        assert ended.err.startswith("error: no agent 'asistant'; there are: assistant (apply its file")

    async def test_a_missing_file_is_named_and_nothing_is_submitted(self, natscope: Start, nats_url: str) -> None:
        async with fake_agent.fake_agent(nats_url):
            ended = await (await natscope("ask", "assistant", "?", "-f", "nowhere.csv", url=nats_url)).done()
        assert ended.code == 4
        assert ended.err == "error: file 'nowhere.csv' cannot be read: No such file or directory (check the path)\n"

    async def test_an_agent_file_with_a_typo_exits_4_with_line_and_field(
        self, natscope: Start, nats_url: str, tmp_path: Path
    ) -> None:
        (tmp_path / "a.yaml").write_text("name: a\nsystem_prompt: hi\nmodle: default\n")
        ended = await (await natscope("apply", "a.yaml", url=nats_url)).done()
        assert ended.code == 4
        assert "a.yaml:3: modle: there is no such field; did you mean 'model'?" in ended.err

    async def test_one_wrong_file_keeps_its_whole_folder_out(
        self, natscope: Start, nats_url: str, tmp_path: Path
    ) -> None:
        (tmp_path / "a.yaml").write_text("name: a\nsystem_prompt: hi\n")
        (tmp_path / "b.yaml").write_text("name: b\n")
        assert (await (await natscope("apply", ".", url=nats_url)).done()).code == 4
        assert (await (await natscope("agents", "--json", url=nats_url)).done()).out == ""

    async def test_a_task_that_nobody_knows_has_no_trace(self, natscope: Start, nats_url: str) -> None:
        ended = await (await natscope("trace", "nope", url=nats_url)).done()
        assert ended.code == 4
        assert ended.err.startswith("error: there is no trace of task 'nope' (`natscope runs` lists the tasks")
