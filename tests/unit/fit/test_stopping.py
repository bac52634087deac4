"""Which epoch was best, and when training stops."""

import math

import pytest

from kilat.fit import stopping
from kilat.recipe.fit import EarlyStopping

LOSSES = [1.0, 0.8, 0.79, 0.9, 0.79, 0.95]


def test_the_best_epoch_is_the_first_of_equals():
    assert stopping.best_epoch(LOSSES, monitor="loss") == 2
    assert stopping.best_epoch(LOSSES, monitor="accuracy") == 0


def test_an_improvement_must_exceed_min_delta():
    assert stopping.best_epoch(LOSSES, monitor="loss", min_delta=0.05) == 1
    found = stopping.improvements([0.5, 0.54, 0.56, 0.6], monitor="accuracy", min_delta=0.05)
    assert found == [True, False, True, False]


def test_an_epoch_that_is_not_finite():
    assert stopping.best_epoch([math.nan, 1.0, 0.5], monitor="loss") == 0
    assert stopping.best_epoch([1.0, math.nan, 0.5], monitor="loss") == 2


@pytest.mark.parametrize(("patience", "epochs"), [(0, 4), (1, 4), (2, 5), (3, 6), (4, None)])
def test_stopping(patience, epochs):
    rule = EarlyStopping(patience=patience)
    stops = [count for count in range(len(LOSSES) + 1) if stopping.should_stop(LOSSES[:count], rule)]
    assert (stops[0] if stops else None) == epochs


def test_stopping_by_accuracy():
    assert not stopping.should_stop([0.1, 0.2, 0.3], EarlyStopping(patience=1, monitor="accuracy"))
    assert stopping.should_stop([0.1, 0.3, 0.2], EarlyStopping(patience=1, monitor="accuracy"))
