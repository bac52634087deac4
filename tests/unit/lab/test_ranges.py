"""Ranges of a search: as they are written, and the values that are drawn from them."""

import pytest

from kilat.errors import RecipeError
from kilat.lab.ranges import Choice, Range, parse_range, ranges_of

optuna = pytest.importorskip("optuna", reason="the extra search is not installed")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=1e-4..1e-1(log)", Range(1e-4, 1e-1, is_log=True, is_whole=False)),
        ("a.b=0..0.5", Range(0, 0.5, is_log=False, is_whole=False)),
        ("a.b= 16 .. 256 (linear)", Range(16, 256, is_log=False, is_whole=True)),
        ("a.b=.5..1.", Range(0.5, 1, is_log=False, is_whole=False)),
        ("a.b=sgd,adam", Choice(("sgd", "adam"))),
        ("a.b=[1, 2],none", Choice(([1, 2], "none"))),
    ],
)
def test_they_are_numbers_or_values(text, values):
    assert parse_range(text) == ("a.b", values)


@pytest.mark.parametrize("text", ["a.b", "a.b=1..", "a.b=2..1", "a.b=0..1(log)", "a.b=1..2(log10)"])
def test_others_are_refused(text):
    with pytest.raises(RecipeError):
        parse_range(text)


def test_an_option_has_one_range():
    assert ranges_of(["a.b=1..2", "a.c=x,y"]) == {"a.b": "1..2", "a.c": "x,y"}
    with pytest.raises(RecipeError, match="varied twice"):
        ranges_of(["a.b=1..2", "a.b=3..4"])


def test_values_lie_in_their_range_and_have_few_digits():
    optuna_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        trial = optuna_study.ask()
        assert 16 <= Range(16, 256, is_log=True, is_whole=True).suggest("whole", trial) <= 256
        drawn = Range(1e-4, 1e-1, is_log=True, is_whole=False).suggest("log", trial)
        assert 1e-4 <= drawn <= 1e-1
        assert len(f"{drawn:e}".rstrip("0").partition("e")[0]) <= len("1.2340000")
        assert Choice(([1, 2], "none")).suggest("choice", trial) in ([1, 2], "none")
