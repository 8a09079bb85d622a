"""Finds the value in the text around it: fences, tags, prose, and the same said twice."""

import json
import re
from dataclasses import dataclass
from json import JSONDecodeError, JSONDecoder

from pydantic import JsonValue
from pydantic_core import from_json

from services.model_gateway.repair.reading import Reader
from services.model_gateway.repair.strings import Unreadable

_HEAD = re.compile(
    r"(?:\s|```[\w+-]*|<\|[^|\"<>]{1,40}\|>|</?[A-Za-z_][\w:=./ -]{0,60}>|\[[A-Z_]{2,30}\]|\{\s*\}(?=\s*[\"'{]))+"
)
_THOUGHT = re.compile(r"\s*<think(ing)?>.*?</think(ing)?>", re.DOTALL)
_TAIL = re.compile(r"(?:\s|```|<\|[^|\"<>]{1,40}\|>|</[A-Za-z_][\w:.-]{0,60}>|;)+\Z")
_BODY = re.compile('(?:<\\|"\\|>|["\'“”„])[^"\'“”„\n{}]{1,200}?(?:<\\|"\\|>|["\'“”])\\s*:|[\\w$.-]{1,64}["\']\\s*:')
_PLACEHOLDER = re.compile(r"\{[\w .-]*\}")
_KEY_IN_PROSE = re.compile("[\"'”>]\\s*:")
_OBJECT = re.compile("\\{\\s*[\"'“‘]")
_MOST_STARTS = 16
_BRACE, _OPENERS = re.compile(r"\{"), re.compile(r"[{\[]")
_DECODER = JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class Found:
    """The values that a text holds, each once, and the rules that found them."""

    values: list[JsonValue]
    rules: tuple[str, ...]


def found(text: str, *, brackets: str = "{") -> Found:
    """Return what `text` holds; a value begins with one of `brackets`, or with `[` if the text does.

    Raises:
        Unreadable: nothing, or more than one way to read it.
    """
    body, rules = _stripped(text)
    if not body:
        raise Unreadable("no JSON object", final=True)
    if (inner := _encoded(body)) is not None:
        what = found(inner, brackets=brackets)
        return Found(what.values, (*rules, "double encoding", *what.rules))
    if not body.strip("}] \n"):
        return Found([{}], (*rules, "bracket"))
    reader = Reader(body)
    if _BODY.match(body) is not None:
        value, end = reader.object_at(0, opened=False)
        start = 0
    else:
        reader, value, start, end = _first(body, brackets)
    rules += tuple(reader.rules)
    if body[:start].strip():
        rules += ("prose",)
    values, past_all = _rest([value], body, start, end)
    rules += ("repeated",) if past_all > end else ()
    rules += _after(body[past_all:], prose_before=start > 0)
    return Found(_distinct(values), rules)


def _stripped(text: str) -> tuple[str, tuple[str, ...]]:
    thought = _THOUGHT.match(text)
    text = text[thought.end() :] if thought is not None else text
    head = _HEAD.match(text)
    body = text[head.end() :] if head is not None else text
    tail = _TAIL.search(body, max(0, len(body) - 400))
    if tail is not None:
        body = body[: tail.start()]
    around = (head.group() if head is not None else "") + (tail.group() if tail is not None else "")
    rules: tuple[str, ...] = ("fence",) if "```" in around else ()
    if "{" in around:
        rules = (*rules, "bracket")
    return body, (*rules, "tag") if "<" in around or thought is not None else rules


def _encoded(body: str) -> str | None:
    """Return the text that `body` is as a JSON string; None if it is none."""
    if body[:1] != '"' or body[-1] != '"':
        return None
    try:
        value = from_json(body)
    except (ValueError, TypeError):
        return None
    return value if isinstance(value, str) else None


def _first(body: str, brackets: str) -> tuple[Reader, JsonValue, int, int]:
    starts = re.compile("[" + re.escape(brackets) + "]")
    at = 0 if body[:1] == "[" else _next(starts, body, 0)
    for _ in range(_MOST_STARTS):
        if at < 0:
            break
        reader = Reader(body)
        try:
            value, end = reader.object_at(at) if body[at] == "{" else reader.array_at(at)
        except Unreadable:
            placeholder = _PLACEHOLDER.match(body, at)
            if placeholder is None:
                raise
            end, value = placeholder.end(), None
        if value is not None:
            if _KEY_IN_PROSE.search(body, 0, at):
                raise Unreadable("an object that lacks its beginning")
            return reader, value, at, end
        at = _next(starts, body, end)
    raise Unreadable("no JSON object", final=not body.endswith("}"))


def _rest(values: list[JsonValue], body: str, start: int, end: int) -> tuple[list[JsonValue], int]:
    first, seen = body[start:end], end
    starts = _OPENERS if isinstance(values[0], list) else _BRACE
    while (at := _next(starts, body, seen)) >= 0 and len(values) < _MOST_STARTS:
        if first.startswith(body[at:]):
            return values, len(body)
        try:
            value, seen = _DECODER.raw_decode(body, at)
            if not can_be_sent(value):
                raise _unread(body[at:])
        except (JSONDecodeError, RecursionError):
            if body[at] == "{":
                break
            seen = at + 1
            continue
        values, end = [*values, value], seen
    return values, end


def _after(rest: str, *, prose_before: bool) -> tuple[str, ...]:
    if not rest.strip():
        return ()
    words = rest.strip(" \n\r\t}],;")
    closers = rest[: len(rest) - len(rest.lstrip(" \n\r\t}],;"))].strip()
    if "}" in words or _OBJECT.search(words) or (closers and prose_before and "}" in closers):
        raise _unread(rest)
    return (("bracket",) if closers else ()) + (("prose",) if words else ())


def _unread(rest: str) -> Unreadable:
    return Unreadable(f"something follows the object: {rest.strip()[:60]!r}")


def can_be_sent(value: JsonValue) -> bool:
    """Return whether JSON has words for `value`: no infinite number, no half of a surrogate pair, not too deep."""
    try:
        from_json(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError):
        return False
    return True


def _next(starts: re.Pattern[str], body: str, at: int) -> int:
    match = starts.search(body, at)
    return -1 if match is None else match.start()


def _distinct(values: list[JsonValue]) -> list[JsonValue]:
    if len(values) == 1:
        return values
    kept = list({json.dumps(value, sort_keys=True): value for value in reversed(values)}.values())[::-1]
    return [value for value in kept if value != {}] or kept[:1]
