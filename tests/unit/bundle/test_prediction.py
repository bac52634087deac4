"""Predictions in words: the classes that are named, and the unknown beside the nearest class."""

import pytest

from kilat.bundle.prediction import Prediction, answer, likely_classes, sentence


def prediction(*, unknown: bool = False) -> Prediction:
    probabilities = {"daisy": 0.02, "rose": 0.53, "tulip": 0.445, "oak": 0.005}
    return Prediction("a.jpg", "rose", 0.53, probabilities, ["rose", "tulip"], unknown)


@pytest.mark.parametrize(
    ("top", "has_sets", "names"),
    [
        (None, True, ["rose", "tulip"]),  # the prediction set
        (None, False, ["rose", "tulip", "daisy"]),  # those with 1% at least
        (1, True, ["rose"]),
        (9, True, ["rose", "tulip", "daisy", "oak"]),
    ],
)
def test_the_classes_worth_naming_come_with_their_probabilities(
    top: int | None, has_sets: bool, names: list[str]
) -> None:
    found = likely_classes(prediction(), top, has_sets=has_sets)
    assert [name for name, _probability in found] == names
    assert dict(found).items() <= prediction().probabilities.items()


def test_a_set_reads_as_alternatives_and_a_ranking_as_a_list() -> None:
    assert sentence(prediction()) == "rose 53.0% or tulip 44.5%"
    assert sentence(prediction(), 3) == "rose 53.0%, tulip 44.5%, daisy 2.0%"
    assert sentence(prediction(), 1) == "rose 53.0%"


def test_unknown_is_one_fact_and_the_class_that_it_would_be_another() -> None:
    """What a picture is like is no answer: its probability holds only where it is one of the classes at all."""
    assert answer(prediction(unknown=True)) == "none of these"
    assert sentence(prediction(unknown=True)) == (
        "none of these (unlike the training pictures; if it is one of the classes, rose 53.0%)"
    )
    assert sentence(prediction(unknown=True), 2).endswith("if it is one of the classes, rose 53.0%, tulip 44.5%)")
