"""Prediction sets: as many of the likeliest classes as it takes to contain the true one with a target coverage.

Split-conformal prediction: the conformity scores of the true classes of calibration pictures, which trained nothing,
give the threshold from which on a class is in a set. Where later pictures are drawn like these, the sets contain the
true class at least as often as the target says, whatever the classifier (Vovk, Gammerman and Shafer 2005).

NumPy alone: the predictor works with this too.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from kilat.evaluate.metrics import Z95, wilson_interval
from kilat.locale import _

Method = Literal["lac", "raps"]
Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

COVERAGE = 0.9
PENALTIES = (0.0, 0.001, 0.01, 0.1, 0.2, 0.5)
"""What is tried as RAPS' penalty: those of Angelopoulos et al., and none."""

ROWS_PER_BLOCK = 2048
SIZE_STRATA = (1, 2, 3, 4, 11, 101)  # where the next begins; the last ones as in the paper
_TUNING = 5  # every fifth picture chooses RAPS' penalty
_FEWEST_TO_TUNE, _MOST_TO_TUNE = 100, 2000
_UNTUNED = (0.01, 1)


@dataclass(frozen=True)
class ConformalSets:
    """The rule that decides which classes are in the prediction set of a picture.

    ``lac`` takes every class whose probability reaches the threshold: the smallest sets on average (Sadinle, Lei and
    Wasserman 2019, arXiv 1609.00451). ``raps`` adapts to how hard a picture is (Angelopoulos, Bates, Malik and Jordan
    2021, arXiv 2009.14193): a class conforms by the probability that is left from it on, its own and that of all
    classes ranked behind it, less a penalty for ranks beyond ``k_reg``.

    Nothing is randomised, so the same probabilities have the same set every time. RAPS without randomisation usually
    counts a class's own probability as gone already; then it is the surest answers that lose their likeliest class
    first, and the others pay for it (2.6 classes where LAC needs 1.0: flowers at 90%, no penalty). Here it counts as
    left, and the likeliest classes, whose scores would all be equal, are told apart by their probability.

    Args:
        method: ``lac`` or ``raps``.
        coverage: the share of sets that shall contain the true class.
        thresholds: the conformity score from which on a class is in the set; one for all classes, or one a class
            (Mondrian: the coverage is guaranteed for each by itself). -inf takes a class in always.
        penalty: of RAPS, lambda, a rank.
        k_reg: of RAPS, up to which rank nothing is charged.
    """

    method: Method
    coverage: float
    thresholds: tuple[float, ...]
    penalty: float = 0.0
    k_reg: int = 1

    @classmethod
    def fit(
        cls,
        probabilities: Floats,
        truth: Integers,
        *,
        coverage: float = COVERAGE,
        method: Method = "lac",
        per_class: bool = False,
    ) -> Self:
        """Compute the thresholds under which sets have the target coverage.

        RAPS chooses its penalty and ``k_reg`` on a fifth of the pictures (at most about 2,000), which then set no
        threshold: choosing by the same labels would void the guarantee. Below 100 pictures, where a fifth says nothing,
        or twice those that the guarantee needs, it takes 0.01 and 1 and keeps all of them.

        One threshold a class needs enough pictures of that class (9 for 90%, `least_pictures`). The classes with
        fewer share the threshold of them all together, so that the guarantee holds on their average; where even
        together they are too few, they have the threshold of all pictures. To take them in always would keep the
        guarantee as well, but one rare class would stand in every set.

        Args:
            probabilities: of calibration pictures, which trained nothing, [n, k].
            truth: their classes, [n].
            coverage: above 0 and below 1. Where there are too few pictures to guarantee it, all classes are taken in.
            method: ``lac`` or ``raps``.
            per_class: whether the coverage is to hold for each class by itself.
        """
        assert 0 < coverage < 1, "a share"
        truth = np.asarray(truth, np.int64)
        penalty, k_reg = _UNTUNED if method == "raps" else (0.0, 1)
        if method == "raps" and len(truth) >= max(_FEWEST_TO_TUNE, 2 * least_pictures(coverage)):
            is_tuning = _tuning_pictures(truth)
            penalty, k_reg = _tune_raps(probabilities[is_tuning], truth[is_tuning], coverage)
            probabilities, truth = probabilities[~is_tuning], truth[~is_tuning]
        uncalibrated = cls(method, coverage, (), penalty, k_reg)
        parts = [
            np.take_along_axis(uncalibrated._conformity(probabilities[block]), truth[block, None], axis=1)[:, 0]
            for block in _blocks(len(truth))
        ]
        scores = np.concatenate([np.zeros(0), *parts])
        if not per_class:
            return cls(method, coverage, (_threshold(scores, coverage),), penalty, k_reg)
        classes, least = probabilities.shape[1], least_pictures(coverage)
        is_rare = np.bincount(truth, minlength=classes) < least
        rare = scores[is_rare[truth]]
        shared = _threshold(rare if len(rare) >= least else scores, coverage)
        thresholds = (shared if is_rare[c] else _threshold(scores[truth == c], coverage) for c in range(classes))
        return cls(method, coverage, tuple(thresholds), penalty, k_reg)

    def members(self, probabilities: Floats, *, never_empty: bool = False) -> NDArray[np.bool_]:
        """Return which classes are in the set of each picture, [n, k].

        Args:
            probabilities: of any pictures, [n, k].
            never_empty: whether the likeliest class is taken in even below the threshold: a set only grows by it, so
                the coverage is never lower. Without, sets are empty where the target is below the classifier's
                accuracy, which is how they come down to it.
        """
        assert len(self.thresholds) in (1, probabilities.shape[1]), "one threshold, or one a class"
        thresholds, members = np.array(self.thresholds), np.empty(probabilities.shape, bool)
        for block in _blocks(len(probabilities)):
            members[block] = self._conformity(probabilities[block]) >= thresholds
        if never_empty:
            members[np.arange(len(members)), probabilities.argmax(axis=1)] = True
        return members

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; a class that is always taken in has the threshold None."""
        raps = {} if self.method == "lac" else {"penalty": self.penalty, "k_reg": self.k_reg}
        thresholds = [None if threshold == -math.inf else threshold for threshold in self.thresholds]
        return {"method": self.method, "coverage": self.coverage, "thresholds": thresholds, **raps}

    @classmethod
    def from_dict(cls, document: object, classes: int) -> Self:
        """Read what ``to_dict`` wrote, or the ``coverage`` and ``probability`` of older files.

        Args:
            document: from a file, which may hold anything.
            classes: number of classes.

        Raises:
            ValueError: something in it is missing or invalid; the message says what.
        """
        if not isinstance(document, dict):
            raise ValueError(_("prediction sets: not an object"))  # noqa: TRY004 - one kind for all a file can hold
        coverage = _number("coverage", document.get("coverage"), 0, 1)
        if "method" not in document:
            return cls("lac", coverage, (_number("probability", document.get("probability"), -1e-9, 2),))
        method, thresholds, k_reg = document["method"], document.get("thresholds"), document.get("k_reg", 1)
        if method not in get_args(Method):
            raise _invalid("method", method)
        if not isinstance(thresholds, list) or len(thresholds) not in {1, classes}:
            message = _("prediction sets: thresholds must be one for all classes, or one for each of the {classes}")
            raise ValueError(message.format(classes=classes))
        if type(k_reg) is not int or not 1 <= k_reg <= classes:
            raise _invalid("k_reg", k_reg)
        numbers = tuple(-math.inf if value is None else _number("threshold", value) for value in thresholds)
        penalty = _number("penalty", document.get("penalty", 0.0), -1e-9)
        return cls(method, coverage, numbers, penalty, k_reg)

    def _conformity(self, probabilities: Floats) -> Floats:
        """Return the conformity score of each class, [n, k]; the same for a row whatever the other rows are."""
        if self.method == "lac":
            return probabilities
        order, left = _ranked(probabilities)
        left -= _rank_penalties(self.penalty, self.k_reg, left.shape[1])
        scores = np.empty_like(left)
        np.put_along_axis(scores, order, left, axis=1)
        return scores


def least_pictures(coverage: float) -> int:
    """Return how many pictures, or pictures of a class, it takes at least to guarantee a coverage."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def measure_sets(members: NDArray[np.bool_], truth: Integers, classes: Sequence[str]) -> dict[str, Any]:
    """Measure how often sets contain the true class, and how large they are.

    Args:
        members: which classes are in the set of each picture, [n, k].
        truth: the true classes as indices into ``classes``, [n].
        classes: the k class names.

    Returns:
        Shares are in 0..1, intervals are ``[low, high]`` at 95%, those of shares by Wilson. What is undefined is None.

        - ``n``; ``coverage``: the share of sets that contain the true class; ``coverage_interval``.
        - ``size``: classes in a set, the mean; ``size_interval``: 1.96 standard errors either side.
        - ``empty``, ``single``, ``several``: shares of sets; ``sizes``: how many sets have 0, 1, 2... classes.
        - ``worst_class``: ``label``, ``coverage``, ``coverage_interval`` and ``n`` of the class with the lowest.
        - ``by_class``: ``n``, ``coverage``, ``coverage_interval`` and mean ``size`` of the sets of its pictures.
        - ``by_size``: the same for sets of ``low`` to ``high`` classes (Angelopoulos et al. 2021): sets that adapt
          contain the true class as often whatever their size.
    """
    labels = np.asarray(truth, np.int64)
    sizes = members.sum(axis=1)
    covered = members[np.arange(len(labels)), labels]
    counts, k = np.bincount(sizes, minlength=2), len(classes)
    pictures, hits = np.bincount(labels, minlength=k), np.bincount(labels[covered], minlength=k)
    totals = np.bincount(labels, weights=sizes, minlength=k)
    by_class = {
        name: {"n": n, **_coverage(hit, n), "size": total / n if n else None}
        for name, n, hit, total in zip(classes, pictures.tolist(), hits.tolist(), totals.tolist(), strict=True)
    }
    measured = [{"label": name, **section} for name, section in by_class.items() if section["n"]]
    worst = min(measured, key=lambda section: section["coverage"], default=None)
    strata = np.searchsorted(SIZE_STRATA, sizes, side="right")
    groups = [strata == stratum for stratum in np.unique(strata)]
    return {
        "n": len(labels),
        **_coverage(int(covered.sum()), len(labels)),
        **_mean_size(sizes, k),
        "empty": _share(int(counts[0]), len(labels)),
        "single": _share(int(counts[1]), len(labels)),
        "several": _share(int(counts[2:].sum()), len(labels)),
        "sizes": counts.tolist() if len(labels) else [],
        "worst_class": worst and {name: worst[name] for name in ("label", "n", "coverage", "coverage_interval")},
        "by_class": by_class,
        "by_size": [
            {
                "low": int(sizes[group].min()),
                "high": int(sizes[group].max()),
                "n": int(group.sum()),
                **_coverage(int(covered[group].sum()), int(group.sum())),
            }
            for group in groups
        ],
    }


