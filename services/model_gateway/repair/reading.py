"""Reads one JSON value out of damaged text, and says by which rules it could."""

import re

from pydantic import JsonValue

from services.model_gateway.repair.strings import OPENER, Place, Quoted, Unreadable, past

DEEPEST = 64
"""Brackets within brackets; damaged text that goes deeper is not read."""

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?=[\s,}\]\"'/\\#<]|$)")
_ZEROS = re.compile(r"[-+]?0\d")
_LITERAL = re.compile(r"(true|false|null|True|False|None)\b")
_LITERALS: dict[str, JsonValue] = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}
_BARE_KEY = re.compile(r"([\w$][\w$.-]*)[\"']?(?=\s*:)")
_BARE_VALUE = re.compile(r"[\w/@-][\w .:/@%+-]*(?=\s*[,}\]\n])")
_CUT_VALUE = re.compile(r"[\w.+-]+\s*\Z")
_NOT_A_WORD = frozenset({"nan", "inf", "infinity", "-infinity", "undefined"})
_GOES_ON = re.compile(r"\s*,\s*\"[^\"\n]{1,200}\"\s*:")


_IN_A_GAP = " \n\t\r/#\\\ufeff\u200b\u00a0"


class Reader:
    """One pass over one text. Whatever is put right is named in `rules`."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, None] = {}
        self._text = text
        self._quoted = Quoted(text)
        self._at = 0
        self._open: list[str] = []
        """The closing brackets that are due, the outermost first."""

    def object_at(self, at: int, *, opened: bool = True) -> tuple[dict[str, JsonValue], int]:
        """Return the object at `at` and where it ends; without `opened` its first bracket is missing.

        Raises:
            Unreadable: there is none, or more than one way to read it.
        """
        self._at = at
        if not opened:
            self._rule("bracket")
        found = self._object(opened=opened)
        while _GOES_ON.match(self._text, self._at):
            self._rule("bracket")
            self._at = past(self._text, self._at) + 1
            found |= self._object(opened=False)
        return found, self._at

    def array_at(self, at: int) -> tuple[list[JsonValue], int]:
        """Return the array at `at` and where it ends.

        Raises:
            Unreadable: there is none, or more than one way to read it.
        """
        self._at = at
        return self._array(), self._at

    def _object(self, *, opened: bool = True) -> dict[str, JsonValue]:
        found: dict[str, JsonValue] = {}
        wrapped = 0
        self._enter("}", opened=opened)
        while (sign := self._next()) not in ("}", "]", ""):
            if sign == "{" and not found:
                wrapped = self._wrapped(wrapped)
                continue
            key = self._key()
            self._colon()
            found[key] = self._value("object")
            self._comma(found)
        self._leave(sign, "}")
        for _ in range(wrapped):
            if self._next() == "}":
                self._at += 1
        return found

    def _wrapped(self, times: int) -> int:
        if times >= DEEPEST:
            raise Unreadable(f"brackets go deeper than {DEEPEST}")
        self._take("bracket")
        return times + 1

    def _array(self) -> list[JsonValue]:
        found: list[JsonValue] = []
        self._enter("]", opened=True)
        while (sign := self._next()) not in ("}", "]", ""):
            found.append(self._value("array"))
            self._comma(found)
        self._leave(sign, "]")
        return found

    def _enter(self, closer: str, *, opened: bool) -> None:
        if len(self._open) >= DEEPEST:
            raise Unreadable(f"brackets go deeper than {DEEPEST}")
        self._open.append(closer)
        self._at += opened
        if self._next() == ",":
            self._take("comma")

    def _leave(self, sign: str, closer: str) -> None:
        self._open.pop()
        if sign == closer:
            self._at += 1
        else:
            self._rule("bracket")

    def _comma(self, found: object) -> None:
        """Pass the comma after a value; more than one, or one before a bracket, counts as damage."""
        commas = 0
        while (sign := self._next()) == ",":
            commas += 1
            self._at += 1
        if commas and not sign:
            raise self._unreadable("cut after a comma", final=True)
        if commas > 1 or (commas and sign in ("}", "]", "")) or (not commas and sign not in ("}", "]", "")):
            self._rule("comma")

    def _colon(self) -> None:
        if self._next() == ":":
            self._at += 1
        else:
            self._rule("colon")

    def _key(self) -> str:
        opener = OPENER.match(self._text, self._at)
        if opener is None:
            return self._bare_key()
        self._mark(opener.group())
        found = self._quoted.key(opener.end(), opener.group())
        if found is None:
            raise self._unreadable("a key without an end", final=True)
        key, self._at = found
        return key

    def _bare_key(self) -> str:
        found = _BARE_KEY.match(self._text, self._at)
        if found is None:
            raise self._unreadable("no key")
        self._rule("key without quotes")
        self._quoted.bare_keys = True
        self._at = found.end()
        return found.group(1)

    def _value(self, place: Place) -> JsonValue:
        sign = self._next()
        if sign == "{":
            return self._object()
        if sign == "[":
            return self._array()
        if (opener := OPENER.match(self._text, self._at)) is not None:
            return self._string(opener, place)
        if (found := _LITERAL.match(self._text, self._at)) is not None:
            self._at = found.end()
            if found.group() in ("True", "False", "None"):
                self._rule("python")
            return _LITERALS[found.group()]
        if (found := _NUMBER.match(self._text, self._at)) is not None and not _ZEROS.match(found.group()):
            self._at = found.end()
            return self._number(found.group())
        return self._word()

    def _number(self, text: str) -> int | float:
        if text.endswith(".") and self._at == len(self._text):
            raise self._unreadable("cut in a number", final=True)
        try:
            number = float(text) if set(text) & set(".eE") else int(text)
        except ValueError:
            raise self._unreadable("a number of too many digits") from None
        if number in (float("inf"), float("-inf")):
            raise self._unreadable("a number that is too large")
        return number

    def _word(self) -> str:
        found = _BARE_VALUE.match(self._text, self._at)
        if found is not None and found.group().strip().lower() in _NOT_A_WORD:
            raise self._unreadable("no value of JSON", final=True)
        if found is None:
            if self._at < len(self._text):
                raise self._unreadable("no value", final=_CUT_VALUE.match(self._text, self._at) is not None)
            raise self._unreadable("cut before a value", final=True)
        self._rule("value without quotes")
        self._at = found.end()
        return found.group().strip()

    def _string(self, opener: re.Match[str], place: Place) -> str:
        self._mark(opener.group())
        found = self._quoted.value(opener.end(), opener.group(), place)
        if found is not None:
            value, self._at, rule = found
            if rule:
                self._rule(rule)
            return value
        closers = "".join(reversed(self._open))
        unclosed = self._quoted.unclosed(opener.end(), opener.group(), closers)
        if unclosed is None:
            raise self._unreadable("a string without an end", final=True)
        self._rule("closing quote")
        value, self._at = unclosed
        return value

    def _next(self) -> str:
        """Go past a gap and return the sign after it; empty at the end."""
        sign = self._text[self._at : self._at + 1]
        if sign == " ":
            self._at += 1
            sign = self._text[self._at : self._at + 1]
        if sign in _IN_A_GAP and sign:
            end = past(self._text, self._at)
            if not (gap := self._text[self._at : end]).isspace() and gap:
                self._rule("line break" if gap.strip().startswith("\\") else "comment")
            self._at = end
            sign = self._text[end : end + 1]
        return sign

    def _take(self, rule: str) -> None:
        self._at += 1
        self._rule(rule)

    def _mark(self, opener: str) -> None:
        if opener != '"':
            self._rule("quotes")

    def _rule(self, name: str) -> None:
        self.rules[name] = None

    def _unreadable(self, why: str, *, final: bool = False) -> Unreadable:
        near = self._text[self._at : self._at + 30]
        where = f"near {near!r}" if near else "the end"
        return Unreadable(f"{why} at character {self._at}, {where}", final=final)
