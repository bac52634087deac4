"""Effects over trials: variance against double sums, the corrected t-test, and what must hold of any of them."""

import numpy as np
import pytest
from scipy import stats

from kilat.evaluate.paired_trials import TrialDifferences, adjust, effect, need

RATIO = 0.25


def drawn(seed=0, trials=5, pictures=60, held_out=12, trial_spread=0.1, picture_spread=0.3, shift=0.0):
    """Differences that vary from picture to picture, from trial to trial and by themselves."""
    generator = np.random.default_rng(seed)
    of_picture = picture_spread * generator.normal(size=pictures)
    rows = [generator.permutation(pictures)[:held_out] for _ in range(trials)]
    of_trial = trial_spread * generator.normal(size=trials)
    values = [shift + of_trial[j] + of_picture[row] + 0.1 * generator.normal(size=held_out)
              for j, row in enumerate(rows)]  # fmt: skip
    return TrialDifferences(np.concatenate(values), np.repeat(np.arange(trials), held_out), np.concatenate(rows), RATIO)


@pytest.mark.parametrize("seed", range(3))
def test_variance_is_that_of_a_mean_clustered_in_two_ways(seed):
    given = drawn(seed)
    residuals = given.values - given.values.mean()
    products = np.outer(residuals, residuals) / len(residuals) ** 2
    same_group = given.groups[:, None] == given.groups
    same_trial = given.trials[:, None] == given.trials
    groups, trials = len(np.unique(given.groups)), len(np.unique(given.trials))
    by_group = products[same_group].sum() * groups / (groups - 1)
    by_trial = products[same_trial].sum() * trials / (trials - 1)
    spread = max(0, by_trial - products[same_group & same_trial].sum())
    found = effect(given).variance
    assert found.groups == pytest.approx(by_group)
    assert found.spread == pytest.approx(spread)
    assert found.overlap == pytest.approx(spread * trials * RATIO)
    assert 0 <= found.lasting <= found.groups


def test_where_only_trials_vary_it_is_the_corrected_t_test():
    trials, held_out = 6, 4000
    of_trial = np.array([0.5, 0.1, 0.3, -0.2, 0.4, 0.2])
    each = np.repeat(np.arange(trials), held_out)
    found = effect(TrialDifferences(of_trial[each], each, np.arange(trials * held_out), RATIO))
    error = np.sqrt(of_trial.var(ddof=1) * (1 / trials + RATIO))  # Nadeau and Bengio 2003
    t = of_trial.mean() / error
    assert found.variance.error == pytest.approx(error, rel=1e-3)
    assert found.p_value == pytest.approx(2 * stats.t.sf(t, trials - 1), rel=1e-2)
    assert found.positive == pytest.approx(stats.t.cdf(t, trials - 1), rel=1e-3)
    width = found.interval[1] - found.interval[0]
    assert width == pytest.approx(2 * stats.t.ppf(0.975, trials - 1) * error, rel=0.1)  # drawn resamples


@pytest.mark.parametrize("is_share", [False, True])
def test_exchanging_the_two_mirrors_everything(is_share):
    values = drawn(1).values
    given = TrialDifferences(np.sign(values.round(1)) if is_share else values, *_where(drawn(1)), is_share)
    there, back = effect(given), effect(TrialDifferences(-given.values, *_where(given), is_share))
    assert back.value == -there.value
    assert back.p_value == pytest.approx(there.p_value)
    assert back.positive == pytest.approx(1 - there.positive)
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]))


def _where(given):
    return given.trials, given.groups, given.held_out_ratio


def test_near_duplicates_are_no_further_witnesses():
    once = drawn(2)
    twice = TrialDifferences(np.tile(once.values, 2), np.tile(once.trials, 2), np.tile(once.groups, 2), RATIO)
    apart = TrialDifferences(twice.values, twice.trials, np.r_[once.groups, once.groups + 1000], RATIO)
    assert effect(twice).variance.error == pytest.approx(effect(once).variance.error)
    assert effect(twice).interval == pytest.approx(effect(once).interval)
    assert effect(apart).variance.groups < 0.6 * effect(twice).variance.groups


