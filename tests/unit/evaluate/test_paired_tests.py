"""Paired tests against SciPy, against figures of statsmodels 0.14, and against the coverage that intervals promise."""

import numpy as np
import pytest
from scipy.stats import bootstrap, multinomial

from kilat.evaluate.paired_tests import (
    RESAMPLES,
    accuracy_difference,
    compare_answers,
    holm,
    mcnemar,
    mean_difference,
)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [(10, 5, 0.30175781249999994), (0, 6, 0.03125), (30, 12, 0.007915897334896727), (7, 7, 1.0), (0, 0, 1.0)],
)
def test_mcnemars_exact_test_is_that_of_statsmodels(only_first, only_second, p_value):
    assert mcnemar(only_first, only_second) == pytest.approx(p_value, rel=1e-12)
    assert mcnemar(only_second, only_first) == pytest.approx(p_value, rel=1e-12)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.2, 0.001, 0.04, 0.04, 0.9], [0.4, 0.005, 0.16, 0.16, 0.9]),
        ([0.4], [0.4]),
        ([], []),
    ],
)
def test_holms_adjustment_is_that_of_statsmodels(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted)


def test_the_interval_of_a_mean_is_scipys_bootstrap():
    differences = np.random.default_rng(1).standard_exponential(60) - 0.7
    found = mean_difference(differences)
    settings = {"n_resamples": RESAMPLES, "method": "percentile", "random_state": np.random.default_rng(0)}
    expected = bootstrap((differences,), np.mean, **settings).confidence_interval
    assert found.value == pytest.approx(differences.mean())
    assert found.interval == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("first", "second"), [(0.1, 0.05), (0.02, 0.02), (0.3, 0.1)])
def test_the_interval_of_an_accuracy_holds_the_truth_as_often_as_it_promises(first, second):
    n, covered = 30, 0.0
    for only_first in range(n + 1):
        for only_second in range(n + 1 - only_first):
            low, high = accuracy_difference(only_first, only_second, n).interval
            if low <= second - first <= high:
                counts = [only_first, only_second, n - only_first - only_second]
                covered += multinomial.pmf(counts, n, [first, second, 1 - first - second])
    assert covered > 0.945


def test_two_that_always_agree_may_still_differ():
    difference = accuracy_difference(0, 0, 100)
    assert difference.value == 0
    assert difference.interval == pytest.approx((-0.0272, 0.0272), abs=1e-4)


def test_two_classifiers_on_the_same_pictures():
    first, second = np.array([True, True, False, True]), np.array([True, False, True, True])
    found = compare_answers((first, second), (np.array([0.9, 0.8, 0.1, 0.5]), np.array([0.9, 0.2, 0.7, 1.0])))
    assert (found.n, found.only_first, found.only_second, found.accuracy.value, found.p_value) == (4, 1, 1, 0, 1)
    expected = np.log([0.9, 0.8, 0.1, 0.5]).mean() - np.log([0.9, 0.2, 0.7, 1.0]).mean()
    assert found.log_loss.value == pytest.approx(expected)
    exchanged = compare_answers((second, first), (np.array([0.9, 0.2, 0.7, 1.0]), np.array([0.9, 0.8, 0.1, 0.5])))
    assert exchanged.log_loss.value == pytest.approx(-expected)
