"""The temperature against SciPy, planted temperatures and the limits of its range."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from kilat.evaluate.calibration import apply_temperature, fit_temperature


def drawn(n, k, temperature, seed=0):
    """Logits, and labels drawn from their softmax at this temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, k)) * 3
    cumulative = softmax(logits / temperature, axis=1).cumsum(axis=1)
    return logits.astype(np.float32), (random.random((n, 1)) > cumulative[:, :-1]).sum(axis=1)


def loss(logits, truth, temperature):
    scores = log_softmax(logits.astype(float) / temperature, axis=1)
    return -scores[np.arange(len(truth)), truth].mean()


@pytest.mark.parametrize("planted", [0.3, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("k", [2, 10])
def test_a_planted_temperature_is_found(planted, k):
    assert fit_temperature(*drawn(20_000, k, planted)) == pytest.approx(planted, rel=0.1)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("n", "k"), [(5, 2), (30, 3), (300, 20)])
def test_the_temperature_is_scipys_and_its_loss_never_above_that_of_one(n, k, seed):
    logits, truth = drawn(n, k, temperature=1.7, seed=seed)
    got = fit_temperature(logits, truth)
    best = minimize_scalar(
        lambda u: loss(logits, truth, np.exp(u)), bounds=(np.log(0.05), np.log(20)), options={"xatol": 1e-9}
    )
    assert loss(logits, truth, got) <= loss(logits, truth, 1) + 1e-12
    if (logits.argmax(1) != truth).any():  # else the lowest loss is no measure, and Laplace's rule decides
        assert loss(logits, truth, got) <= best.fun + 1e-12
    assert 0.05 <= got <= 20


def test_scaled_logits_scale_the_temperature_and_shifted_or_permuted_ones_leave_it():
    logits, truth = drawn(3000, 5, 2)
    got = fit_temperature(logits, truth)
    assert fit_temperature(logits * 4, truth) == pytest.approx(4 * got, rel=1e-9)
    shifts = np.arange(3000)[:, None] * 7.0
    assert fit_temperature(logits.astype(float) + shifts, truth) == pytest.approx(got, rel=1e-9)
    order = np.array([3, 1, 4, 0, 2])
    assert fit_temperature(logits[:, order], np.argsort(order)[truth]) == pytest.approx(got, rel=1e-9)


def test_the_range_ends_what_the_data_leave_open():
    truth = np.array([0, 1, 2])
    one_hot = np.eye(3)
    assert fit_temperature(-one_hot, truth) == 20
    assert fit_temperature(one_hot * 1e-3, truth) == pytest.approx(0.05)


def test_answers_that_are_all_right_are_believed_by_laplaces_rule_of_succession():
    for count in (1, 3, 100):
        truth = np.arange(count) % 3
        one_hot = np.eye(3)[truth]
        temperature = fit_temperature(one_hot, truth)
        assert apply_temperature(one_hot, temperature).max(axis=1).mean() == pytest.approx(
            (count + 1) / (count + 2), abs=1e-6
        )
        assert fit_temperature(one_hot * 100, truth) == 1


@pytest.mark.parametrize(
    ("logits", "truth"),
    [(np.zeros((0, 3)), []), (np.full((4, 3), 2.5), [0, 1, 2, 0]), (np.ones((2, 1)), [0, 0])],
    ids=["no pictures", "equal logits", "one class"],
)
def test_where_the_loss_does_not_depend_on_it_the_temperature_is_one(logits, truth):
    assert fit_temperature(logits, np.array(truth, int)) == 1


def test_large_logits_with_a_mistake_stay_in_range():
    logits = np.array([[1e6, 0], [0, 1e6], [1e6, 0]], np.float32)
    assert fit_temperature(logits, np.array([0, 1, 1])) == 20


def test_softened_logits_are_scipys_softmax_in_float32():
    logits, _ = drawn(5000, 6, 1)
    got = apply_temperature(logits, 1.8)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, softmax(logits.astype(float) / 1.8, axis=1), rtol=1e-6)
    assert apply_temperature(np.zeros((0, 6)), 2).shape == (0, 6)


@pytest.mark.parametrize("temperature", [0.05, 1, 20])
def test_the_top_label_never_changes(temperature):
    logits, _ = drawn(4000, 8, 1)
    assert (apply_temperature(logits, temperature).argmax(1) == logits.argmax(1)).all()


@pytest.mark.parametrize("size", [1e3, 1e6, 1e38])
def test_large_logits_do_not_overflow(size):
    with np.errstate(over="raise", invalid="raise"):
        got = apply_temperature(np.array([[size, -size], [size, size]], np.float32), 0.05)
    np.testing.assert_array_equal(got, [[1, 0], [0.5, 0.5]])


def any_case(seed):
    """Logits and labels as they may come: few or many, tied, saturated, shifted, useless, of one class."""
    random = np.random.default_rng(seed)
    n, k = int(random.integers(1, 120)), int(random.integers(1, 9))
    logits = random.normal(size=(n, k)) * 10.0 ** random.uniform(-3, 3) + random.choice([0.0, 1e4])
    if random.random() < 0.3:
        logits = logits.round()
    truth = random.integers(k, size=n)
    is_informative = random.random(n) < random.random()
    truth[is_informative] = logits[is_informative].argmax(axis=1)
    return logits.astype(np.float32), truth


@pytest.mark.parametrize("seed", range(60))
def test_in_any_case_the_loss_is_no_worse_and_the_top_label_the_same(seed):
    logits, truth = any_case(seed)
    temperature = fit_temperature(logits, truth)
    assert loss(logits, truth, temperature) <= loss(logits, truth, 1) + 1e-12
    before, after = apply_temperature(logits, 1), apply_temperature(logits, temperature)
    assert (after.argmax(1) == before.argmax(1)).all()
    top = np.arange(len(truth)), logits.argmax(1)
    assert (after[top] == after.max(axis=1)).all()
