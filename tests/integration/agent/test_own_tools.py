"""What an agent carries out itself: groups of tools, skills, and a structured answer; and how long results reach it."""

from pathlib import Path
from typing import ClassVar

import pytest

from natscope.contracts import model
from natscope.contracts.agent import AgentSpec
from natscope.contracts.blocks import ToolResultBlock, ToolUseBlock, text_of
from tests.integration.agent.house import House, Model, call, house, reply

ADDS = ToolUseBlock(id="c1", name="add", input={"a": 2, "b": 2}, raw_input='{"a": 2, "b": 2}')
GROUPS = {"sums": {"description": "Arithmetic.", "tools": ["a*"], "notes": "Round nothing."}}


def uses(name: str, /, **arguments: object) -> ToolUseBlock:
    return ToolUseBlock.model_validate({"id": f"c-{name}", "name": name, "input": arguments})


def agent(**more: object) -> AgentSpec:
    return AgentSpec.model_validate({"name": "assistant", "system_prompt": "You help."} | more)


def says(*answers: model.Chatted) -> Model:
    """Return a model that gives these answers, one after the other."""
    left = list(answers)

    async def mind(_: model.Chat) -> model.Chatted:
        return left.pop(0)

    return mind


def results(here: House, ask: int) -> list[ToolResultBlock]:
    """Return the results that the model was shown in its n-th ask."""
    return [block for each in here.asked[ask].messages for block in each.content if isinstance(block, ToolResultBlock)]


class TestGroups:
    async def test_a_tool_of_a_group_is_offered_once_the_agent_has_switched_it_on(self, nats_url: str) -> None:
        async with house(nats_url, agent(groups=GROUPS)) as here:
            here.mind = says(call(uses("reset_tools", sums=True)), call(ADDS), reply("4"))
            outcome = await here.run("Add.")
        offered = [[spec.name for spec in asked.tools] for asked in here.asked]
        assert offered == [["reset_tools"], ["add", "reset_tools"], ["add", "reset_tools"]]
        assert text_of(results(here, 1)[0].output) == "On now: add.\nsums: Round nothing."
        assert (outcome.text, len(here.called)) == ("4", 1)

    async def test_a_tool_that_is_off_does_not_run_and_the_model_is_told_how_to_switch_it_on(
        self, nats_url: str
    ) -> None:
        async with house(nats_url, agent(groups=GROUPS)) as here:
            here.mind = says(call(ADDS), reply("I could not."))
            await here.run("Add.")
        assert here.called == []
        assert "reset_tools with sums=true" in text_of(results(here, 1)[0].output)

    async def test_a_group_may_be_on_from_the_start_and_is_off_when_it_is_not_named(self, nats_url: str) -> None:
        groups = {"sums": GROUPS["sums"] | {"active": True}}
        async with house(nats_url, agent(groups=groups)) as here:
            here.mind = says(call(ADDS), call(uses("reset_tools")), reply("4"))
            await here.run("Add.")
        assert [len(asked.tools) for asked in here.asked] == [2, 2, 1]
        assert len(here.called) == 1


class TestSkills:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        place = tmp_path / "report"
        (place / "forms").mkdir(parents=True)
        (place / "SKILL.md").write_text("---\nname: report\ndescription: How reports look.\n---\nBegin with the sum.\n")
        (place / "forms" / "table.csv").write_text("a,b\n")
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "SKILL.md").write_text("no front matter")
        return tmp_path

    async def test_the_model_is_told_of_them_and_reads_one_on_demand(self, nats_url: str, folder: Path) -> None:
        spec = agent(skills=["report", "broken", "missing"], tools=["add"])
        async with house(nats_url, spec, skills=folder) as here:
            here.mind = says(call(uses("skill", name="report")), call(ADDS), reply("done"))
            await here.run("Report.")
        prompt = here.asked[0].messages[0].text
        assert "- report: How reports look." in prompt
        assert "broken" not in prompt
        assert "Begin with the sum." not in prompt
        assert text_of(results(here, 1)[0].output).startswith("Begin with the sum.")
        assert [file.name for file in here.called[0].files] == ["skills/report/forms/table.csv"]

    @pytest.mark.parametrize("name", ["other", "../inside/report", "broken"])
    async def test_a_skill_that_is_not_the_agent_s_or_is_wrong_is_an_error_for_the_model(
        self, nats_url: str, folder: Path, name: str
    ) -> None:
        (folder / "inside").mkdir()
        (folder / "report").rename(folder / "inside" / "report")
        (folder / "other").symlink_to(folder / "inside" / "report")
        spec = agent(skills=["report", "broken"])
        async with house(nats_url, spec, skills=folder / "inside") as here:
            here.mind = says(call(uses("skill", name=name)), reply("no"))
            outcome = await here.run("Report.")
        assert results(here, 1)[0].state == "error"
        assert outcome.state == "completed"


