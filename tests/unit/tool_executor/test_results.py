"""From an outcome to what a model reads."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from natscope.contracts.blocks import text_of
from services.tool_executor.cells import Captured, Outcome
from services.tool_executor.results import lost, result_of


def outcome(
    out: bytes = b"",
    err: bytes = b"",
    *,
    exit_code: int | None = 0,
    signal: int | None = None,
    timed_out: bool = False,
    out_of_memory: bool = False,
) -> Outcome:
    return Outcome(
        exit_code=exit_code,
        signal=signal,
        stdout=Captured(out),
        stderr=Captured(err),
        duration=timedelta(seconds=1.25),
        timed_out=timed_out,
        out_of_memory=out_of_memory,
    )


def told(found: Outcome) -> tuple[str, str]:
    result = result_of(found, backend="docker", new_workspace=False)
    return result.state, text_of(result.output)


class TestResult:
    def test_a_good_end_is_the_output_and_nothing_else(self) -> None:
        assert told(outcome(b"42\n")) == ("success", "42\n")

    def test_silence_is_said(self) -> None:
        assert told(outcome()) == ("success", "[no output]")

    def test_standard_error_is_marked(self) -> None:
        assert told(outcome(b"out\n", b"warning\n")) == ("success", "out\n\n[stderr]\nwarning\n")

    def test_an_exit_code_is_an_error_that_is_said(self) -> None:
        assert told(outcome(b"out\n", exit_code=3)) == ("error", "out\n\n[exit code 3]")

    def test_a_signal_is_named(self) -> None:
        assert told(outcome(exit_code=None, signal=11)) == ("error", "[killed by SIGSEGV]")

    def test_a_time_limit_is_said_with_the_time(self) -> None:
        state, text = told(outcome(b"so far", exit_code=None, signal=9, timed_out=True))
        assert (state, text) == ("error", "so far\n[stopped: over the time limit after 1.2 s]")

    def test_want_of_memory_is_said(self) -> None:
        assert told(outcome(exit_code=None, signal=9, out_of_memory=True)) == ("error", "[killed: out of memory]")

    def test_a_program_that_ended_before_its_limit_caught_it_is_still_late(self) -> None:
        assert told(outcome(timed_out=True))[0] == "error"

    def test_numbers_and_backend_are_in_the_metadata(self) -> None:
        result = result_of(outcome(b"x"), backend="bubblewrap", new_workspace=True)
        assert result.metadata["backend"] == "bubblewrap"
        assert result.metadata["duration_ms"] == 1250.0
        assert result.metadata["dropped_bytes"] == {"stdout": 0, "stderr": 0}
        assert result.metadata["new_workspace"] is True

    def test_a_lost_outcome_is_unknown_and_says_what_that_means(self) -> None:
        result = lost("its cell was lost", backend="docker")
        assert result.state == "unknown"
        assert "was not carried out again" in text_of(result.output)

    def test_a_lost_outcome_of_what_does_no_harm_again_is_a_failure(self) -> None:
        assert lost("its cell was lost", backend="docker", idempotent=True).state == "error"


class TestText:
    def test_a_gap_is_said_where_it_is(self) -> None:
        assert Captured(b"start", b"end", 7).text == "start\n[… 7 bytes dropped …]\nend"

    def test_characters_cut_by_the_gap_leave_no_mess(self) -> None:
        euro = "€".encode()
        assert Captured(b"a" + euro[:2], euro[1:] + b"z", 9).text == "a\n[… 9 bytes dropped …]\nz"

    def test_whole_characters_at_the_gap_are_kept(self) -> None:
        assert Captured("a€".encode(), "é".encode(), 9).text == "a€\n[… 9 bytes dropped …]\né"

    @given(st.binary(max_size=64), st.binary(max_size=64), st.integers(0, 9))
    def test_any_bytes_become_text(self, head: bytes, tail: bytes, dropped: int) -> None:
        assert isinstance(Captured(head, tail, dropped).text, str)
