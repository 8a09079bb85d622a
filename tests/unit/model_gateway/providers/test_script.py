"""The offline model: its script's conditions, and that its figures come from what its code printed."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from natscope.contracts.blocks import (
    Base64Source,
    ContentBlock,
    FileBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from natscope.contracts.errors import SpecInvalid
from natscope.contracts.message import Message
from natscope.contracts.model import Chat
from natscope.contracts.tool import ToolSpec
from services.model_gateway.ports import Piece, Prompt, Reply
from services.model_gateway.providers.script import Script
from services.model_gateway.providers.scripted import OFFLINE, Scripted

PENGUINS = Path(__file__).parents[4] / "examples" / "data" / "penguins.csv"
FLIPPERS = "Which species has the longest flippers on average?"
PRIMES = "How many primes are there below 10000?"
PYTHON = ToolSpec(name="execute_python", description="Runs Python.", parameters={"type": "object"})
SHELL = ToolSpec(name="execute_shell", description="Runs a command.", parameters={"type": "object"})


def _user(text: str, *files: str) -> Message:
    blocks: list[ContentBlock] = [TextBlock(text=text)]
    source = Base64Source(data="", media_type="text/csv")
    return Message(name="user", role="user", content=[*blocks, *(FileBlock(name=f, source=source) for f in files)])


def _result(output: str) -> Message:
    result = ToolResultBlock(id="1", name="execute_python", output=[TextBlock(text=output)])
    return Message(name="execute_python", role="tool", content=[result])


def _ask(*messages: Message, tools: tuple[ToolSpec, ...] = (PYTHON, SHELL), tool_choice: str = "auto") -> Chat:
    return Chat(request_id="r1", model="offline", messages=list(messages), tools=list(tools), tool_choice=tool_choice)


async def _answer(ask: Chat, path: Path = OFFLINE) -> Reply:
    return await Scripted("scripted", Script.read(path)).chat(Prompt(ask, "offline", 5.0), None)


def _code(reply: Reply) -> str:
    use = next(block for block in reply.content if isinstance(block, ToolUseBlock))
    assert use.name == "execute_python"
    code = use.input["code"]
    assert isinstance(code, str)
    return code


def _said(reply: Reply) -> str:
    return "\n".join(block.text for block in reply.content if isinstance(block, TextBlock))


async def _worked_out(folder: Path, question: Message) -> str:
    """Return the final words after running the code that the model wrote, in `folder`."""
    code = _code(await _answer(_ask(question)))
    return _said(await _answer(_ask(question, _result(await asyncio.to_thread(_run, code, folder)))))


def _run(code: str, folder: Path) -> str:
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


class TestOfflineAnswers:
    async def test_the_penguins_figures_come_from_the_file(self, tmp_path: Path) -> None:
        shutil.copy(PENGUINS, tmp_path)
        said = await _worked_out(tmp_path, _user(FLIPPERS, "penguins.csv"))
        assert said.startswith("Gentoo has the longest flippers on average: the mean of flipper_length_mm is 217.19")
        assert "Adelie: 189.95 (151 rows)" in said

    async def test_another_file_gives_another_answer(self, tmp_path: Path) -> None:
        rows = PENGUINS.read_text().replace("Adelie,Torgersen,39.1,18.7,181", "Adelie,Torgersen,39.1,18.7,99181")
        (tmp_path / "penguins.csv").write_text(rows)
        said = await _worked_out(tmp_path, _user(FLIPPERS, "penguins.csv"))
        assert said.startswith("Adelie has the longest flippers on average")

    async def test_the_smallest_is_found_as_well(self, tmp_path: Path) -> None:
        shutil.copy(PENGUINS, tmp_path)
        said = await _worked_out(tmp_path, _user("Which island has the lightest body mass on average?", "penguins.csv"))
        assert said.startswith("Torgersen has the lightest body mass on average: the mean of body_mass_g is 3706.37")

    async def test_what_no_column_tells_of_is_not_made_up(self, tmp_path: Path) -> None:
        shutil.copy(PENGUINS, tmp_path)
        said = await _worked_out(tmp_path, _user("Which island has the fastest swimmers on average?", "penguins.csv"))
        assert "no column of species, island" in said
        assert "has the fastest" not in said

    async def test_a_file_name_cannot_break_out_of_the_code(self, tmp_path: Path) -> None:
        name = "a'); print('x').csv"
        shutil.copy(PENGUINS, tmp_path / name)
        assert (await _worked_out(tmp_path, _user(FLIPPERS, name))).startswith("Gentoo")

    async def test_any_other_question_about_a_table_is_answered_with_its_figures(self, tmp_path: Path) -> None:
        shutil.copy(PENGUINS, tmp_path)
        said = await _worked_out(tmp_path, _user("What is in this file?", "penguins.csv"))
        assert "344 rows" in said
        assert "species: 3 different values, such as Adelie, Chinstrap, Gentoo" in said

    @pytest.mark.parametrize(("limit", "count"), [("10000", "1229"), ("10,000", "1229"), ("3", "1"), ("1", "0")])
    async def test_primes_are_counted_by_the_code(self, tmp_path: Path, limit: str, count: str) -> None:
        said = await _worked_out(tmp_path, _user(f"How many primes are there below {limit}?"))
        assert said == f"There are {count} primes below {limit}."

    async def test_the_count_is_what_the_code_printed_even_if_it_is_wrong(self) -> None:
        assert _said(await _answer(_ask(_user(PRIMES), _result("17\n")))) == "There are 17 primes below 10000."

    @pytest.mark.parametrize("first", [True, False])
    async def test_what_another_member_has_counted_is_no_question(self, first: bool) -> None:
        lines = ["low: There are 168 primes below 1000.", f"foreman: {PRIMES}"]
        told = "\n".join(["<history>", *(lines if first else lines[::-1]), "</history>"])
        assert "int('10000'" in _code(await _answer(_ask(_user(told))))

    async def test_a_program_that_failed_is_shown_not_glossed_over(self) -> None:
        said = _said(await _answer(_ask(_user(PRIMES), _result("Traceback: MemoryError"))))
        assert said == "The tool gave:\n\nTraceback: MemoryError"

    async def test_a_sum_needs_no_tool(self) -> None:
        assert _said(await _answer(_ask(_user("What is 2+2?")))) == "2 + 2 = 4."

    async def test_code_and_commands_can_be_given(self) -> None:
        assert _code(await _answer(_ask(_user("Run python: print(1)\nprint(2)")))) == "print(1)\nprint(2)"
        use = (await _answer(_ask(_user("run shell: ls -la")))).content[0]
        assert isinstance(use, ToolUseBlock)
        assert (use.name, use.input) == ("execute_shell", {"command": "ls -la"})

    async def test_anything_else_is_answered_by_who_it_is_and_how_to_get_a_real_model(self) -> None:
        said = _said(await _answer(_ask(_user("Why?"))))
        assert "offline model" in said
        assert "OPENAI_API_KEY" in said
        assert "OPENAI_BASE_URL" in said
        assert said.endswith("You said: Why?")

    async def test_a_new_question_after_an_answered_one_is_worked_out_anew(self) -> None:
        talk = (_user(PRIMES), _result("1229"), Message(name="a", role="assistant", content=[TextBlock(text="1229.")]))
        assert (await _answer(_ask(*talk, _user(PRIMES)))).finish_reason == "tool_call"

    async def test_a_hint_of_the_agent_is_not_taken_for_the_question(self) -> None:
        hint = Message(name="system", role="user", content=[TextBlock(text="Answer now.")])
        reply = await _answer(_ask(_user(PRIMES), _result("1229"), hint, tool_choice="none"))
        assert _said(reply) == "There are 1229 primes below 10000."

    @pytest.mark.parametrize("options", [{"tools": ()}, {"tool_choice": "none"}])
    async def test_no_tool_is_called_that_may_not_be(self, options: dict[str, object]) -> None:
        reply = await _answer(_ask(_user(PRIMES), **options))  # pyright: ignore[reportArgumentType]
        assert reply.finish_reason == "stop"
        assert "offline model" in _said(reply)


class TestScripted:
    async def test_the_same_ask_gives_the_same_reply(self) -> None:
        ask = _ask(_user(PRIMES))
        assert await _answer(ask) == await _answer(ask)

    async def test_a_stream_is_the_same_message_in_pieces(self) -> None:
        heard: list[Piece] = []

        async def hear(piece: Piece) -> None:
            heard.append(piece)

        reply = await Scripted("scripted", Script.read(OFFLINE)).chat(Prompt(_ask(_user(PRIMES)), "offline", 5.0), hear)
        use = reply.content[1]
        assert isinstance(use, ToolUseBlock)
        assert "".join(piece.text for piece in heard if piece.block == 0) == _said(reply)
        assert "".join(piece.text for piece in heard if piece.block == 1) == use.raw_input
        assert len(heard) > 4

    async def test_usage_is_simulated(self) -> None:
        usage = (await _answer(_ask(_user("12345678")))).usage
        assert usage.input_tokens == 2
        assert usage.output_tokens > 10

    async def test_rules_of_ones_own_match_agent_question_file_and_output(self, tmp_path: Path) -> None:
        path = tmp_path / "script.yaml"
        path.write_text(
            "rules:\n"
            "  - when: {agent: 'a*', asked: 'hello (?P<who>\\w+)'}\n"
            "    think: Somebody greets.\n"
            "    say: 'Hi {{who}}, or {{who!r}}.'\n"
        )
        greeted = _ask(_user("Hello Ann")).model_copy(update={"agent": "abc"})
        assert _said(await _answer(greeted, path)) == "Hi Ann, or 'Ann'."
        other = greeted.model_copy(update={"agent": "xyz"})
        assert "no answer" in _said(await _answer(other, path))

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("rules:\n  - say: x\n    sey: y\n", r"script.yaml:3: rules.0.sey"),
            ("rules:\n  - when: {asked: '('}\n", r"script.yaml:2: rules.0.when.asked: .*no regular expression"),
            ("rules: []\n", r"script.yaml:1: rules: "),
        ],
    )
    def test_a_mistake_in_a_script_is_told_by_line_and_field(self, tmp_path: Path, text: str, told: str) -> None:
        path = tmp_path / "script.yaml"
        path.write_text(text)
        with pytest.raises(SpecInvalid, match=told):
            Script.read(path)
