"""Counts the tokens of a text: by OpenAI's vocabulary where it is at hand, else by a fitted guess for each piece."""

import base64
import gzip
import importlib.util
import logging
import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

log = logging.getLogger(__name__)

_TAIL = r"(?:'(?:[sdmtSDMT]|ll|LL|ve|VE|re|RE))?"
_OTHER = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_PIECE = re.compile(
    rf"(?:[^\r\n\w]|_)?[^\W\d_a-z]*[^\W\d_A-Z]+{_TAIL}|(?:[^\r\n\w]|_)?[^\W\d_a-z]+[^\W\d_A-Z]*{_TAIL}"
    rf"|\d{{1,3}}| ?(?:[^\s\w]|_)+[\r\n/]*|{_OTHER}"
)
"""How o200k_base cuts a text before it joins bytes, as far as `re` can say it.

Source: https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py
"""
_PLAIN_PIECE = re.compile(
    rf"[^\r\nA-Za-z\d]?(?:[A-Z]*[a-z]+|[A-Z]+){_TAIL}|\d{{1,3}}| ?[^\sA-Za-z\d]+[\r\n/]*|{_OTHER}"
)
"""The same for ASCII, in half the time."""
KEPT_TEXTS = 16_384
"""A conversation says most of what it says again with each step."""
KEPT_PIECES = 65_536
WHOLE = 1 << 17
"""A longer text is not counted whole."""
SLICES = 16
SLICE = 4096
LONG_PIECE = 256
"""Longer pieces are no words; what they take is in proportion to their length."""
O200K = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""SHA-256 of the vocabulary; by it tiktoken knows it too."""
O200K_IN_TIKTOKEN_CACHE = "fb374d419588a4632f3f557e76b4b70aebbca790"


class Pieces:
    """Counts tokens piece by piece; how many a piece takes is remembered."""

    def __init__(self, tokens_of: Callable[[str], float]) -> None:
        self._tokens_of = tokens_of
        self._known: dict[str, float] = {}
        self._texts: dict[tuple[int, int], float] = {}

    def count(self, text: str) -> float:
        """Return how many tokens `text` takes."""
        key = hash(text), len(text)
        total = self._texts.get(key)
        if total is None:
            if len(self._texts) >= KEPT_TEXTS:
                self._texts.clear()
            total = self._texts[key] = self._sampled(text) if len(text) > WHOLE else self._count(text)
        return total

    def _sampled(self, text: str) -> float:
        """Return what a long text takes by slices of it: counting all of it would hold up everybody else."""
        step = len(text) / SLICES
        slices = [text[int(n * step) : int(n * step) + SLICE] for n in range(SLICES)]
        return sum(map(self._count, slices)) * len(text) / sum(map(len, slices))

    def _count(self, text: str) -> float:
        pieces = (_PLAIN_PIECE if text.isascii() else _PIECE).findall(text)
        try:
            return sum(map(self._known.__getitem__, pieces))
        except KeyError:
            known, learn = self._known, self._learn
            return sum(known[piece] if piece in known else learn(piece) for piece in pieces)

    def _learn(self, piece: str) -> float:
        if len(piece) > LONG_PIECE:
            parts = [piece[start : start + LONG_PIECE] for start in range(0, len(piece), LONG_PIECE)]
            return sum(self._tokens_of(part) for part in parts)
        if len(self._known) >= KEPT_PIECES:
            self._known.clear()
        tokens = self._known[piece] = self._tokens_of(piece)
        return tokens


class Guess:
    """Guesses how many tokens a piece takes, by its kind and length."""

    def __init__(self, fitted: Mapping[str, Sequence[float]]) -> None:
        """`fitted` holds for each kind of piece what one of 1, 2, … letters takes."""
        self._fitted = fitted

    def tokens_of(self, piece: str) -> float:
        """Return what a piece takes, on average."""
        bare = piece.strip()
        if not bare or bare[0].isdecimal():
            return 1.0
        if not piece.isascii():
            return self._foreign(bare)
        letters = sum(map(str.isalpha, bare))
        if not letters:
            return self._at("marks", len(bare))
        if not (piece[0] == " " or piece[0].isalpha()):
            return self._at("marked", letters)
        kind = "small" if bare.islower() else "title" if bare[1:].islower() else "capital"
        return self._at(kind if piece[0] == " " else f"{kind}_first", letters)

    def _foreign(self, piece: str) -> float:
        """Return what a piece in another script takes."""
        total = 0.0
        for letter in piece:
            code = ord(letter)
            if code < 0x250:
                total += 0.28
            elif code < 0x2E80:
                total += 0.31 if letter.isalpha() else 0.6
            else:
                total += 0.72 if letter.isalpha() else 1.0 if code < 0x10000 else 2.2
        return max(1.0, total)

    def _at(self, kind: str, length: int) -> float:
        row = self._fitted[kind]
        more = length - len(row)
        return row[length - 1] if more <= 0 else row[-1] * length / len(row)


class Vocabulary:
    """The tokens of a byte-pair vocabulary and their ranks, in 12 bytes each."""

    def __init__(self, tokens: Iterable[tuple[bytes, int]]) -> None:
        hashes, ranks = array("q"), array("I")
        for token, rank in tokens:
            hashes.append(hash(token))
            ranks.append(rank)
        order = sorted(range(len(hashes)), key=hashes.__getitem__)
        self._hashes = array("q", (hashes[place] for place in order))
        self._ranks = array("I", (ranks[place] for place in order))

    @classmethod
    def read(cls, data: bytes) -> "Vocabulary":
        """Return the vocabulary in `data`: a line for each token, in base64, and its rank."""
        lines = (line.split() for line in data.splitlines() if line)
        return cls((base64.b64decode(token), int(rank)) for token, rank in lines)

    def rank(self, token: bytes) -> int | None:
        """Return the rank of a token, or None if it is none."""
        sought = hash(token)
        place = bisect_left(self._hashes, sought)
        if place < len(self._hashes) and self._hashes[place] == sought:
            return self._ranks[place]
        return None

    def tokens_of(self, piece: str) -> float:
        """Return how many tokens a piece takes: pairs are joined, the lowest rank first, until none is left."""
        data = piece.encode("utf-8", "surrogatepass")
        if self.rank(data) is not None:
            return 1.0
        parts = [data[at : at + 1] for at in range(len(data))]
        ranks = [self.rank(left + right) for left, right in pairwise(parts)]
        while True:
            best = min((rank for rank in ranks if rank is not None), default=None)
            if best is None:
                return float(len(parts))
            at = ranks.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
            del ranks[at]
            if at < len(ranks):
                ranks[at] = self.rank(parts[at] + parts[at + 1])
            if at:
                ranks[at - 1] = self.rank(parts[at - 1] + parts[at])


def vocabulary() -> Vocabulary | None:
    """Return OpenAI's o200k_base if it is on this machine: in tiktoken's cache, or in the wheel `bpe-openai`."""
    for path in _places():
        try:
            data = path.read_bytes()
        except OSError:
            continue
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        if sha256(data).hexdigest() == O200K:
            return Vocabulary.read(data)
        log.warning("not the vocabulary that was expected", extra={"path": str(path)})
    return None


def _places() -> Iterable[Path]:
    if cache := os.environ.get("TIKTOKEN_CACHE_DIR"):
        yield Path(cache) / O200K_IN_TIKTOKEN_CACHE
    found = importlib.util.find_spec("bpe_openai")
    for folder in (found.submodule_search_locations or ()) if found else ():
        yield Path(folder) / "data" / "o200k_base.tiktoken.gz"