def test_more_trials_and_more_pictures_narrow_the_interval():
    def width(**options):
        ends = [effect(drawn(seed, **options)).interval for seed in range(5)]
        return np.mean([high - low for low, high in ends])

    assert width(trials=20) < 0.8 * width(trials=5)
    assert width(pictures=600, held_out=120, trial_spread=0) < 0.5 * width(trial_spread=0)


def test_the_interval_lies_where_the_shift_is():
    base, shifted = effect(drawn(3)), effect(drawn(3, shift=2.0))
    assert shifted.value == pytest.approx(base.value + 2)
    assert shifted.interval == pytest.approx((base.interval[0] + 2, base.interval[1] + 2))
    assert shifted.p_value < 1e-4
    assert shifted.positive > 0.999


def test_no_differences_are_no_proof_of_none():
    zero = TrialDifferences(np.zeros(60), *_where(drawn()), is_share=True)
    found = effect(zero)
    assert (found.value, found.p_value, found.positive) == (0, pytest.approx(1), pytest.approx(0.5))
    low, high = found.interval
    assert low < 0 < high
    assert high < 0.2
    # Of log losses nothing says how large a difference elsewhere could be.
    assert effect(TrialDifferences(np.zeros(60), *_where(drawn())))[:4] == (0, None, 1, 0.5)


def test_one_trial_or_one_group_tells_nothing_of_chance():
    values = np.array([0.1, 0.4, -0.2])
    one_trial = effect(TrialDifferences(values, np.zeros(3, int), np.arange(3), RATIO))
    one_group = effect(TrialDifferences(values, np.arange(3), np.zeros(3, int), RATIO))
    for found in (one_trial, one_group):
        assert found.value == pytest.approx(0.1)
        assert found[1:] == (None, None, None, None)


def test_differences_without_any_spread_have_no_interval():
    found = effect(TrialDifferences(np.full(60, 0.3), *_where(drawn())))
    assert (found.value, found.interval, found.p_value) == (pytest.approx(0.3), None, None)


@pytest.mark.parametrize("seed", range(40))
def test_few_answers_of_any_kind_give_numbers_or_none(seed):
    generator = np.random.default_rng(seed)
    n, is_share = generator.integers(1, 9), bool(seed % 2)
    values = generator.choice([-1.0, 0.0, 0.0, 1.0], n) if is_share else generator.choice([0.0, 0.3, 5.0], n)
    where = generator.integers(0, 4, n), generator.integers(0, 6, n), RATIO
    found = effect(TrialDifferences(values, *where, is_share))
    if found.interval is not None:
        low, high = found.interval
        assert np.isfinite([low, high]).all()
        assert low <= high
        assert 0 <= found.p_value <= 1


def test_shares_stay_shares():
    values = np.ones(8)
    found = effect(TrialDifferences(values, np.arange(8) % 2, np.arange(8), 1.0, is_share=True))
    assert found.interval[1] == 1
    assert found.interval[0] >= -1


def test_what_it_takes_leaves_as_much_variance_as_tells():
    found = effect(drawn(4, shift=0.05))
    needed, variance = need(found), found.variance
    allowed = (found.value / (stats.norm.ppf(0.975) + stats.norm.ppf(0.8))) ** 2
    assert variance.error**2 / needed.both == pytest.approx(allowed)
    if needed.trials is not None:
        passing = variance.groups - variance.lasting + variance.spread
        assert variance.lasting + variance.overlap + passing / needed.trials == pytest.approx(allowed)
    if needed.pictures is not None:
        assert variance.spread + (variance.groups + variance.overlap) / needed.pictures == pytest.approx(allowed)
    assert need(found, level=0.01).both > needed.both
    assert need(effect(TrialDifferences(np.zeros(60), *_where(drawn()), is_share=True))) == (None, None, None)


def test_p_values_are_adjusted_for_how_many_there_are():
    assert adjust([0.01, None, 0.04, 0.5]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.5)]
    assert adjust([None]) == [None]
    assert adjust([]) == []
