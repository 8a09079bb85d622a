"""`natscope ask`, `chat` and `watch`, as processes, with a stand-in for the agent."""

import asyncio
from pathlib import Path

from natscope import client
from natscope.bus import BusSettings
from natscope.contracts.blocks import Base64Source, FileBlock, URLSource
from natscope.contracts.task import Finished
from tests.e2e.cli.conftest import Start
from tests.integration.client import fake_agent
from tests.integration.client.fake_agent import ANSWER

ASK = ("ask", "assistant", "How many primes are there below 100?")


class TestAsk:
    async def test_a_pipe_gets_what_the_agent_says_and_the_steps_go_beside_it(
        self, nats_url: str, natscope: Start
    ) -> None:
        async with fake_agent.fake_agent(nats_url):
            ended = await (await natscope(*ASK, url=nats_url)).done()
        assert (ended.code, ended.out) == (0, f"{ANSWER}\n")
        assert "▶ execute_python\n    print(sum(1 for n" in ended.err
        assert "    25\n✓ execute_python: success (docker)\n" in ended.err
        assert "✓ completed · 2 model calls, 1 tool call · 12 tokens in, 7 out" in ended.err
        assert "\x1b" not in ended.out + ended.err

    async def test_without_streaming_there_is_nothing_but_the_answer(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url):
            ended = await (await natscope(*ASK, "--no-stream", url=nats_url)).done()
        assert (ended.code, ended.out, ended.err) == (0, f"{ANSWER}\n", "")

    async def test_programs_get_one_json_object_per_line(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url):
            ended = await (await natscope(*ASK, "--json", "--task-id", "t1", url=nats_url)).done()
        kinds = [line["kind"] for line in ended.lines]
        assert kinds == ["submitted", *["event"] * (len(kinds) - 2), "outcome"]
        assert ended.lines[0]["task_id"] == "t1"
        assert ended.lines[-2]["event"]["type"] == "reply_end"
        assert ended.lines[-1]["outcome"]["text"] == ANSWER
        sequences = [line["sequence"] for line in ended.lines[1:-1]]
        assert sequences == sorted(set(sequences))

    async def test_files_travel_small_ones_inline_and_large_ones_as_blobs(
        self, nats_url: str, natscope: Start, tmp_path: Path
    ) -> None:
        (tmp_path / "small.csv").write_bytes(b"a,b\n1,2\n")
        (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 1024)
        seen: list[FileBlock] = []

        async def looks(stage: fake_agent.Stage) -> Finished:
            seen.extend(block for block in stage.body.content if isinstance(block, FileBlock))
            data = await stage.bus.blobs.bytes_of(seen[1])
            return stage.finished("completed", text=f"{len(data)} bytes")

        files = ("--file", "small.csv", "-f", str(tmp_path / "large.bin"))
        async with fake_agent.fake_agent(nats_url, looks):
            ended = await (await natscope(*ASK, *files, "--no-stream", url=nats_url)).done()
        assert (ended.code, ended.out) == (0, "262144 bytes\n")
        assert [block.name for block in seen] == ["small.csv", "large.bin"]
        assert isinstance(seen[0].source, Base64Source)
        assert isinstance(seen[1].source, URLSource)

    async def test_a_failed_task_exits_1_and_says_why_on_one_line(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url, fake_agent.fails):
            ended = await (await natscope(*ASK, "--no-stream", url=nats_url)).done()
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == "model_unavailable: 'gpt' answered 503 after 4 tries (try again later)\n"

    async def test_a_limited_task_exits_5_and_still_answers(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url, fake_agent.reaches_a_limit):
            ended = await (await natscope(*ASK, url=nats_url)).done()
        assert (ended.code, ended.out) == (5, "as far as I came\n")
        assert "limit reached: max_steps" in ended.err

    async def test_ctrl_c_interrupts_the_run_and_its_outcome_is_told(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url, fake_agent.waits_to_be_interrupted):
            command = await natscope(*ASK, "--json", "--task-id", "t1", url=nats_url)
            await command.line("reply_start")
            command.interrupt()
            ended = await command.done()
            async with client.open(BusSettings(url=nats_url)) as house:
                assert (await house.ticket("t1").result(20)).state == "interrupted"
        assert ended.code == 130
        assert ended.lines[-1]["outcome"]["state"] == "interrupted"
        assert "Ctrl-C again leaves" in ended.err

    async def test_a_second_ctrl_c_leaves_a_run_that_does_not_stop(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url, fake_agent.never_answers):
            command = await natscope(*ASK, "--json", "--task-id", "t1", url=nats_url)
            await command.line("reply_start")
            command.interrupt()
            await command.note("Ctrl-C again leaves")
            command.interrupt()
            ended = await command.done()
        assert ended.code == 130
        assert "natscope watch --task t1" in ended.err

    async def test_a_timeout_exits_3_and_says_that_the_task_goes_on(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url, fake_agent.never_answers):
            ended = await (await natscope(*ASK, "--timeout", "0.5", "--task-id", "t1", url=nats_url)).done()
        assert ended.code == 3
        assert "it goes on: `natscope watch --task t1`" in ended.err

    async def test_nobodys_output_steers_the_terminal(self, nats_url: str, natscope: Start) -> None:
        async def rude(stage: fake_agent.Stage) -> Finished:
            return stage.finished("completed", text="\x1b]0;owned\x07\x1b[2Jhello [bold]there[/bold]")

        async with fake_agent.fake_agent(nats_url, rude):
            ended = await (await natscope(*ASK, url=nats_url)).done()
        assert ended.out == "]0;owned[2Jhello [bold]there[/bold]\n"