def _ranked(probabilities: Floats) -> tuple[Integers, NDArray[np.float64]]:
    """Return the classes from the likeliest on, and how much probability is left from each rank on, both [n, k].

    Of the first rank it is all for every picture; its own probability on top of that tells pictures apart.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    left = np.cumsum(ranked[:, ::-1], axis=1, dtype=np.float64)[:, ::-1]
    left[:, 0] += ranked[:, 0]
    return order, left


def _rank_penalties(penalty: float, k_reg: int, classes: int) -> NDArray[np.float64]:
    """Return what RAPS takes off at each rank, [k]."""
    return penalty * np.maximum(np.arange(1, classes + 1) - k_reg, 0)


def _tuning_pictures(truth: Integers) -> NDArray[np.bool_]:
    """Choose a fifth of every class, but about 2,000 at most, [n]; shuffled first, since neighbours may be alike."""
    order = np.random.default_rng(0).permutation(len(truth))
    order = order[np.argsort(truth[order], kind="stable")]
    is_tuning = np.zeros(len(truth), bool)
    step = max(_TUNING, len(truth) // _MOST_TO_TUNE)
    is_tuning[order[step // 2 :: step]] = True
    return is_tuning


def _tune_raps(probabilities: Floats, truth: Integers, coverage: float) -> tuple[float, int]:
    """Choose the penalty that makes sets smallest, and k_reg: the rank within which the true class is often enough.

    Both as in Angelopoulos et al., appendix E; among penalties that are as good as each other, the lowest.
    """
    order, left = _ranked(probabilities)
    true_rank = (order == truth[:, None]).argmax(axis=1)
    k_reg = 1 + int(np.sort(true_rank)[min(_quantile_rank(len(truth), coverage), len(truth)) - 1])

    def total_size(penalty: float) -> int:
        scores = left - _rank_penalties(penalty, k_reg, left.shape[1])
        return int((scores >= _threshold(scores[np.arange(len(scores)), true_rank], coverage)).sum())

    return min(PENALTIES, key=total_size), k_reg


def _quantile_rank(count: int, coverage: float) -> int:
    """Return which of the ordered scores is the threshold; more than there are where too few for any guarantee."""
    return math.ceil((count + 1) * coverage - 1e-9)  # 0.07 * 100 is a little above 7


def _threshold(scores: Floats, coverage: float) -> float:
    rank = _quantile_rank(len(scores), coverage)
    return float(np.sort(scores)[::-1][rank - 1]) if rank <= len(scores) else -math.inf


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + ROWS_PER_BLOCK) for start in range(0, n, ROWS_PER_BLOCK))


def _number(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a number between two others; a file may also hold text, huge integers, NaN or infinity."""
    if type(value) not in {int, float} or not abs(value) < 1e300 or not low < value < high:  # type: ignore[arg-type,operator]
        raise _invalid(name, value)
    return float(value)  # type: ignore[arg-type]


def _invalid(name: str, value: object) -> ValueError:
    return ValueError(_("prediction sets: invalid {name}: {value}").format(name=name, value=f"{value!r:.40}"))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _coverage(covered: int, n: int) -> dict[str, Any]:
    return {"coverage": _share(covered, n), "coverage_interval": wilson_interval(covered, n)}


def _mean_size(sizes: Integers, most: int) -> dict[str, Any]:
    if not len(sizes):
        return {"size": None, "size_interval": None}
    mean = float(sizes.mean())
    if len(sizes) == 1:
        return {"size": mean, "size_interval": None}
    half = Z95 * float(sizes.std(ddof=1)) / math.sqrt(len(sizes))
    return {"size": mean, "size_interval": [max(mean - half, 0.0), min(mean + half, float(most))]}
