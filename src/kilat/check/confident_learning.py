"""Confident learning: which labels are contradicted by held-out answers that are confident for their class.

Northcutt, Jiang and Chuang 2021 (arXiv 1911.00068), pruned by noise rate, the same as the library cleanlab does.
"""

import numpy as np

from kilat.runtime.array_types import Flags, Floats, Ints

_CELLS = 2_000_000
_SAME = 1e-6
"""How much less a probability may be and still count as no less, as in cleanlab."""


def candidates(labels: Ints, probabilities: Floats) -> Flags:
    """Return which labels confident learning doubts, ``[n]``.

    The same as ``cleanlab.filter.find_label_issues`` of cleanlab 2.9 by default, but for three things. Where pictures,
    or roundings, are exactly as good as each other, the order of a stable sort decides, and so the same on every
    machine; there it is NumPy's quicksort, which differs between processors. Thresholds are averaged in double
    precision, there in that of the answers. And labels all of one class, which it refuses, are not doubted.

    Args:
        labels: column indices, ``[n]``.
        probabilities: held-out answers, ``[n, k]``.
    """
    doubted = np.zeros(len(labels), bool)
    sizes = np.bincount(labels, minlength=probabilities.shape[1])
    wrong = _wrong_counts(labels, probabilities, sizes)
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    for answer, label in np.argwhere(wrong):
        own = members[label]
        margin = probabilities[own, answer] - probabilities[own, label]
        doubted[own[np.argsort(-margin, kind="stable")[: wrong[answer, label]]]] = True
    rows = np.flatnonzero(doubted)
    answers = probabilities[rows]
    answers[np.arange(len(rows)), labels[rows]] += _SAME
    doubted[rows] = answers.argmax(1) != labels[rows]
    return doubted


def _wrong_counts(labels: Ints, probabilities: Floats, sizes: Ints) -> Ints:
    """Return how many pictures of each class (column) are taken to be of each other class (row), ``[k, k]``."""
    joint = _confident_joint(labels, probabilities, sizes)
    joint = joint / joint.sum(0) * sizes
    joint = joint / max(joint.sum(), 1) * len(labels)  # which it is already, but for the rounding of halves
    # Whole numbers whose columns have the same totals: what rounding misses goes where it was rounded the most.
    whole = joint.round()
    missing = sizes - whole.sum(0)
    rank = np.argsort(np.argsort(joint - whole, axis=0, kind="stable"), axis=0)
    whole += rank >= len(joint) - missing
    whole -= rank < -missing
    counts: Ints = whole.astype(np.int64)
    counts[:, counts.diagonal() == 0] -= 1  # one picture at least of every class is labelled correctly,
    counts[:, sizes < 2] = 0  # and the only one of a class is not doubted
    np.fill_diagonal(counts, 0)
    return np.maximum(counts, 0)


def _confident_joint(labels: Ints, probabilities: Floats, sizes: Ints) -> Ints:
    """Return how many pictures of each class (column) are confidently answered as which (row), ``[k, k]``.

    An answer is confident where it is not below the average answer of that class to its own pictures. If several are,
    the likeliest class of all counts.
    """
    count, k = probabilities.shape
    own = np.bincount(labels, probabilities[np.arange(count), labels], minlength=k) / np.maximum(sizes, 1)
    thresholds = np.where(sizes > 0, np.maximum(own, 2 * _SAME), np.inf) - _SAME
    joint = np.zeros(k * k, np.int64)
    for start in range(0, count, block := max(1, _CELLS // k)):
        answers = probabilities[start : start + block]
        confident = answers >= thresholds
        number = confident.sum(1)
        answered = np.where(number > 1, answers.argmax(1), confident.argmax(1))
        joint += np.bincount((answered * k + labels[start : start + block])[number > 0], minlength=k * k)
    joint[:: k + 1] = np.maximum(joint[:: k + 1], 1)
    return joint.reshape(k, k)
