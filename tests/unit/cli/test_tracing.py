"""A trace as a tree."""

import io

from rich.console import Console

from natscope.cli.tracing import tree_of
from natscope.client import Trace
from natscope.telemetry import names
from natscope.telemetry.spans import SpanRecord


def span(id: str, parent: str | None, name: str, service: str = "agent", **more: object) -> SpanRecord:
    given = {"kind": "internal", "start_ns": 1_000_000, "end_ns": 3_500_000, **more}
    return SpanRecord.model_validate(
        {"trace_id": "t" * 32, "span_id": id, "parent_id": parent, "name": name, "service": service, **given}
    )


def drawn(*spans: SpanRecord, whole: bool = False) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=200).print(tree_of(Trace("t" * 32, list(spans)), whole=whole))
    return [line.rstrip() for line in out.getvalue().splitlines()]


ASK = span("a", None, "invoke_agent assistant", "natscope-cli")
SENT = span("b", "a", "publish task.submit.{agent}", "natscope-cli", kind="producer")
TAKEN = span("c", "b", "process task.submit.{agent}")


class TestTree:
    def test_children_stand_below_their_parents_with_service_and_duration(self) -> None:
        assert drawn(ASK, SENT, TAKEN, whole=True) == [
            f"trace {'t' * 32} · 3 spans · 2 services · 0 errors",
            "└── invoke_agent assistant  natscope-cli  2.5 ms",
            "    └── publish task.submit.{agent}  natscope-cli  2.5 ms",
            "        └── process task.submit.{agent}  agent  2.5 ms",
        ]

    def test_what_publishing_led_to_stands_in_its_place(self) -> None:
        assert drawn(ASK, SENT, TAKEN) == [
            f"trace {'t' * 32} · 2 of 3 spans (--all shows every hop) · 2 services · 0 errors",
            "└── invoke_agent assistant  natscope-cli  2.5 ms",
            "    └── process task.submit.{agent}  agent  2.5 ms",
        ]

    def test_a_publish_that_failed_is_drawn(self) -> None:
        failed = SENT.model_copy(update={"error": "overloaded: the stream is full"})
        assert drawn(ASK, failed)[2] == (
            "    └── publish task.submit.{agent}  natscope-cli  2.5 ms  overloaded: the stream is full"
        )

    def test_spans_whose_parent_is_not_kept_stand_at_the_top(self) -> None:
        assert len(drawn(TAKEN, ASK)) == 3
        assert drawn(TAKEN)[1] == "└── process task.submit.{agent}  agent  2.5 ms"

    def test_tokens_model_and_errors_are_told_and_steer_no_terminal(self) -> None:
        attributes = {names.INPUT_TOKENS: 12, names.OUTPUT_TOKENS: 3, names.BACKEND: "docker"}
        told = drawn(span("c", None, "chat gpt", attributes=attributes, error="bad\x1b[2J\nthing"))[1]
        assert told == "└── chat gpt  agent  2.5 ms  in docker  12 tokens in, 3 out  bad[2J thing"

    def test_links_to_other_traces_are_named_once(self) -> None:
        linked = [span(id, None, "resume", links=["e" * 32]) for id in "ab"]
        assert drawn(*linked)[-1] == f"└── linked to trace {'e' * 32}"
        assert len(drawn(*linked)) == 4
