"""Finds where the options of a command end, by what is known of each program's options."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.agent.permissions.words import Word


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one program."""

    alone: frozenset[str] = frozenset()
    """Options that stand alone."""
    valued: frozenset[str] = frozenset()
    """Options that take a value, in the same word or in the next."""


def listed(words: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(words.split())


def options(alone: str = "", valued: str = "") -> Options:
    """Return the options, each list given as words."""
    return Options(listed(alone), listed(valued))


def end(words: Sequence[Word], known: Options, start: int = 1) -> int | None:
    """Return the place of the first word that is no option; None if an option is unknown, or no word tells."""
    place = start
    while place < len(words):
        word = words[place]
        if not word.head.startswith("-") and (word.known or word.head):
            return place
        if not word.known:
            return None
        if word.text == "--":
            return place + 1
        if word.text == "-":
            return place
        step = _step(word.text, known)
        if step is None:
            return None
        place += step
    return place


def ends_run(before: Word, word: Word) -> bool:
    """Return whether a word of `find` ends what `-exec` runs: `+` does after `{}` alone."""
    return word.text == ";" or (word.text == "+" and before.text == "{}")


def _step(text: str, known: Options) -> int | None:
    """Return how many words an option takes."""
    name, _, value = text.partition("=")
    if text.startswith("--"):
        if name in known.valued:
            return 1 if value or "=" in text else 2
        return 1 if name in known.alone else None
    if text in known.alone:
        return 1
    if text in known.valued:
        return 2
    for place, letter in enumerate(text[1:], 1):
        if "-" + letter in known.valued:
            return 1 if place + 1 < len(text) else 2
        if "-" + letter not in known.alone:
            return None
    return 1


def value_of(words: Sequence[Word], *names: str) -> Word | None:
    """Return the value of an option that stands in the words as one of `names`, in the same word or in the next."""
    for place, word in enumerate(words):
        for name in names:
            if word.text == name:
                return words[place + 1] if place + 1 < len(words) else None
            if name.startswith("--") and word.text.startswith(name + "="):
                return Word(word.text[len(name) + 1 :], word.open, word.names, word.computed)
    return None
