"""Finds where a string of damaged JSON ends, and what it says, whatever stands for its quotes."""

import re
from collections.abc import Iterator
from json import JSONDecodeError
from json.decoder import scanstring  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from typing import Literal

Place = Literal["object", "array"]
"""Where the string is a value."""

_COMMENT = r"//[^\n]{0,1000}|#[^\n]{0,1000}|/\*.{0,1000}?\*/"
GAP = re.compile(rf"(?:[\s\ufeff\u200b]+|(?<![\"'”])(?:{_COMMENT})|\\[nrt])*+", re.DOTALL)
"""What may stand between two pieces: white space, comments (not right after a quote), and a line break as an escape."""

_QUOTE = '(?:<\\|"\\|>|["\'`“”„‘’])'
OPENER = re.compile('<\\|"\\|>|"""(?=.*?""")|\'\'\'(?=.*?\'\'\')|["\'`“”„‘]', re.DOTALL)
_CLOSERS = {
    '"': re.compile(r"\\.|(\")", re.DOTALL),
    "'": re.compile(r"\\.|(')", re.DOTALL),
    "`": re.compile(r"\\.|(`)", re.DOTALL),
    '"""': re.compile(r'\\.|(""")', re.DOTALL),
    "'''": re.compile(r"\\.|(''')", re.DOTALL),
    '<|"|>': re.compile(r'(<\|"\|>)'),
    "“": re.compile(r"\\.|([”“\"])", re.DOTALL),
    "‘": re.compile(r"\\.|([’'])", re.DOTALL),
}
_CLOSERS["”"] = _CLOSERS["„"] = _CLOSERS["“"]

_VALUE = rf"(?:{_QUOTE}|[{{\[\d]|-\d|[tT]rue\b|[fF]alse\b|null\b|None\b)"
_KEY = rf"(?:{_QUOTE}[^\"“”„\n]{{0,200}}?{_QUOTE}\s*+:|{_QUOTE}[\w.$-]{{1,64}}{_QUOTE}\s*+(?![”’]){_VALUE})"
_BARE_KEY = r"[A-Za-z_$][\w$.-]*\s*+:"
_KEY_FOLLOWS = re.compile(_KEY)
_BARE_KEY_FOLLOWS = re.compile(_BARE_KEY)
_BARE_PAIR_FOLLOWS = re.compile(rf"{_BARE_KEY}\s*+{_VALUE}")
_VALUE_FOLLOWS = re.compile(_VALUE)
_ESCAPE = re.compile(
    r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|(.))", re.DOTALL
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_KEY = re.compile(r'([^"\\\n{]*+)"')
_AFTER_BRACE = ("", ",", "}", "]", "{", "<")
_MEANT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""} | {sign: sign for sign in "\"'\\/`"}


