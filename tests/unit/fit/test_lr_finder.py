"""The learning-rate range test."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kilat.fit.lr_finder import find_learning_rate, suggest  # noqa: E402


def test_a_range_test_ends_where_the_loss_diverges(make_trainer):
    reported = []
    found = find_learning_rate(
        make_trainer(fit={"optimizer": "sgd"}), 60, lambda done, total: reported.append((done, total))
    )
    assert reported[0] == (1, 60)
    assert len(found.rates) == len(found.losses) == len(reported)
    assert found.rates[0] == pytest.approx(1e-6)
    assert np.diff(np.log(found.rates)) == pytest.approx(np.log(1e7) / 59)
    assert found.losses[-1] > 4 * min(found.losses) or len(reported) == 60
    assert 1e-4 < found.suggestion < 1.0


def test_torchs_random_generator_is_left_alone(make_trainer):
    before = torch.get_rng_state()
    layers = ["flatten", {"dropout": 0.5}, {"dense": "classes"}]
    find_learning_rate(make_trainer(layers=layers), 20, lambda done, total: None)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_training_gives_the_same_result(make_trainer):
    one, other = (find_learning_rate(make_trainer(augment={"rotation": 20}), 30, lambda *_: None) for _ in range(2))
    assert one == other


def test_the_steepest_descent_is_suggest():
    rates = np.geomspace(1e-6, 10, 50)
    losses = 1 - 0.9 / (1 + np.exp(-4 * (np.log10(rates) + 3))) + np.where(rates > 1, rates, 0)
    assert np.log10(suggest(rates.tolist(), losses.tolist())) == pytest.approx(-3, abs=0.2)


def test_a_loss_that_only_rises_suggests_the_lowest_rate():
    assert suggest([1e-3, 1e-2, 1e-1, 1.0], [1.0, 1.1, 1.5, 9.0]) == 1e-3
