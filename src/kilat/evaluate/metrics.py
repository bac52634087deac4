"""Metrics of a classifier's predictions, with 95% intervals, as plain numbers that JSON can hold.

NumPy alone: the tests compare every number with scikit-learn and SciPy, whose import would cost more than the work.
Everything is summed in double precision over blocks of rows and divided once, so neither the order nor the size of
batches matters, and 50,000 rows of 1,000 classes need no second copy of the probabilities.

Shares are in 0..1, intervals are ``[low, high]`` at 95%. What is undefined is None (with n = 0, every share, loss and
interval), never NaN.

- ``n``; ``accuracy`` with its Wilson interval; ``balanced_accuracy``, the mean recall of the classes that occur in
  ``truth``, with the interval of `mean_share_interval`.
- ``log_loss``: mean of -ln(probability of the true class), that probability being at least 1.2e-7 (the float32
  epsilon, as in scikit-learn). ``brier``: mean over pictures of the squared distance to the one-hot truth, summed over
  all classes (Brier 1950), so in 0..2 for two classes as well.
- ``ece``: expected calibration error over 15 equal-width bins (low, high] of the top probability (Guo et al. 2017,
  arXiv 1706.04599) with the interval of `calibration_interval`; ``reliability``: those of the bins that hold pictures.
  ``adaptive_ece``: the same over 15 bins of equally many pictures (Nguyen and O'Connor 2015, Nixon et al. 2019, arXiv
  1904.01685); a picture on an edge counts in both bins with its parts, and equal probabilities as one, so the order of
  the pictures does not matter.
- ``top_k``: share with the true class among the k likeliest, for k of 3 and 5 below the number of classes.
- ``majority``: the commonest class and the accuracy of always predicting it.
- ``confusion``: counts, rows true, columns predicted. ``per_class``: precision is None for a class that is never
  predicted, recall for one that never occurs, F1 for one that does neither. ``brier``, ``ece`` and ``reliability`` of
  a class are those of the question whether a picture is of it, over all n pictures (one against the rest; Kull et al.
  2019, arXiv 1910.12656): the squared error, whose sum over the classes is ``brier`` above, and the gap between the
  probability of the class and the share that are of it, over 15 equal-width bins. ``reliability`` of single classes is
  left out for more than 100 classes.
- ``uncalibrated``: ``log_loss``, ``brier``, the calibration errors, ``reliability``, and ``per_class`` with ``brier``,
  ``ece`` and ``reliability``.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kilat.runtime.array_types import Doubles, Ints

Z95 = 1.959963984540054  # the standard normal's 97.5% quantile
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
BINS = 15
EDGES = np.arange(BINS + 1) / BINS
MOST_DRAWN = 100
TOP_K = (3, 5)
ROWS_PER_BLOCK = 2048


class _Rows(NamedTuple):
    """What the metrics need of each of n pictures; every array is [n]."""

    truth: Ints
    predicted: Ints
    rank: Ints  # how many classes stand before the true one; 0 when the prediction is correct
    confidence: Doubles
    truth_probability: Doubles
    squared_error: Doubles
    sums: "_ClassSums"


class _ClassSums(NamedTuple):
    """Sums over the n pictures, for each of k classes against the rest: is a picture of it, how probable was that?"""

    squared_error: Doubles  # [k]
    counts: Ints  # pictures whose probability of the class lies in a bin, [k, BINS]
    confidence: Doubles  # the sum of those probabilities, [k, BINS]
    correct: Ints  # how many of those pictures are of the class, [k, BINS]


def measure(
    truth: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    classes: Sequence[str],
    *,
    uncalibrated: NDArray[np.floating[Any]] | None = None,
    majority: int | None = None,
) -> dict[str, Any]:
    """Compute every metric of n predictions among k classes.

    Args:
        truth: the true classes as indices into ``classes``, [n].
        probabilities: one finite distribution a row, [n, k]. Among equal probabilities the lowest index ranks first.
        classes: the k class names.
        uncalibrated: the same before calibration, [n, k]; adds ``uncalibrated`` to the result.
        majority: the class that the majority baseline always predicts, usually the commonest in training;
            the commonest in ``truth`` when not given.

    Returns:
        What the first lines of this module describe; what is undefined is None, never NaN.
    """
    rows = _read(truth, probabilities)
    k = len(classes)
    confusion = np.bincount(rows.truth * k + rows.predicted, minlength=k * k).reshape(k, k)
    correct, support = np.diagonal(confusion), confusion.sum(axis=1)
    occurs = support > 0
    if majority is None and len(rows.truth):
        majority = int(support.argmax())
    baseline = None if majority is None else classes[majority]
    baseline_correct = 0 if majority is None else int(support[majority])
    result: dict[str, Any] = {
        "n": len(rows.truth),
        **_accuracy(int(correct.sum()), len(rows.truth)),
        "balanced_accuracy": _mean(correct[occurs] / support[occurs]),
        "balanced_accuracy_interval": mean_share_interval(correct[occurs], support[occurs]),
        **_probability_metrics(rows),
        "top_k": {str(top): _mean(rows.rank < top) for top in TOP_K if top < k},
        "majority": {"label": baseline, "accuracy": _share(baseline_correct, len(rows.truth))},
        "confusion": confusion.tolist(),
        "per_class": _per_class(rows, confusion, classes),
        "reliability": _reliability(rows),
    }
    if uncalibrated is not None:
        before = _read(truth, uncalibrated)
        result["uncalibrated"] = {
            **_probability_metrics(before),
            "per_class": dict(zip(classes, _one_against_rest(before), strict=True)),
            "reliability": _reliability(before),
        }
    return result


def wilson_interval(successes: int, n: int) -> list[float] | None:
    """Return the 95% score interval of a share (Wilson 1927), ``[low, high]``; None when n is 0."""
    if n == 0:
        return None
    share, spread = successes / n, Z95**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    # At the ends the exact limit is the share itself, which rounding would miss.
    low = 0.0 if successes == 0 else float(centre - half)
    return [low, 1.0 if successes == n else float(centre + half)]


def mean_share_interval(successes: NDArray[np.integer[Any]], n: NDArray[np.integer[Any]]) -> list[float] | None:
    """Return a 95% score interval of the mean of k independent shares, such as the recalls of balanced accuracy.

    It holds every mean b that the observed one is within 1.96 standard errors of, the error being taken at the shares
    that are likeliest given b (the idea of Wilson's interval, carried to several strata as in Miettinen and Nurminen
    1985, with their n - 1). A class with one picture says nothing of its own spread and takes b (1 - b).
    Simulated coverage was 0.93 to 0.97 from 1 class of 40 to 100 classes of 1 and in long tails, where the normal
    interval, the stratified bootstrap and combined Wilson limits (MOVER) fell to 0.10, 0.77 and 0.80; it is higher
    where the classes of one picture are much the easier ones.

    Args:
        successes: correct predictions per class, [k].
        n: pictures per class, [k], each at least 1.

    Returns:
        ``[low, high]``, or None when there is no class.
    """
    if len(n) == 0:
        return None
    wrong = n - successes
    return [_lowest_mean(successes.astype(float), n), 1 - _lowest_mean(wrong.astype(float), n)]


def calibration_interval(counts: NDArray[Any], correct: NDArray[Any], confidence: NDArray[Any]) -> list[float] | None:
    """Return a 95% interval of the expected calibration error that an endless test would show in these bins.

    The measured error is too large, since chance makes gaps where there are none: the bootstrap adds chance once more,
    and its intervals, turned round its bias, held the true error of a calibrated classifier in half of the simulated
    tests. Here every gap is normal around the true one, with the standard error of its bin; true gaps of t times the
    measured ones are tried, and the interval holds the errors of those t under which what was measured lies in the
    middle 95% of what tests of this size would measure. Simulated coverage was 0.87 to 1, mostly 0.93 to 0.99, from
    50 to 10,000 pictures, calibrated or 5 to 20 points too sure.

    Args:
        counts: pictures in each bin, [bins].
        correct: correct predictions among them, [bins].
        confidence: the sum of their confidences, [bins].

    Returns:
        ``[low, high]``, or None when there is no picture. It begins at 0 where chance alone explains the gaps.
    """
    n = counts.sum()
    if n == 0:
        return None
    gaps = (confidence - correct) / n
    likely = (correct + 1) / (counts + 2)  # Laplace's, lest one picture pass for certainty
    chance = np.sqrt(counts * likely * (1 - likely)) / n * _normals()
    measured = float(np.abs(gaps).sum())

    def true_error(share: float) -> float:
        """Return the true error under which this share of the tests measure less than was measured."""
        low, high = 0.0, 8.0
        for _ in range(25):
            middle = (low + high) / 2
            less = np.abs(middle * gaps + chance).sum(axis=1) < measured
            low, high = (middle, high) if less.mean() > share else (low, middle)
        return low * measured

    return [true_error(0.975), min(max(true_error(0.025), measured), 1.0)]


@cache
def _normals() -> Doubles:
    """Return the same draws for every interval."""
    return np.random.default_rng(0).standard_normal((500, BINS))


def _lowest_mean(successes: Doubles, n: NDArray[np.integer[Any]]) -> float:
    """Return the lower end of `mean_share_interval`, by bisection on the logarithm of the Lagrange multiplier."""
    observed = float((successes / n).mean())
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        shares = _likeliest_shares(successes, n, float(np.exp(middle)))
        mean = shares.mean()
        variances = np.where(n > 1, shares * (1 - shares) / np.maximum(n - 1, 1), mean * (1 - mean))
        too_far = (observed - mean) ** 2 > Z95**2 * (float(variances.sum()) / len(n) ** 2)
        low, high = (low, middle) if too_far else (middle, high)
    return float(_likeliest_shares(successes, n, float(np.exp(low))).mean())


def _likeliest_shares(successes: Doubles, n: NDArray[np.integer[Any]], multiplier: float) -> Doubles:
    """Return the likeliest shares (binomial) whose mean is held down with this Lagrange multiplier, [k].

    They solve s/p - (n - s)/(1 - p) = multiplier; this form of the quadratic's root subtracts no near-equal numbers.
    """
    root = np.sqrt((multiplier - n) ** 2 + 4 * multiplier * (n - successes))
    shares: Doubles = np.minimum(2 * successes / (multiplier + n + root), 1)
    return shares


def _read(truth: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]]) -> _Rows:
    """Read the probabilities once, block by block."""
    labels = np.asarray(truth, dtype=np.int64)
    assert probabilities.shape[:1] == labels.shape, "one row of probabilities a picture"
    assert not len(labels) or 0 <= labels.min() <= labels.max() < probabilities.shape[1], "truth indexes the classes"
    n, k = probabilities.shape
    sums = _ClassSums(np.zeros(k), np.zeros((k, BINS), np.int64), np.zeros((k, BINS)), np.zeros((k, BINS), np.int64))
    ranks, reals = np.empty((2, n), np.int64), np.empty((3, n))
    rows = _Rows(labels, *ranks, *reals, sums)  # type: ignore[call-arg]  # mypy cannot count rows
    for start in range(0, n, ROWS_PER_BLOCK):
        block = slice(start, start + ROWS_PER_BLOCK)
        part, true_class = probabilities[block], labels[block]
        each, predicted = np.arange(len(part)), part.argmax(axis=1)
        true = part[each, true_class][:, None]
        before = np.arange(k) < true_class[:, None]
        rows.predicted[block] = predicted
        rows.rank[block] = ((part > true) | ((part == true) & before)).sum(axis=1)
        rows.confidence[block] = part[each, predicted]
        rows.truth_probability[block] = true[:, 0]
        exact = part.astype(np.float64)
        _add_block(sums, true_class, exact)
        exact[each, true_class] -= 1
        np.square(exact, out=exact)
        rows.squared_error[block] = exact.sum(axis=1)
        sums.squared_error[:] += exact.sum(axis=0)
    assert np.isfinite(rows.squared_error).all(), "probabilities are finite"
    return rows


def _add_block(sums: _ClassSums, truth: Ints, probabilities: Doubles) -> None:
    """Add a block to the sums of each class. At most 14 classes a row are likelier than 1/15: the rest is bin 0."""
    k = probabilities.shape[1]
    is_above_bin_0 = probabilities > EDGES[1]
    row, column = np.nonzero(is_above_bin_0)
    values = probabilities[row, column]
    cell = column * BINS + _bin(values)
    counts = np.bincount(cell, minlength=k * BINS).reshape(k, BINS)
    counts[:, 0] = len(truth) - counts.sum(axis=1)
    sums.counts[:] += counts
    confidence = np.bincount(cell, values, minlength=k * BINS).reshape(k, BINS)
    confidence[:, 0] = np.where(is_above_bin_0, 0, probabilities).sum(axis=0)
    sums.confidence[:] += confidence
    true_cell = truth * BINS + _bin(probabilities[np.arange(len(truth)), truth])
    sums.correct[:] += np.bincount(true_cell, minlength=k * BINS).reshape(k, BINS)


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.sum(dtype=np.float64)) / len(values) if len(values) else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _accuracy(correct: int, n: int) -> dict[str, Any]:
    return {"accuracy": _share(correct, n), "accuracy_interval": wilson_interval(correct, n)}


def _probability_metrics(rows: _Rows) -> dict[str, Any]:
    is_correct, bins = rows.rank == 0, _bin(rows.confidence)
    counts, correct, confidence = (
        np.bincount(bins, weights, minlength=BINS) for weights in (None, is_correct, rows.confidence)
    )
    return {
        "log_loss": _mean(-np.log(np.clip(rows.truth_probability, SMALLEST_PROBABILITY, 1))),
        "brier": _mean(rows.squared_error),
        "ece": _calibration_error(confidence - correct, len(bins)),
        "ece_interval": calibration_interval(counts, correct, confidence),
        "adaptive_ece": _adaptive_error(rows.confidence, is_correct),
    }


def _bin(confidence: Doubles) -> Ints:
    """Return the bin (low, high] of each probability, [n]."""
    return np.searchsorted(EDGES[1:-1], confidence, side="left")


def _calibration_error(gaps: NDArray[Any], n: int) -> float | None:
    return float(np.abs(gaps).sum()) / n if n else None


def _adaptive_error(confidence: Doubles, is_correct: NDArray[np.bool_]) -> float | None:
    """Return the calibration error over bins of n / 15 pictures each, the last part of a picture included."""
    values, index, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    if not len(values):
        return None
    gaps = counts * values - np.bincount(index, is_correct)
    edges = EDGES * len(confidence)
    until = np.interp(edges, np.append(0, counts.cumsum()), np.append(0, gaps.cumsum()))
    return _calibration_error(np.diff(until), len(confidence))


def _reliability(rows: _Rows) -> list[dict[str, Any]]:
    bins = _bin(rows.confidence)
    counts, correct = (np.bincount(chosen, minlength=BINS) for chosen in (bins, bins[rows.rank == 0]))
    return _filled_bins(counts, correct, np.bincount(bins, rows.confidence, minlength=BINS))


def _filled_bins(counts: Ints, correct: Ints, confidence: NDArray[Any]) -> list[dict[str, Any]]:
    return [
        {
            "low": float(EDGES[b]),
            "high": float(EDGES[b + 1]),
            "n": int(counts[b]),
            "confidence": float(confidence[b] / counts[b]),
            **_accuracy(int(correct[b]), int(counts[b])),
        }
        for b in np.flatnonzero(counts)
    ]


def _one_against_rest(rows: _Rows) -> list[dict[str, Any]]:
    """Return how well calibrated the probability of each class is, one against the rest."""
    sums, n = rows.sums, len(rows.truth)
    measures: list[dict[str, Any]] = [
        {"brier": float(error) / n if n else None, "ece": _calibration_error(gaps, n)}
        for error, gaps in zip(sums.squared_error, sums.confidence - sums.correct, strict=True)
    ]
    if len(measures) <= MOST_DRAWN:
        for section, counts, correct, confidence in zip(
            measures, sums.counts, sums.correct, sums.confidence, strict=True
        ):
            section["reliability"] = _filled_bins(counts, correct, confidence)
    return measures


def _per_class(rows: _Rows, confusion: Ints, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    counts = zip(confusion.diagonal().tolist(), confusion.sum(0).tolist(), confusion.sum(1).tolist(), strict=True)
    return {
        name: {
            "precision": _share(correct, predicted),
            "recall": _share(correct, support),
            "f1": _share(2 * correct, predicted + support),
            "support": support,
            **calibration,
        }
        for name, (correct, predicted, support), calibration in zip(
            classes, counts, _one_against_rest(rows), strict=True
        )
    }
