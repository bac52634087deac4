"""Ways to train, compared over several trials on the same pictures: effects with intervals that count both chances.

A trial trains every way on the same pictures and asks it about the same held-out ones. What is estimated is the
expected difference of two ways to train, on new pictures of the same source and with new seeds, at the size of the
training set that the trials have. Two chances stand between it and what was measured:

- which pictures there are, counted by groups of near-duplicates, which are no independent witnesses;
- what differs from trial to trial: the split, the order and the first weights. Trials share most of their training
  pictures, so their mean varies more than their spread shows. That is corrected as by Nadeau and Bengio (2003,
  "Inference for the generalization error", Machine Learning 52), which Bouckaert and Frank (2004, PAKDD) found to hold
  for repeated cross-validation as well.

The variance is that of a mean whose terms are clustered by group and by trial (Cameron, Gelbach and Miller 2011,
"Robust inference with multiway clustering"), the part of the trials with that correction; degrees of freedom are
Satterthwaite's. The interval is a bootstrap's over groups (BCa, Efron 1987), widened by what the trials add.
``benchmarks/lab_intervals.py`` measures how often such intervals hold the truth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from kilat.evaluate.metrics import Z95
from kilat.runtime.array_types import Doubles, Ints

RESAMPLES = 2_000
"""Of the groups, for the bootstrap."""

MOST_BLOCKS = 400
"""More groups are resampled in so many blocks: the mean of so many hardly leans to a side, and the time stays short."""

_CERTAIN = 1 / 3
"""At least so much of the variance between trials counts in the degrees of freedom: of 400 labs of two equals (300
digits, 5 seeds) 5.0% find something, where 6.8% did, of 240 labs of five equals 4.6%, where 8.3% did."""

_ROUNDING = 1e-9

POWER = 0.8
"""How likely an effect as large as the measured one shall show, where it is said what that takes."""


@dataclass(frozen=True, eq=False)
class TrialDifferences:
    """How much more one way to train has than another, answer by answer; a row is a picture held out in a trial.

    Args:
        values: the differences, ``[m]``.
        trials: which trial each is of, from 0, ``[m]``.
        groups: which group of near-duplicates each picture is of, from 0, ``[m]``.
        held_out_ratio: how many pictures a trial holds out for each that it trains on.
        is_share: whether values are differences of right and wrong, which are -1, 0 or 1.
    """

    values: Doubles
    trials: Ints
    groups: Ints
    held_out_ratio: float
    is_share: bool = False


class Variance(NamedTuple):
    """The variance of a mean difference over trials, by where it comes from.

    Args:
        groups: by which pictures there are.
        lasting: the part of ``groups`` that stays however many trials there are.
        spread: by what differs from trial to trial, as if trials shared nothing.
        overlap: what sharing their training pictures adds to ``spread``.
        degrees: of freedom of the sum.
    """

    groups: float
    lasting: float
    spread: float
    overlap: float
    degrees: float

    @property
    def error(self) -> float:
        """The standard error of the mean difference."""
        return math.sqrt(self.groups + self.spread + self.overlap)


class Effect(NamedTuple):
    """A mean difference over trials; what a single trial or a single group cannot tell is None.

    Args:
        value: the mean difference.
        interval: its 95% interval.
        p_value: two-sided, of the corrected t-test.
        positive: the probability that the difference is above zero (Corani and Benavoli 2015, "A Bayesian approach for
            comparing cross-validated algorithms": the posterior of the same test, without prior knowledge).
        variance: behind them.
    """

    value: float
    interval: tuple[float, float] | None
    p_value: float | None
    positive: float | None
    variance: Variance | None


class Need(NamedTuple):
    """What it would take to tell an effect of the measured size, four times in five; None where that does not suffice.

    Args:
        trials: how many times as many, on the same pictures.
        pictures: how many times as many, with as many trials.
        both: how many times as many trials and pictures.
    """

    trials: float | None
    pictures: float | None
    both: float | None


def effect(differences: TrialDifferences) -> Effect:
    """Estimate the expected difference of two ways to train.

    Two groups more are counted in the interval of a share, one in favour of either, that differ as much as groups do
    (as Bonett and Price 2012 do for two answers a picture): no spread at all among few differing pictures would say
    that no difference is possible.
    """
    from scipy import stats

    value = float(differences.values.mean())
    if value < 0:
        return _mirrored(effect(replace(differences, values=-differences.values)))
    if not differences.is_share and not differences.values.any():
        return Effect(value, None, 1.0, 0.5, None)
    sums, counts = _by_group(differences)
    trials = len(np.unique(differences.trials))
    if trials < 2 or len(sums) < 2 or (np.ptp(differences.values) == 0 and not differences.is_share):
        return Effect(value, None, None, None, None)
    variance = _variance(differences, sums, counts, trials)
    middle, error = float(sums.sum() / counts.sum()), variance.error
    if error <= _ROUNDING * float(np.abs(differences.values).max()):
        return Effect(value, None, None, None, variance)
    statistic, t = middle / error, stats.t(variance.degrees)
    low, high = middle - Z95 * error, middle + Z95 * error
    if variance.groups:
        # Resamples vary less than fresh groups would, as a variance that is divided by n instead of n - 1.
        widening = error / math.sqrt(variance.groups * (1 - 1 / len(sums)))
        low, high = (middle + (end - middle) * widening for end in _bootstrap(sums, counts))
    wider = float(t.ppf(0.975)) / Z95
    interval = middle + (low - middle) * wider, middle + (high - middle) * wider
    if differences.is_share:
        interval = max(-1.0, interval[0]), min(1.0, interval[1])
    return Effect(value, interval, float(2 * t.sf(abs(statistic))), float(t.cdf(statistic)), variance)


def need(found: Effect, level: float = 0.05) -> Need:
    """Return what it would take to tell an effect of the measured size; nothing does where there is none.

    Args:
        found: the effect.
        level: the p-value up to which it counts as told.
    """
    from scipy.stats import norm

    variance = found.variance
    if variance is None or found.value == 0:
        return Need(None, None, None)
    allowed = (found.value / (norm.isf(level / 2) + norm.ppf(POWER))) ** 2
    room, spare = allowed - variance.lasting - variance.overlap, allowed - variance.spread
    return Need(
        (variance.groups - variance.lasting + variance.spread) / room if room > 0 else None,
        (variance.groups + variance.overlap) / spare if spare > 0 else None,
        variance.error**2 / allowed,
    )


def adjust(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted so that one in twenty of the effects found is none at most (Benjamini, Hochberg 1995).

    Args:
        p_values: of a family of tests; None, which stays, for those that could not be made.
    """
    from scipy.stats import false_discovery_control

    made = [value for value in p_values if value is not None]
    adjusted = iter(false_discovery_control(made).tolist() if made else [])
    return [None if value is None else next(adjusted) for value in p_values]


def _mirrored(found: Effect) -> Effect:
    """Return the effect of the first over the second instead; resamples are drawn for one of the two alone."""
    interval = None if found.interval is None else (-found.interval[1], -found.interval[0])
    positive = None if found.positive is None else 1 - found.positive
    return found._replace(value=-found.value, interval=interval, positive=positive)


def _by_group(differences: TrialDifferences) -> tuple[Doubles, Doubles]:
    """Return the sum of the differences of every group, and how many they are, with the two groups more of a share."""
    counts = np.bincount(differences.groups).astype(np.float64)
    sums = np.bincount(differences.groups, differences.values).astype(np.float64)
    sums, counts = sums[counts > 0], counts[counts > 0]
    if differences.is_share:
        differing, size = np.abs(sums[sums != 0]), counts.mean()
        gain = differing.mean() if len(differing) else size
        sums, counts = np.append(sums, [gain, -gain]), np.append(counts, [size, size])
    return sums, counts


def _variance(differences: TrialDifferences, sums: Doubles, counts: Doubles, trials: int) -> Variance:
    """Return the variance of the mean difference, and what it is made of."""
    n, middle = counts.sum(), sums.sum() / counts.sum()
    residuals = differences.values - middle
    cells = differences.groups * (int(differences.trials.max()) + 1) + differences.trials
    by_group, by_trial, by_cell = (
        float((np.bincount(clusters, residuals) ** 2).sum())
        for clusters in (differences.groups, differences.trials, cells)
    )
    groups = float(((sums - middle * counts) ** 2).sum() / n**2 * len(sums) / (len(sums) - 1))
    between = by_trial / n**2 * trials / (trials - 1)
    spread = max(0.0, between - by_cell / n**2)
    shared = 1 + trials * differences.held_out_ratio
    # What answers about one group in several trials have in common, more trials do not average away.
    group_sizes, cell_sizes = (np.bincount(clusters).astype(np.float64) for clusters in (differences.groups, cells))
    squares = float((group_sizes**2).sum())
    pairs = squares - float((cell_sizes**2).sum())
    in_common = (by_group - by_cell) / pairs * squares / len(residuals) ** 2 if pairs else groups
    lasting = min(groups, max(0.0, in_common))
    # A spread that comes out as nothing, as half of them do where there is none, is no more certain than others.
    uncertain = groups**2 / (len(sums) - 1) + (shared * max(spread, _CERTAIN * between)) ** 2 / (trials - 1)
    degrees = (groups + shared * spread) ** 2 / uncertain if uncertain else math.inf
    return Variance(groups, lasting, spread, (shared - 1) * spread, max(degrees, trials - 1))


def _bootstrap(sums: Doubles, counts: Doubles) -> tuple[float, float]:
    """Return the 95% interval of the mean difference over the groups alone."""
    from scipy.stats import bootstrap

    generator = np.random.default_rng(0)
    if len(sums) > MOST_BLOCKS:
        block = generator.permutation(len(sums)) % MOST_BLOCKS
        sums, counts = (np.bincount(block, values).astype(np.float64) for values in (sums, counts))
    middle = sums.sum() / counts.sum()
    # What every group adds to the mean of a ratio; their own mean is that ratio.
    shares = middle + (sums - middle * counts) / counts.mean()
    if np.ptp(shares) == 0:
        return float(middle), float(middle)
    interval = bootstrap(
        (shares,), np.mean, n_resamples=RESAMPLES, vectorized=True, axis=-1, rng=generator
    ).confidence_interval
    return float(interval.low), float(interval.high)
