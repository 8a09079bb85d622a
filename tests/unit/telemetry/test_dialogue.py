"""The dialogue as a log: where it is written, and what a line looks like."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from natscope.contracts.errors import Refused
from natscope.telemetry.dialogue import CHAT, LENGTH, say, write_dialogue_to


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    write_dialogue_to("")


class TestTheDialogue:
    def test_is_written_nowhere_unless_somebody_wants_it(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        say("t1", "user", "a secret")
        assert "secret" not in caplog.text + "".join(capfd.readouterr())

    def test_is_appended_to_a_file_and_shown_a_line_a_message(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "logs" / "chat.log"
        for text in ("Hello\nthere", "and again"):
            write_dialogue_to(f"-, {path}")
            say("t1", "user", text)
        lines = path.read_text().splitlines()
        assert [line.split(" ", 2)[2] for line in lines] == ["t1 user: Hello there", "t1 user: and again"]
        assert capsys.readouterr().out.splitlines() == lines

    def test_steers_no_terminal_and_cuts_what_is_long(self, tmp_path: Path) -> None:
        write_dialogue_to(str(tmp_path / "chat.log"))
        say("t1", "tool", "\x1b[31mred\x07" + "x" * 2 * LENGTH)
        (line,) = (tmp_path / "chat.log").read_text().splitlines()
        assert line.isprintable()
        assert "[31mredxxx" in line
        assert line.endswith("… (8,007 characters)")

    def test_has_a_level_of_its_own_between_info_and_warning(self) -> None:
        assert logging.getLevelName(CHAT) == "CHAT"
        assert logging.INFO < CHAT < logging.WARNING

    def test_is_refused_where_it_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(Refused, match=r"NATSCOPE_CHAT_LOG: .*cannot be written"):
            write_dialogue_to(str(tmp_path / "file" / "chat.log"))