class TestChat:
    async def test_each_line_is_a_task_of_one_session(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url, fake_agent.echoes):
            ended = await (await natscope("chat", "-s", "s1", "--json", url=nats_url)).done("one\n\ntwo")
        outcomes = [line["outcome"] for line in ended.lines if line["kind"] == "outcome"]
        assert [(outcome["session"], outcome["text"]) for outcome in outcomes] == [("s1", "one"), ("s1", "two")]
        assert ended.code == 0

    async def test_a_line_that_fails_does_not_end_it_and_is_its_exit_code(self, nats_url: str, natscope: Start) -> None:
        async def fails_once(stage: fake_agent.Stage) -> Finished:
            failed = not (await fake_agent.echoes(stage)).text.startswith("two")
            return stage.finished("failed" if failed else "completed", text="done")

        async with fake_agent.fake_agent(nats_url, fails_once):
            ended = await (await natscope("chat", "--json", url=nats_url)).done("one\ntwo\n")
        states = [line["outcome"]["state"] for line in ended.lines if line["kind"] == "outcome"]
        assert (states, ended.code) == (["failed", "completed"], 1)


class TestWatch:
    async def test_a_task_is_told_from_its_first_event_to_its_outcome(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url):
            asked = await (await natscope(*ASK, "--task-id", "t1", "--json", url=nats_url)).done()
            watched = await (await natscope("watch", "--task", "t1", "--json", url=nats_url)).done()
        assert watched.lines == asked.lines[1:]
        assert watched.code == 0

    async def test_a_hub_is_heard_live(self, nats_url: str, natscope: Start) -> None:
        command = await natscope("watch", "--hub", "market", url=nats_url)
        async with client.open(BusSettings(url=nats_url)) as house:
            heard = asyncio.create_task(command.line("fresh fish"))
            while not heard.done():
                await house.hub("garden").say("quiet here", name="bee")
                await house.hub("market").say("fresh fish", name="fishwife")
                await asyncio.sleep(0.2)
        assert await heard == "fishwife: fresh fish\n"
        command.interrupt()
        ended = await command.done()
        assert "bee" not in ended.out
        assert ended.code == 130

    async def test_all_tasks_are_seen_in_a_line_per_step(self, nats_url: str, natscope: Start) -> None:
        async with fake_agent.fake_agent(nats_url), client.open(BusSettings(url=nats_url)) as house:
            command = await natscope("watch", url=nats_url)
            seen = asyncio.create_task(command.line("tool result execute_python: success"))
            while not seen.done():
                await house.submit("assistant", "primes?")
                await asyncio.sleep(0.2)
            command.interrupt()
            assert (await command.done()).code == 130