class Unreadable(ValueError):
    """The text cannot be read, or not in one way only."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final
        """True if no other reading may be tried: it ends in the middle of something, or says what JSON cannot."""


class Quoted:
    """The strings of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._last_brace = text.rfind("}")
        self.bare_keys = False
        """True once a key without quotes was seen; then another may follow a comma."""

    def key(self, start: int, opener: str) -> tuple[str, int] | None:
        """Return the key whose quote ends before `start`, and where it ends; None if it does not."""
        if opener == '"' and (plain := _PLAIN_KEY.match(self._text, start)) is not None:
            return plain.group(1), plain.end()
        for end, after in self._ends(start, opener):
            found = self._text[start:end]
            return None if "\n" in found or "{" in found else (meaning(found), after)
        return None

    def value(self, start: int, opener: str, place: Place) -> tuple[str, int, str] | None:
        """Return the string after `opener`, where it ends, and the rule it took if it took one; None if endless.

        A quote ends the string if what follows is what may follow a string there. If that can be said of none, the
        first that is followed by a comma or a bracket does.
        """
        if opener == '"' and (found := self._plain(start, place)) is not None:
            return *found, ""
        loose: tuple[int, int] | None = None
        for count, (end, after) in enumerate(self._ends(start, opener)):
            if self._may_end(after, place) and not (count and past(self._text, after) == len(self._text)):
                return meaning(self._text[start:end]), after, "quotes in a string" if count else ""
            if loose is None and self._sign(past(self._text, after)) in (",", "}", "]"):
                loose = end, after
        if loose is None:
            return None
        return meaning(self._text[start : loose[0]]), loose[1], "quotes in a string"

    def unclosed(self, start: int, opener: str, closers: str) -> tuple[str, int] | None:
        """Return a last string that lacks its quote and nothing else: the brackets that must follow are there.

        None if it may as well have been cut: a bracket that belongs to the string itself is no end.
        """
        end = len(self._text.rstrip())
        for place, bracket in enumerate(reversed(closers)):
            end = len(self._text[:end].rstrip()) if place else end
            if self._text[end - 1 : end] != bracket:
                return None
            end -= 1
        found = self._text[start:end]
        if any(True for _ in self._ends(start, opener)) or _unbalanced(found):
            return None
        return meaning(found), end

    def _plain(self, start: int, place: Place) -> tuple[str, int] | None:
        try:
            found, after = scanstring(self._text, start, False)
        except JSONDecodeError:
            return None
        if not self._may_end(after, place) or _SURROGATE.search(found):
            return None
        return found, after

    def _ends(self, start: int, opener: str) -> Iterator[tuple[int, int]]:
        for match in _CLOSERS[opener].finditer(self._text, start):
            if match.group(1) is not None:
                yield match.start(), match.end()

    def _may_end(self, after: int, place: Place) -> bool:
        text = self._text
        at = past(text, after)
        sign = self._sign(at)
        if sign == "":
            return True
        if sign == ",":
            return self._may_go_on(past(text, at + 1), place)
        if place == "array":
            return sign == "]" or (at > after and OPENER.match(text, at) is not None)
        if sign == "}":
            beyond = past(text, at + 1)
            return at == self._last_brace or self._sign(beyond) in _AFTER_BRACE or self._key_at(beyond)
        return at > after and self._key_at(at)

    def _may_go_on(self, at: int, place: Place) -> bool:
        sign = self._sign(at)
        if sign in ("", "}", "]"):
            return True
        return self._key_at(at) if place == "object" else _VALUE_FOLLOWS.match(self._text, at) is not None

    def _sign(self, at: int) -> str:
        return self._text[at : at + 1]

    def _key_at(self, at: int) -> bool:
        if _KEY_FOLLOWS.match(self._text, at) is not None:
            return True
        bare = _BARE_KEY_FOLLOWS if self.bare_keys else _BARE_PAIR_FOLLOWS
        return bare.match(self._text, at) is not None


def meaning(raw: str) -> str:
    """Return what a string says, its escapes read by JSON's and Python's rules; an escape of neither stands for itself.

    Raises:
        Unreadable: half a surrogate pair, which no text may hold.
    """
    if "\\" not in raw:
        return raw
    said = _ESCAPE.sub(_meant, raw)
    return _joined(said) if _SURROGATE.search(said) else said


def _meant(match: re.Match[str]) -> str:
    code = match.group(1) or match.group(2) or match.group(3)
    if code is not None:
        return chr(int(code, 16))
    return _MEANT.get(match.group(4), match.group(0))


def _joined(text: str) -> str:
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise Unreadable("half a surrogate pair", final=True) from None


def past(text: str, at: int) -> int:
    """Return where the gap at `at` ends."""
    found = GAP.match(text, at)
    return at if found is None else found.end()


def _unbalanced(text: str) -> bool:
    opens = any(text.count(opening) > text.count(closing) for opening, closing in ("{}", "[]"))
    return opens or (text.endswith("}") and text.count("}") > text.count("{"))
