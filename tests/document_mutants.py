"""Mutants of documents: texts that are cut, repeated, spliced and salted; values that are exchanged for odd ones."""

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

TOKENS = (
    *"\0\x1b\u202e\u200b\u2028\x85\ud800\ufeff\t\r\n²é[]{},#|>%@`'\"\\!~", "\u0661", ": ", "- ", "? ", "!!", "&a ",
    "*a", "<<: *a", "<<: [*a, *a, *a]", "---\n", "...\n", "!!binary ", "!!set ", "!!omap ", "!!bool ", "!!timestamp ",
    "!!int ", "!!float ", "!!null ", "!!python/name:os.system ", "!<x> ", "%YAML 9.9\n",
    "0x", "0b", "0o7", "010", "1:30", "1_000", "null", "yes", "no", "on", "true", ".inf", "-.inf", ".nan", "NaN",
    "Infinity", "1e999", "-1", "0", "1e-400", "9" * 30, "9" * 5000, "0x" + "f" * 9000, "1:" * 3000 + "1",
    "2024-13-45", "2024-01-01", "2001-12-14t21:59:43.10-99:99", "a" * 300, "a." * 200, "[" * 300, "{a: " * 120,
    "- " * 300, "(" * 200, "f(" * 100, "-" * 500 + "1", "1/0", "1/1e-320", "9**9**9", "Dense(", "Conv2D(32, 3)",
    "Sequential([Dense(3)])", "Adam(lr=0.1)", "model.add(Dense(1))", "50%", "1.2.3%", "1.2.3,4", "(1, 2)", "[1, 2",
    "'\\d'", "None", "1+2j", "{[]: 1}", "layers", "name", "config", "class_name",
)  # fmt: skip
"""What is put into texts: signs of YAML, JSON and Python, and what their readers have stumbled over."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 10**6, 10**9, 10**12, 10**18, 2**63, 2**64, 10**400, 0.5, -0.0,
    float("nan"), float("inf"), float("-inf"), 1e308, 5e-324, "", " ", "auto", "none", "all", "x", "x" * 5000,
    "x" * 20_000, "\0", "\x1b[2J", "\u202e", "\ud800", "²", "1e999", "9" * 5000, "50%", "1.2.3%", "(1, 2)", "Dense(3)",
    "a.b.c", "1:30", [], [[]], [None], [1, 2], [1] * 300, ["a"] * 25_000, {}, {"name": [1]}, {"name": {}}, {"a": 1},
    {"class_name": "Adam", "config": [1]}, {"class_name": "Conv2D", "config": {"filters": None}},
    {"repeat": {"times": 9}}, {"batch_norm": {"place": {}}}, {"layers": {"layers": []}},
    {"name": "piecewise", "boundaries": "x", "factor": {}},
)  # fmt: skip
"""What takes the place of values, of any document."""

PYTHON_VALUES: tuple[Any, ...] = (
    *VALUES, 10**5000, -(10**5000), {1: 2}, {None: 1}, {(1, 2): 3}, (), (1,), {1, 2}, b"x", 3 + 4j, ..., object,
)  # fmt: skip
"""The same for what is given from Python."""

LETTERS = 0x11000
"""The code points up to here are those of all scripts, surrogates among them."""


def text_mutants(texts: Sequence[str], count: int, seed: int) -> Iterator[str]:
    """Yield mutants of texts, the same for the same seed."""
    draw = random.Random(seed)
    for _number in range(count):
        text = draw.choice(texts)
        for _change in range(draw.choice((1, 1, 1, 2, 3, 6))):
            text = draw.choice(_CHANGES)(text, draw, texts)
        yield text


def _cut(text: str, draw: random.Random, _texts: Sequence[str]) -> str:
    start, end = _part(text, draw)
    return text[:start] + text[end:]


def _end(text: str, draw: random.Random, _texts: Sequence[str]) -> str:
    return text[: draw.randint(0, len(text))]


def _repeat(text: str, draw: random.Random, _texts: Sequence[str]) -> str:
    start, end = _part(text, draw)
    return text[:start] + text[start:end] * draw.choice((2, 3, 50, 500)) + text[end:]


def _splice(text: str, draw: random.Random, texts: Sequence[str]) -> str:
    start, end = _part(text, draw)
    other = draw.choice(texts)
    begin = draw.randint(0, len(other))
    return text[:start] + other[begin : begin + 50] + text[end:]


def _letter(text: str, draw: random.Random, _texts: Sequence[str]) -> str:
    start, end = _part(text, draw)
    return text[:start] + chr(draw.randrange(LETTERS)) + text[end:]


def _word(text: str, draw: random.Random, _texts: Sequence[str]) -> str:
    start, _last = _part(text, draw)
    words = text[start:].split(maxsplit=1)
    return text[:start] + draw.choice(TOKENS) + (" " + words[1] if len(words) > 1 else "")


def _token(text: str, draw: random.Random, _texts: Sequence[str]) -> str:
    start, _last = _part(text, draw)
    return text[:start] + draw.choice(TOKENS) + text[start:]


_CHANGES: tuple[Callable[[str, random.Random, Sequence[str]], str], ...] = (
    _cut, _end, _repeat, _splice, _letter, _word, _token, _token,
)  # fmt: skip


def _part(text: str, draw: random.Random) -> tuple[int, int]:
    """Return where a part of a text begins and ends."""
    start = draw.randint(0, len(text))
    return start, min(len(text), start + draw.choice((0, 1, 2, 5, 20, 100)))


def value_mutants(documents: Sequence[Any], count: int, seed: int, values: Sequence[Any] = VALUES) -> Iterator[Any]:
    """Yield mutants of documents: values exchanged, left out, doubled, and put inside each other."""
    draw = random.Random(seed)
    for _number in range(count):
        document = copy.deepcopy(draw.choice(documents))
        for _change in range(draw.choice((1, 1, 2, 4))):
            _change_inside(document, draw, values)
        yield document


def _change_inside(document: Any, draw: random.Random, values: Sequence[Any]) -> None:
    """Change something in a group or list, at a depth that is drawn."""
    inside = document
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        if not keys:
            return
        key = draw.choice(keys)
        if not isinstance(inside[key], dict | list) or not inside[key] or draw.random() < 0.3:
            break
        inside = inside[key]
    match draw.randrange(6):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[draw.choice((*TOKENS, "name", "size"))] = copy.deepcopy(draw.choice(values))
        case 2 if isinstance(inside, list):
            inside += [inside[key]] * draw.choice((1, 20, 500))
        case 3:
            deep: Any = inside[key]
            for _level in range(draw.choice((1, 5, 90, 2000))):
                deep = [deep] if draw.random() < 0.5 else {"a": deep}
            inside[key] = deep
        case _:
            inside[key] = copy.deepcopy(draw.choice(values))