class TestFinishing:
    OUTPUT: ClassVar = {
        "json_schema": {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}
    }

    async def test_the_answer_is_the_value_that_finish_was_called_with(self, nats_url: str) -> None:
        async with house(nats_url, agent(tools=["add"], output=self.OUTPUT)) as here:
            here.mind = says(call(ADDS), call(uses("finish", sum=4)))
            outcome = await here.run("Add.")
        assert (outcome.state, outcome.output, outcome.text) == ("completed", {"sum": 4}, '{"sum": 4}')
        assert [spec.parameters for spec in here.asked[0].tools if spec.name == "finish"] == [
            self.OUTPUT["json_schema"]
        ]

    async def test_an_answer_without_it_is_asked_for_again_and_in_the_end_forced(self, nats_url: str) -> None:
        async with house(nats_url, agent(output=self.OUTPUT)) as here:
            here.mind = says(reply("4"), reply("four"), reply("IV"), call(uses("finish", sum=4)))
            outcome = await here.run("Add.")
        assert outcome.output == {"sum": 4}
        assert "calling finish" in here.asked[1].messages[-1].text
        assert [asked.tool_choice for asked in here.asked] == ["auto", "auto", "auto", "finish"]

    async def test_an_agent_that_declares_none_ends_with_its_text(self, nats_url: str) -> None:
        async with house(nats_url, agent()) as here:
            here.mind = says(reply("4"))
            outcome = await here.run("Add.")
        assert (outcome.output, outcome.text, len(here.asked)) == (None, "4", 1)


class TestLongResults:
    async def test_only_beginning_and_end_reach_the_model_and_the_whole_is_a_file(self, nats_url: str) -> None:
        whole = "".join(f"line {number} é\n" for number in range(2000))
        spec = agent(tools=["add"], limits={"tool_result_bytes": 2000})
        async with house(nats_url, spec) as here:
            here.says = whole
            here.mind = says(call(ADDS), call(ADDS), reply("long"))
            await here.run("Add.")
            (file,) = here.called[1].files
            kept = await here.bus.blobs.bytes_of(file)
        shown = text_of(results(here, 1)[0].output)
        assert shown.startswith("line 0 é\n")
        assert shown.endswith("line 1999 é\n")
        assert len(shown.encode()) < 2300
        assert f"the whole is the file {file.name} of the workspace" in shown
        assert kept.decode() == whole

    async def test_the_whole_is_there_for_later_tasks_of_the_session_too(self, nats_url: str) -> None:
        async with house(nats_url, agent(tools=["add"], limits={"tool_result_bytes": 2000})) as here:
            here.says = "x" * 5000
            here.mind = says(call(ADDS), reply("long"), call(ADDS), reply("again"))
            for _ in range(2):
                await here.run("Add.", session="s1")
            (file,) = here.called[1].files
        assert f"the whole is the file {file.name} of the workspace" in text_of(results(here, 1)[0].output)

    async def test_the_whole_of_a_failed_call_is_a_file_too(self, nats_url: str) -> None:
        async with house(nats_url, agent(tools=["add"], limits={"tool_result_bytes": 2000})) as here:
            here.says, here.ends = "x" * 5000, "error"
            here.mind = says(call(ADDS), call(ADDS), reply("long"))
            await here.run("Add.")
        assert len(here.called[1].files) == 1

    async def test_a_result_within_the_limit_is_left_as_it_is(self, nats_url: str) -> None:
        async with house(nats_url, agent(tools=["add"])) as here:
            here.says = "x" * 50_000
            here.mind = says(call(ADDS), call(ADDS), reply("long"))
            await here.run("Add.")
        assert text_of(results(here, 1)[0].output) == here.says
        assert here.called[1].files == []


class TestCallsOfOneReply:
    @pytest.mark.parametrize(("concurrent", "most"), [(True, 3), (False, 1)])
    async def test_run_together_where_the_tool_allows_it(self, nats_url: str, concurrent: bool, most: int) -> None:
        async with house(nats_url, agent(tools=["add"])) as here:
            here.concurrent = concurrent
            here.tool_delay_s = 0.2
            calls = [ADDS.model_copy(update={"id": f"c{number}"}) for number in range(3)]
            here.mind = says(call(*calls), reply("done"))
            await here.run("Add.")
        assert here.most_under_way == most
