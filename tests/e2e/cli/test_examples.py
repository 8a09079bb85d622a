"""The examples, each as a process beside the embedded house."""

from pathlib import Path

from natscope import client
from natscope.bus import BusSettings
from natscope.cli.embedded import embedded
from natscope.contracts import hub, tool
from natscope.contracts.agent import AgentSpec
from natscope.contracts.approval import Decision
from natscope.contracts.blocks import TextBlock, ToolUseBlock
from natscope.contracts.event import ApprovalNeeded
from tests.e2e.cli.conftest import Start

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """\
rules:
  - when: {offered: exchange, results: 0}
    call: [{tool: exchange, input: {amount: 11.7, source: USD}}]
  - say: "That is {{output}}."
"""
MODELS = """\
providers:
  offline: {kind: scripted, script: SCRIPT}
aliases:
  default:
    targets: [{provider: offline, model: offline}]
"""


class TestExamples:
    async def test_ask_answers_from_the_file(self, example: Start, tmp_path: Path) -> None:
        async with embedded(tmp_path, port=0) as url:
            ended = await (await example("ask.py", url)).done()
        assert ended.code == 0, ended.err
        assert "Gentoo has the longest flippers on average" in ended.out
        assert "(completed, 1 tool call, task " in ended.out

    async def test_listen_hears_the_steps_and_the_tokens(self, example: Start, tmp_path: Path) -> None:
        async with embedded(tmp_path, port=0) as url:
            ended = await (await example("listen.py", url)).done()
        assert ended.code == 0, ended.err
        assert "-> execute_python\n<- success, ran in " in ended.out
        assert "There are 1229 primes below 10000." in ended.out

    async def test_the_planner_has_its_steps_done_and_shows_them(self, natscope: Start, tmp_path: Path) -> None:
        question = "How many primes lie between 1000 and 10000?"
        async with embedded(tmp_path, port=0, agents=ROOT / "examples" / "planner.yaml") as url:
            ended = await (await natscope("ask", "planner", question, url=url)).done()
        assert ended.code == 0, ended.err
        assert "1061 primes lie between 1000 and 10000." in ended.out
        told = (line for line in ended.err.splitlines() if line.startswith(("≡ plan", "→ step", "✓ step")))
        shown = [line.split(": task")[0] for line in told]
        assert shown[0] == "≡ plan: low, high, between (after low, high)"
        both = ["→ step high", "→ step low", "✓ step high: success", "✓ step low: success"]
        assert sorted(shown[1:5]) == both
        assert shown[5:] == ["→ step between", "✓ step between: success"]

    async def test_the_team_counts_at_the_same_time_and_its_leader_answers(
        self, natscope: Start, tmp_path: Path
    ) -> None:
        question = "How many primes lie between 1000 and 10000?"
        async with embedded(tmp_path, port=0, agents=ROOT / "examples" / "team") as url:
            ended = await (await natscope("ask", "foreman", question, "--session", "primes", url=url)).done()
            async with client.open(BusSettings(url=url)) as house:
                hubs = await house.bus.ask(hub.LIST, hub.List(hub="team-primes"))
        assert ended.code == 0, ended.err
        assert "There are 1229 primes below 10000." in ended.out
        assert ended.err.count("→ asks counter: task ") == 2
        assert len(hubs.hubs[0].members) == 3

    async def test_a_served_tool_is_called_by_an_agent(self, natscope: Start, example: Start, tmp_path: Path) -> None:
        (tmp_path / "script.yaml").write_text(SCRIPT)
        (tmp_path / "models.yaml").write_text(MODELS.replace("SCRIPT", str(tmp_path / "script.yaml")))
        up = await natscope(
            *("up", "--data", str(tmp_path / "data"), "--port", "0"),
            cwd=ROOT,
            MODEL_GATEWAY_MODELS=str(tmp_path / "models.yaml"),
        )
        url = (await up.line("NATS")).split()[1]
        serving = await example("serve_a_tool.py", url)
        await serving.line("serving exchange")
        async with client.open(BusSettings(url=url)) as house:
            await house.apply(AgentSpec(name="banker", system_prompt="You convert.", tools=["exchange"]))
            outcome = await house.ask("banker", "What are 11.70 dollars?", deadline_s=60)
            call = ToolUseBlock(id="c", name="exchange", input={"amount": 1, "source": "EUR", "target": "JPY"})
            asked = tool.Call(call_id="by-hand", call=call, session="s")
            called = await house.bus.ask(tool.CALL, asked, "exchange", deadline_s=20)
        for command in (serving, up):
            command.interrupt()
        assert (await up.done()).code == 0
        assert (outcome.state, outcome.text, outcome.tool_calls) == ("completed", "That is 10.00 EUR.", 1)
        assert called.result.output == [TextBlock(text="172.90 JPY")]
        await serving.process.wait()

    async def test_the_function_counts_at_once_and_asks_before_it_tells(self, natscope: Start, tmp_path: Path) -> None:
        place = ("--data", str(tmp_path / "data"), "--port", "0", "--agents", str(ROOT / "examples" / "primes.yaml"))
        up = await natscope("up", *place, cwd=ROOT, AGENT_FUNCTIONS=str(ROOT / "examples" / "functions"))
        url = (await up.line("NATS")).split()[1]
        async with client.open(BusSettings(url=url)) as house:
            ticket = await house.submit("primes", "How many primes lie between 1000 and 10000?")
            told = (item.event async for item in ticket.events())
            (waits,) = await anext(each.waiting async for each in told if isinstance(each, ApprovalNeeded))
            await ticket.decide(Decision(call_id=waits.call_id, verdict="approve"))
            outcome = await ticket.result(60)
        up.interrupt()
        assert (await up.done()).code == 0
        assert waits.reason == "There are 168 and 1229. Tell the difference?"
        assert (outcome.state, outcome.text, outcome.tool_calls) == ("completed", "1061 primes lie between.", 2)

    async def test_the_guarded_agent_says_what_it_has_cost(self, natscope: Start, tmp_path: Path) -> None:
        place = ("--data", str(tmp_path / "data"), "--port", "0", "--agents", str(ROOT / "examples" / "guarded.yaml"))
        up = await natscope("up", *place, cwd=ROOT, AGENT_FUNCTIONS=str(ROOT / "examples" / "functions"))
        url = (await up.line("NATS")).split()[1]
        async with client.open(BusSettings(url=url)) as house:
            outcome = await house.ask("guarded", "How many primes are there below 10000?", deadline_s=60)
        up.interrupt()
        assert (await up.done()).code == 0
        assert (outcome.state, outcome.tool_calls) == ("completed", 1)
        spent = outcome.usage.input_tokens + outcome.usage.output_tokens
        assert outcome.text.endswith(f"({spent} tokens)")

    async def test_agents_in_a_hub_hear_each_other(self, example: Start, tmp_path: Path) -> None:
        async with embedded(tmp_path, port=0) as url:
            ended = await (await example("hub.py", url)).done()
        assert ended.code == 0, ended.err
        lines = ended.out.splitlines()
        heard = lines.index("grace remembers ada: 2 + 2 = 4.")
        asked = next(n for n, line in enumerate(lines) if "Do you agree?" in line)
        assert heard < asked
