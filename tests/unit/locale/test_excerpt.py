"""Excerpts: the first characters of any value, whatever it holds, on one line."""

from typing import Any

import pytest

from kilat.locale.excerpt import MOST_CHARACTERS, excerpt, shortened


@pytest.mark.parametrize(
    "value",
    [1, -0.5, True, None, "it's", "a\nb", b"x", [1, [2, "c"]], (1,), (1, 2), (), {"a": [1], 2: None}, {3}, 1 + 2j, ...],
)
def test_what_is_short_is_written_as_python_writes_it(value: Any) -> None:
    assert excerpt(value) == repr(value)


def test_of_a_long_one_the_first_characters_are_shown() -> None:
    assert excerpt(list(range(10**6))).startswith("[0, 1, 2, ")
    assert excerpt("x" * 10**6) == f"'{'x' * (MOST_CHARACTERS - 1)}…"
    assert excerpt(10**10_000) == "10**10000"
    assert excerpt(-(10**10_000)) == "-10**10000"


def test_what_contains_itself_costs_no_more_than_what_is_shown() -> None:
    inside: list[Any] = [1]
    inside.append(inside)
    assert excerpt(inside, 12) == "[1, [1, [1,…"
    shared: list[Any] = [0] * 9
    for _level in range(40):
        shared = [shared] * 9
    assert excerpt(shared).startswith("[[[[")


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\u202egnp.exe", "a\u2028b", "\ud800"])
def test_nothing_that_a_terminal_obeys_is_left(hostile: str) -> None:
    for shown in (excerpt(hostile), excerpt({hostile: [hostile]}), shortened(hostile), shortened(hostile * 100)):
        assert shown.isprintable()


def test_texts_are_cut_without_quotes() -> None:
    assert shortened("fit.epochs") == "fit.epochs"
    assert shortened("ab" * 3, 4) == "abab…"
