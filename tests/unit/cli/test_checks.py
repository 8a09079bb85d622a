"""Values that no command takes: wrong usage is said before anything is connected to."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from natscope.cli.app import app

WIDE = {"COLUMNS": "200", "NATS_URL": "nats://127.0.0.1:1"}


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("ask", "assistant", "hi", "--timeout", "0"), "0 is no number of seconds above 0"),
            (("ask", "assistant", "hi", "--timeout", "-1"), "-1 is no number of seconds above 0"),
            (("ask", "assistant", "hi", "--timeout", "nan"), "nan is no number of seconds above 0"),
            (("ask", "assistant", "hi", "--timeout", "inf"), "inf is no number of seconds above 0"),
            (("ask", "assistant", "hi", "--session", "a b"), "'a b' must be 1-128 letters"),
            (("ask", "assistant", "hi", "--task-id", "a.b"), "'a.b' must be 1-128 letters"),
            (("watch", "--task", "*"), "'*' must be 1-128 letters"),
            (("watch", "--hub", ">"), "'>' must be 1-128 letters"),
            (("trace", "a b"), "'a b' must be 1-128 letters"),
            (("up", "--log-level", "loud"), "'loud' is none of DEBUG, INFO, WARNING, ERROR"),
        ],
    )
    def test_a_wrong_value_exits_2_and_says_what_it_must_be(self, arguments: tuple[str, ...], said: str) -> None:
        ended = CliRunner().invoke(app, list(arguments), env=WIDE)
        assert ended.exit_code == 2
        assert said in ended.output

    def test_data_that_is_a_file_is_not_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "afile").write_text("")
        ended = CliRunner().invoke(app, ["up", "--data", str(tmp_path / "afile")], env=WIDE)
        assert ended.exit_code == 2
        assert "is not a folder" in ended.output
