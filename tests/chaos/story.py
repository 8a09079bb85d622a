"""What every run of the chaos does, and what must come of it: agents, the model's replies, decisions, right results."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import JsonValue

from natscope.contracts.agent import AgentSpec, Permissions
from natscope.contracts.approval import Decision, Rule, Waiting
from tests.loopback.replies import Call, Reply

LEAD, AIDE = "lead", "aide"
BOOK, CARELESS, PYTHON, ASK = "book", "book_carelessly", "execute_python", "ask_agent"
TOO_DEAR = "too dear"
CELL_COUNTER = "/opt/cell/count"
"""A pipe that leads out of bubblewrap's cells: what a program writes there is counted, whatever is killed then."""
PAUSES_S = (0.1, 0.4, 1.0)
"""How long tools take; the same number takes the same time whenever it is asked for."""
PROGRAM = """
import os, time
print("begun", flush=True)
if os.path.exists("{counter}"):
    os.write(os.open("{counter}", os.O_WRONLY), b"{mark}\\n")
time.sleep({pause_s})
print("worked out:", {number} * {factor})
"""
LEAD_SPEC = AgentSpec(
    name=LEAD,
    description="Leads.",
    system_prompt=f"You are the {LEAD}.",
    tools=[PYTHON, BOOK, CARELESS],
    agents=[AIDE],
    permissions=Permissions(rules=[Rule(tool=BOOK, behaviour="ask")]),
)
AIDE_SPEC = AgentSpec(name=AIDE, description="Works things out.", system_prompt=f"You are the {AIDE}.", tools=[PYTHON])
_NUMBER = re.compile(r"\bnumber (\d+)\b")
Verdict = Literal["approve", "change", "deny"]
Request = Mapping[str, Any]


def task_of(number: int) -> str:
    """Return the id of a run's task."""
    return f"run-{number}"


def session_of(number: int) -> str:
    """Return the session of a run; two runs share one and stand in line."""
    return f"pair-{number // 2}"


def question(number: int) -> str:
    """Return what the lead is asked."""
    return f"Do all that is to be done for number {number}."


def pause_s(number: int) -> float:
    """Return how long the tools of a run take."""
    return PAUSES_S[number % len(PAUSES_S)]


def verdict_on(number: int) -> Verdict:
    """Return what is decided about a run's booking."""
    return ("deny", "change", "approve", "approve", "approve")[number % 5]


def booked(number: int, label: str) -> str:
    """Return what a booking gives."""
    return f"booked {number} as {label}"


def label_of(number: int) -> str:
    """Return under what a run's booking is made in the end."""
    return "changed" if verdict_on(number) == "change" else "plain"


def decision_on(number: int, waiting: Waiting) -> Decision:
    """Return the decision about a run's booking."""
    verdict = verdict_on(number)
    if verdict == "deny":
        return Decision(call_id=waiting.call_id, verdict="deny", reason=TOO_DEAR)
    arguments: dict[str, JsonValue] | None = {"number": number, "label": "changed"} if verdict == "change" else None
    return Decision(call_id=waiting.call_id, verdict="approve", arguments=arguments)


def step_of(request: Request) -> tuple[str, int, int]:
    """Return whose model is asked, for which number, and after how many of its replies: what names a model call."""
    messages: Sequence[Mapping[str, Any]] = request["messages"]
    agent = LEAD if f"the {LEAD}." in _text(messages[0]) else AIDE
    asked = max(i for i, each in enumerate(messages) if each["role"] == "user" and _NUMBER.search(_text(each)))
    found = _NUMBER.search(_text(messages[asked]))
    assert found is not None
    return agent, int(found[1]), sum(each["role"] == "assistant" for each in messages[asked:])


def reply_to(request: Request) -> Reply:
    """Return what the model says next: at first its calls, all at once; then what came of them, word by word."""
    agent, number, replies = step_of(request)
    if replies:
        results = [_text(each) for each in request["messages"] if each["role"] == "tool"]
        return Reply(text=final(results[-(4 if agent == LEAD else 1) :]))
    if agent == AIDE:
        return Reply(calls=(_call(PYTHON, {"code": program(AIDE, number)}, "c0"),))
    calls = (
        _call(PYTHON, {"code": program(LEAD, number)}, "c0"),
        _call(BOOK, {"number": number}, "c1"),
        _call(CARELESS, {"number": number}, "c2"),
        _call(ASK, {"agent": AIDE, "message": f"Work out number {number}."}, "c3"),
    )
    return Reply(calls=calls)


def final(results: Sequence[str]) -> str:
    """Return the answer of an agent whose calls gave these results, in the order of its calls."""
    return " | ".join(each.strip() for each in results)


def as_told(state: str, text: str) -> str:
    """Return how the model is told of a result."""
    return text if state == "success" else f"[{state}]\n{text}"


def program(agent: str, number: int) -> str:
    """Return the program that an agent runs for a number; its execution is counted as `<agent>-<number>`."""
    mark, factor = f"{agent}-{number}", 7 if agent == LEAD else 11
    return PROGRAM.format(counter=CELL_COUNTER, mark=mark, pause_s=pause_s(number), number=number, factor=factor)


def right(agent: str, number: int, tool: str) -> str:
    """Return what a call gives when it succeeds."""
    if tool == PYTHON:
        return f"begun\nworked out: {number * (7 if agent == LEAD else 11)}"
    if tool == ASK:
        return right(AIDE, number, PYTHON)
    return booked(number, label_of(number) if tool == BOOK else "plain")


def _call(tool: str, arguments: Mapping[str, JsonValue], id: str) -> Call:
    return Call(tool, json.dumps(arguments), id)


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
