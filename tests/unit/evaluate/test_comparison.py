"""A challenger wins only where it is better by more than noise."""

import numpy as np
import pytest
from scipy import stats

from kilat.evaluate.comparison import NOISE, compare


def predictions(n, signal, seed):
    """Logits of three classes that say more of the truth the larger the signal is."""
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(0).integers(0, 3, n)
    return truth, (random.normal(size=(n, 3)) + signal * np.eye(3)[truth]).astype(np.float32)


def test_clearly_better_and_clearly_worse():
    truth, weak = predictions(400, 1.0, 1)
    _, strong = predictions(400, 3.0, 2)
    assert compare(truth, weak, strong).is_better
    assert not compare(truth, strong, weak).is_better
    found = compare(truth, weak, strong)
    assert found.accuracy_before == pytest.approx((weak.argmax(1) == truth).mean())
    assert found.accuracy_after == pytest.approx((strong.argmax(1) == truth).mean())


def test_the_same_answers_are_no_gain_however_confident():
    truth, logits = predictions(300, 2.0, 1)
    found = compare(truth, logits, 7 * logits)
    assert abs(found.log_loss_gain) < 1e-5
    assert not found.is_better


def test_equal_ones_win_about_as_often_as_noise_does():
    truth = predictions(300, 2.0, 0)[0]
    wins = [
        compare(truth, predictions(300, 2.0, 2 * i + 1)[1], predictions(300, 2.0, 2 * i + 2)[1]).is_better
        for i in range(300)
    ]
    expected = stats.norm.sf(NOISE)
    assert sum(wins) / 300 == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 300))


def test_one_picture_proves_nothing():
    truth, logits = predictions(1, 1.0, 1)
    assert not compare(truth, logits, logits + 5 * np.eye(3, dtype=np.float32)[truth]).is_better
