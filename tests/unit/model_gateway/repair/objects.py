"""Argument objects as tools take them, made from a seed: the same seed gives the same objects."""

import random

WORDS = [
    "Paris",
    "San Jose, CA",
    "it's fine",
    "O'Brien's \"best\" pub",
    'He said "hi", then left',
    "C:\\Users\\new\\table.txt",
    "\\\\server\\share",
    r"^\d{2,3}(?:\.\w+)?$",
    "SELECT name FROM users WHERE city = 'Rome' AND age > 5;",
    "def f(x):\n    return {'a': x, \"b\": [1, 2]}",
    'print("hello, world")',
    "for (let i = 0; i < n; i++) { a[i] = b; }",
    "ann@example.org",
    "https://example.org/a?b=1&c={d}#e",
    "naïve café ☕",
    "日本語、テスト",
    "",
    "  padded  ",
    "true",
    "null",
    "123",
    "2026-10-02",
    "10:30",
    "one\ttwo",
    "one\r\ntwo\nthree",
    '{"inner": "json"}',
    "[1, 2, 3]",
    "a, b, c",
    "key: value",
    "// no comment",
    "# Heading\n\nText",
    "<b>bold</b>",
    "```py\nprint(1)\n```",
    "100 %",
    "$5,000.00",
    "and/or",
    "Doe, John",
    "Mr. & Mrs. Smith",
    "The quick brown fox jumps over the lazy dog.",
    "alpha; beta",
    "x = {y: 1}",
]
KEYS = ["city", "name", "unit", "max_results", "Content-Type", "user.id", "$filter", "query", "items", "with space"]
NUMBERS: list[object] = [0, 1, -5, 3.14, 1e10, -2.5e-3, 10**20, True, False, None]


def objects(seed: int, count: int) -> list[dict[str, object]]:
    """Return `count` objects."""
    chance = random.Random(seed)
    return [{key: _value(chance, 2) for key in chance.sample(KEYS, chance.randint(0, 5))} for _ in range(count)]


def _value(chance: random.Random, depth: int) -> object:
    drawn = chance.random()
    if depth and drawn < 0.12:
        return {key: _value(chance, depth - 1) for key in chance.sample(KEYS, chance.randint(0, 3))}
    if depth and drawn < 0.25:
        return [_value(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    return chance.choice(WORDS) if drawn < 0.75 else chance.choice(NUMBERS)
