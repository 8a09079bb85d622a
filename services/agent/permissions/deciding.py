"""Decides whether a call may be carried out: rules that deny, rules that ask, what only reads, the check of the tool
itself, rules that allow, and at last the mode.

            ask rule   dangerous    edit in folders   allow rules   else
default     ask        ask          -                 yes           ask
accept_edits ask       ask          allow             yes           ask
explore     ask        -            -                 -             deny
bypass      ask        -            -                 yes           allow
dont_ask    deny       deny         allow             yes           deny

Rules that deny hold in every mode, and what only reads is allowed in every mode. What may or may not be meant by a rule
that asks or denies, because part of it is known only when it runs, is asked about at least.
"""

from collections.abc import Sequence
from dataclasses import replace

from natscope.contracts.agent import Permissions
from natscope.contracts.approval import Rule
from natscope.contracts.blocks import ToolUseBlock
from natscope.contracts.tool import ToolSpec
from services.agent.permissions.other_calls import FileCall, OtherCall, file_call
from services.agent.permissions.shell_calls import SHELLS, ShellCall, shell_call
from services.agent.permissions.verdict import STRICTNESS, Verdict

Subject = ShellCall | FileCall | OtherCall

_NEVER_ASKED = " (nobody is there to be asked)"


def decide(permissions: Permissions, spec: ToolSpec, call: ToolUseBlock) -> Verdict:
    """Return the verdict on a call. It depends on the arguments alone, touches nothing, and never raises."""
    if permissions.mode == "bypass" and not permissions.rules:
        return Verdict("allow", "the mode allows everything")
    subject = _subject(spec, call)
    ruled = [rule for rule in permissions.rules if rule.behaviour != "allow"]
    matched = [(rule, subject.speaks_of(rule)) for rule in ruled]
    for rule, match in matched:
        if match == "yes" and rule.behaviour == "deny":
            return Verdict("deny", f"a rule forbids it: {_shown(rule)}")
    for rule, match in matched:
        if match == "yes":
            return _asked(permissions, Verdict("ask", f"a rule wants it to be asked about: {_shown(rule)}"))
    verdict = _unruled(permissions, subject)
    for rule, match in matched:
        if match == "maybe":
            why = f"it cannot be told whether a rule speaks of it: {_shown(rule)}"
            unsure = f"{why}; {subject.unclear}" if subject.unclear else why
            verdict = _stricter(verdict, _asked(permissions, Verdict("ask", unsure)))
    return verdict


def _subject(spec: ToolSpec, call: ToolUseBlock) -> Subject:
    text = call.input.get(SHELLS.get(spec.name, ""))
    if isinstance(text, str):
        return shell_call(spec.name, text)
    return file_call(spec, call) or OtherCall(call, reads=spec.read_only)


def _unruled(permissions: Permissions, subject: Subject) -> Verdict:
    """Return what becomes of a call that no rule asks about or denies."""
    if subject.reads:
        return Verdict("allow", "it only reads")
    match permissions.mode:
        case "bypass":
            return Verdict("allow", "the mode allows what no rule forbids")
        case "explore":
            return Verdict("deny", f"only what reads is allowed, and {subject.what()} may do more")
        case "default" | "accept_edits" | "dont_ask":
            return _checked(permissions, subject)


def _checked(permissions: Permissions, subject: Subject) -> Verdict:
    if subject.danger:
        return _asked(permissions, Verdict("ask", f"it is dangerous: {subject.danger}", safety=True))
    folders = permissions.folders if permissions.mode != "default" else None
    rules: Sequence[Rule] = [rule for rule in permissions.rules if rule.behaviour == "allow"]
    if subject.is_covered(rules, folders):
        return Verdict("allow", "rules allow it" if subject.is_covered(rules, None) else "it edits inside the folders")
    reason = f"no rule allows {subject.what()}"
    if subject.unclear:
        reason = f"no rule can allow {subject.what()}: {subject.unclear}"
    return _asked(permissions, Verdict("ask", reason, suggestions=tuple(subject.suggestions(rules))))


def _asked(permissions: Permissions, verdict: Verdict) -> Verdict:
    if permissions.mode != "dont_ask":
        return verdict
    return replace(verdict, behaviour="deny", reason=verdict.reason + _NEVER_ASKED)


def _stricter(one: Verdict, other: Verdict) -> Verdict:
    return other if STRICTNESS[other.behaviour] > STRICTNESS[one.behaviour] else one


def _shown(rule: Rule) -> str:
    return f"{rule.behaviour} {rule.tool}" + (f" {rule.pattern!r}" if rule.pattern else "")
