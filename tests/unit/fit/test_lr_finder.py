"""The learning-rate range test."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from kilat.fit.lr_finder import analyse, find_learning_rate  # noqa: E402


def test_a_range_test_ends_where_the_loss_diverges(make_trainer):
    reported = []
    found = find_learning_rate(
        make_trainer(fit={"optimizer": "sgd"}), 60, lambda done, total: reported.append((done, total))
    )
    assert reported[0] == (1, 60)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) == len(reported)
    assert found.rates[0] == pytest.approx(1e-6)
    assert np.diff(np.log(found.rates)) == pytest.approx(np.log(1e7) / 59)
    assert np.median(found.losses[-5:]) > 4 * min(found.losses) or len(reported) == 60
    assert 1e-4 < found.suggestion < 1.0


def test_torchs_random_generator_is_left_alone(make_trainer):
    before = torch.get_rng_state()
    layers = ["flatten", {"dropout": 0.5}, {"dense": "classes"}]
    find_learning_rate(make_trainer(layers=layers), 20, lambda done, total: None)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_training_gives_the_same_result(make_trainer):
    one, other = (find_learning_rate(make_trainer(augment={"rotation": 20}), 30, lambda *_: None) for _ in range(2))
    assert one == other


def curve(steps=100, *, noise=0.0, fall=1.6, highest=1.0, seed=0):
    """Rates, and losses that fall from 2.3 in the middle of 1e-4 to 1e-2, and explode from 1 on."""
    x = np.linspace(-6, highest, steps)
    losses = 2.3 - fall / (1 + np.exp(-4 * (x + 3))) + 15 * np.maximum(x, 0) ** 2
    noisy = losses + noise * np.minimum(losses, 2.3) / 2.3 * np.random.default_rng(seed).standard_normal(steps)
    return (10**x).tolist(), noisy.tolist()


@pytest.mark.parametrize("steps", [30, 100, 300])
def test_the_steepest_descent_is_suggested(steps):
    found = analyse(*curve(steps), diverged=False)
    assert np.log10(found.suggestion) == pytest.approx(-3, abs=0.25)
    assert found.reason == ""


@pytest.mark.parametrize("noise", [0.05, 0.15, 0.3])
def test_noise_moves_it_little_whatever_the_batches(noise):
    """All of 50 are within the fall, of which a tenth is over at 10**-3.55 and nine tenths at 10**-2.45."""
    found = [analyse(*curve(noise=noise, seed=seed), diverged=False) for seed in range(50)]
    assert all(-3.55 <= np.log10(each.suggestion) <= -2.45 for each in found)


@pytest.mark.parametrize("noise", [0.6, 1.0])
def test_it_is_right_or_unclear_where_noise_is_a_third_of_the_loss_or_more(noise):
    found = [analyse(*curve(noise=noise, seed=seed), diverged=False) for seed in range(50)]
    assert all(each.suggestion is None or -4 <= np.log10(each.suggestion) <= -2 for each in found)
    assert {each.reason for each in found} <= {"", "no_fall"}


@pytest.mark.parametrize("noise", [0.01, 0.3])
@pytest.mark.parametrize("steps", [10, 30, 100])
def test_noise_alone_is_unclear(noise, steps):
    found = [analyse(*curve(steps, noise=noise, fall=0, highest=0, seed=seed), diverged=False) for seed in range(50)]
    assert {(each.suggestion, each.reason) for each in found} == {(None, "no_fall")}


def test_a_fall_in_the_first_tenth_is_none():
    """The mean of the first batches is low by chance: a smoothed curve that starts with them falls there."""
    rates, losses = curve(noise=0.1)
    losses[:5] = [4.0, 3.4, 2.9, 2.6, 2.4]
    assert np.log10(analyse(rates, losses, diverged=False).suggestion) == pytest.approx(-3, abs=0.5)


def test_a_loss_that_only_rises_is_unclear():
    rates = np.geomspace(1e-6, 10, 50)
    found = analyse(rates.tolist(), (1 + rates).tolist(), diverged=True)
    assert (found.suggestion, found.reason) == (None, "no_fall")


def test_a_loss_that_falls_up_to_the_highest_rate_is_unclear():
    rates, losses = curve(highest=-3)
    found = analyse(rates, losses, diverged=False)
    assert (found.suggestion, found.reason) == (None, "still_falling")
    assert np.log10(analyse(rates, losses, diverged=True).suggestion) == pytest.approx(-3.2, abs=0.3)


def test_one_explosion_hides_no_fall():
    rates, losses = curve(noise=0.05, highest=-1)
    found = analyse([*rates, 0.11, 0.12], [*losses, 1e4, 1e9], diverged=True)
    assert np.log10(found.suggestion) == pytest.approx(-3, abs=0.25)
    assert max(found.smoothed) < 10


def test_a_few_losses_say_nothing():
    assert analyse([1e-3, 1e-2, 1e-1, 1.0], [1.0, 0.9, 1.5, 9.0], diverged=True).suggestion is None
