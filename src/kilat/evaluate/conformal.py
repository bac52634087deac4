"""Prediction sets: every class that is likely enough for the set to hold the right one as often as was asked.

Split-conformal prediction: how well the right class fitted the answers to pictures that trained nothing says from
which fit on a class belongs into a set. Where those pictures are drawn like the ones asked about later, the sets hold
the right class at least as often as was asked, whatever the classifier (Vovk, Gammerman and Shafer 2005).

NumPy alone: the predictor works with this too.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from kilat.evaluate.metrics import Z95, wilson_interval

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
class Sets:
    """Which classes belong into the set of an answer.

    ``lac`` takes every class whose probability reaches the threshold: the smallest sets on average (Sadinle, Lei and
    Wasserman 2019, arXiv 1609.00451). ``raps`` adapts to how hard a picture is (Angelopoulos, Bates, Malik and Jordan
    2021, arXiv 2009.14193): a class fits by the probability that is left from it on, its own and that of all classes
    ranked behind it, less a penalty for ranks beyond ``k_reg``.

    Nothing is drawn by lot, so the same answer has the same set every time. RAPS without its lot usually counts a
    class's own probability as gone already; then it is the surest answers that lose their likeliest class first, and
    the others pay for it (2.6 classes where LAC needs 1.0: flowers at 90%, no penalty). Here it counts as left,
    and the likeliest classes, which would all fit alike, are told apart by their probability.

    Args:
        method: ``lac`` or ``raps``.
        coverage: the share of sets that shall hold the right class.
        thresholds: the fit from which on a class belongs into the set; one for all classes, or one a class
            (Mondrian: the coverage is promised for each by itself). -inf takes a class in always.
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
        """The thresholds under which sets hold the right class as often as asked.

        RAPS chooses its penalty and ``k_reg`` on a fifth of the pictures (at most about 2,000), which then set no
        threshold: choosing by the same labels would bend the promise. Below 100 pictures, where a fifth says nothing,
        or twice those that the promise needs, it takes 0.01 and 1 and keeps all of them.

        One threshold a class needs enough pictures of that class (9 for 90%, `least_pictures`). The classes with
        fewer share the threshold of them all together, so that the promise holds on their average; where even
        together they are too few, they have the threshold of all pictures. To take them in always would keep the
        promise as well, but one rare class would stand in every set.

        Args:
            probabilities: of pictures that trained nothing, [n, k].
            truth: their classes, [n].
            coverage: above 0 and below 1. Where there are too few pictures to promise it, all classes are taken in.
            method: ``lac`` or ``raps``.
            per_class: whether the coverage is to hold for each class by itself.
        """
        assert 0 < coverage < 1, "a share"
        truth = np.asarray(truth, np.int64)
        penalty, k_reg = _UNTUNED if method == "raps" else (0.0, 1)
        if method == "raps" and len(truth) >= max(_FEWEST_TO_TUNE, 2 * least_pictures(coverage)):
            tuning = _some_of_every_class(truth)
            penalty, k_reg = _tuned(probabilities[tuning], truth[tuning], coverage)
            probabilities, truth = probabilities[~tuning], truth[~tuning]
        shape = cls(method, coverage, (), penalty, k_reg)
        fits = shape._fits_of(probabilities, truth)
        if per_class:
            thresholds = _class_thresholds(fits, truth, probabilities.shape[1], coverage)
        else:
            thresholds = (_threshold(fits, coverage),)
        return cls(method, coverage, thresholds, penalty, k_reg)

    def members(self, probabilities: Floats, *, never_empty: bool = False) -> NDArray[np.bool_]:
        """Which classes belong into the set of each answer, [n, k].

        Args:
            probabilities: of any pictures, [n, k].
            never_empty: whether the likeliest class is taken in even if it does not fit: a set only grows by it, so the
                coverage is never lower. Without, sets are empty where less is asked for than the classifier gets
                right, which is how they come to the coverage that was asked.
        """
        assert len(self.thresholds) in (1, probabilities.shape[1]), "one threshold, or one a class"
        needed, inside = np.array(self.thresholds), np.empty(probabilities.shape, bool)
        for block in _blocks(len(probabilities)):
            inside[block] = self._fit(probabilities[block]) >= needed
        if never_empty:
            inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
        return inside

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; a class that is always taken in has the threshold None."""
        shape = {} if self.method == "lac" else {"penalty": self.penalty, "k_reg": self.k_reg}
        thresholds = [None if needed == -math.inf else needed for needed in self.thresholds]
        return {"method": self.method, "coverage": self.coverage, "thresholds": thresholds, **shape}

    @classmethod
    def from_dict(cls, document: object, classes: int) -> Self:
        """Reads what ``to_dict`` wrote, or the ``coverage`` and ``probability`` of older files.

        Args:
            document: from a file, which may hold anything.
            classes: how many there are.

        Raises:
            ValueError: it cannot be meant.
        """
        if not isinstance(document, dict):
            raise ValueError("prediction sets are no object")  # noqa: TRY004 - one kind for all that a file can hold
        coverage = _number(document, "coverage")
        if "method" not in document:
            return cls("lac", _within(coverage, 0, 1), (_within(_number(document, "probability"), -1e-9, 2),))
        method, thresholds, k_reg = document["method"], document.get("thresholds"), document.get("k_reg", 1)
        if method not in get_args(Method):
            raise ValueError(f"prediction sets by an unknown method: {method!r:.40}")
        if not isinstance(thresholds, list) or len(thresholds) not in {1, classes}:
            raise ValueError("prediction sets with thresholds that are not one for all, nor one a class")
        if type(k_reg) is not int or not 1 <= k_reg <= classes:
            raise ValueError("prediction sets with a k_reg that is no rank")
        needed = tuple(-math.inf if value is None else _finite(value, "thresholds") for value in thresholds)
        penalty = _finite(document.get("penalty", 0.0), "penalty")
        return cls(method, _within(coverage, 0, 1), needed, _within(penalty, -1e-9, math.inf), k_reg)

    def _fit(self, probabilities: Floats) -> Floats:
        """How well each class fits, [n, k]; the same for a row whatever the other rows are."""
        if self.method == "lac":
            return probabilities
        order, left = _ranked(probabilities)
        left -= _charges(self.penalty, self.k_reg, left.shape[1])
        fits = np.empty_like(left)
        np.put_along_axis(fits, order, left, axis=1)
        return fits

    def _fits_of(self, probabilities: Floats, truth: Integers) -> Floats:
        """How well the given class of each picture fits, [n]."""
        each = [
            np.take_along_axis(self._fit(probabilities[block]), truth[block, None], axis=1)[:, 0]
            for block in _blocks(len(truth))
        ]
        return np.concatenate([np.zeros(0), *each])


def least_pictures(coverage: float) -> int:
    """How many pictures, or pictures of a class, it takes at least to promise a coverage."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def measure_sets(members: NDArray[np.bool_], truth: Integers, classes: Sequence[str]) -> dict[str, Any]:
    """How often sets hold the right class, and how large they are.

    Args:
        members: which classes belong into the set of each answer, [n, k].
        truth: the true classes as indices into ``classes``, [n].
        classes: the k class names.

    Returns:
        Shares are in 0..1, intervals are ``[low, high]`` at 95%, those of shares by Wilson. What is undefined is None.

        - ``n``; ``coverage``: the share of sets that hold the right class; ``coverage_interval``.
        - ``size``: classes in a set, the mean; ``size_interval``: 1.96 standard errors either side.
        - ``empty``, ``single``, ``several``: shares of sets; ``sizes``: how many sets have 0, 1, 2... classes.
        - ``worst_class``: ``label``, ``coverage``, ``coverage_interval`` and ``n`` of the class with the lowest.
        - ``per_class``: ``n``, ``coverage``, ``coverage_interval`` and mean ``size`` of the sets of its pictures.
        - ``by_size``: the same for sets of ``low`` to ``high`` classes (Angelopoulos et al. 2021): sets that adapt hold
          the right class as often whatever their size.
    """
    labels = np.asarray(truth, np.int64)
    sizes = members.sum(axis=1)
    covered = members[np.arange(len(labels)), labels]
    counts = np.bincount(sizes, minlength=2)
    per_class = _per_class(covered, sizes, labels, classes)
    measured = [{"label": name, **of} for name, of in per_class.items() if of["n"]]
    worst = min(measured, key=lambda of: of["coverage"], default=None)
    return {
        "n": len(labels),
        **_coverage(int(covered.sum()), len(labels)),
        **_size(sizes, len(classes)),
        "empty": _share(int(counts[0]), len(labels)),
        "single": _share(int(counts[1]), len(labels)),
        "several": _share(int(counts[2:].sum()), len(labels)),
        "sizes": counts.tolist() if len(labels) else [],
        "worst_class": worst and {name: worst[name] for name in ("label", "n", "coverage", "coverage_interval")},
        "per_class": per_class,
        "by_size": _by_size(covered, sizes),
    }


def _ranked(probabilities: Floats) -> tuple[Integers, NDArray[np.float64]]:
    """The classes from the likeliest on, and how much probability is left from each rank on, both [n, k].

    Of the first rank it is all for every picture; its own probability on top of that tells pictures apart.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    left = np.cumsum(ranked[:, ::-1], axis=1, dtype=np.float64)[:, ::-1]
    left[:, 0] += ranked[:, 0]
    return order, left


def _charges(penalty: float, k_reg: int, classes: int) -> NDArray[np.float64]:
    """What RAPS takes off at each rank, [k]."""
    return penalty * np.maximum(np.arange(1, classes + 1) - k_reg, 0)


def _some_of_every_class(truth: Integers) -> NDArray[np.bool_]:
    """A fifth of every class, but about 2,000 pictures at most, [n]; shuffled first, since neighbours may be alike."""
    order = np.random.default_rng(0).permutation(len(truth))
    order = order[np.argsort(truth[order], kind="stable")]
    chosen = np.zeros(len(truth), bool)
    step = max(_TUNING, len(truth) // _MOST_TO_TUNE)
    chosen[order[step // 2 :: step]] = True
    return chosen


def _tuned(probabilities: Floats, truth: Integers, coverage: float) -> tuple[float, int]:
    """The penalty that makes sets smallest, and k_reg: the rank that the right class reaches as often as asked.

    Both as in Angelopoulos et al., appendix E; among penalties that are as good as each other, the lowest.
    """
    order, left = _ranked(probabilities)
    right = (order == truth[:, None]).argmax(axis=1)
    k_reg = 1 + int(np.sort(right)[min(_rank(len(truth), coverage), len(truth)) - 1])

    def size(penalty: float) -> int:
        fits = left - _charges(penalty, k_reg, left.shape[1])
        return int((fits >= _threshold(fits[np.arange(len(fits)), right], coverage)).sum())

    return min(PENALTIES, key=size), k_reg


def _rank(count: int, coverage: float) -> int:
    """Which of the ordered fits is the threshold; beyond the last where there are too few to promise anything."""
    return math.ceil((count + 1) * coverage - 1e-9)  # 0.07 * 100 is a little above 7


def _threshold(fits: Floats, coverage: float) -> float:
    rank = _rank(len(fits), coverage)
    return float(np.sort(fits)[::-1][rank - 1]) if rank <= len(fits) else -math.inf


def _class_thresholds(fits: Floats, truth: Integers, classes: int, coverage: float) -> tuple[float, ...]:
    """One threshold a class; those with too few pictures share one."""
    rare = np.bincount(truth, minlength=classes) < least_pictures(coverage)
    together = fits[rare[truth]]
    shared = _threshold(together if len(together) >= least_pictures(coverage) else fits, coverage)
    return tuple(shared if rare[c] else _threshold(fits[truth == c], coverage) for c in range(classes))


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + ROWS_PER_BLOCK) for start in range(0, n, ROWS_PER_BLOCK))


def _number(document: dict[Any, Any], name: str) -> float:
    return _finite(document.get(name), name)


def _finite(value: object, name: str) -> float:
    """A number as JSON has them; a file may also hold text, huge integers, NaN or infinity."""
    if type(value) not in {int, float} or not abs(value) < 1e300:  # type: ignore[arg-type]
        raise ValueError(f"prediction sets whose {name} cannot be meant: {value!r:.40}")
    return float(value)  # type: ignore[arg-type]


def _within(value: float, low: float, high: float) -> float:
    if not low < value < high:
        raise ValueError(f"prediction sets with a value that cannot be meant: {value!r}")
    return value


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _coverage(covered: int, n: int) -> dict[str, Any]:
    return {"coverage": _share(covered, n), "coverage_interval": wilson_interval(covered, n)}


def _size(sizes: Integers, most: int) -> dict[str, Any]:
    if not len(sizes):
        return {"size": None, "size_interval": None}
    mean = float(sizes.mean())
    if len(sizes) == 1:
        return {"size": mean, "size_interval": None}
    half = Z95 * float(sizes.std(ddof=1)) / math.sqrt(len(sizes))
    return {"size": mean, "size_interval": [max(mean - half, 0.0), min(mean + half, float(most))]}


def _per_class(
    covered: NDArray[np.bool_], sizes: Integers, labels: Integers, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    k = len(classes)
    counts, right = np.bincount(labels, minlength=k), np.bincount(labels[covered], minlength=k)
    totals = np.bincount(labels, weights=sizes, minlength=k)
    return {
        name: {"n": n, **_coverage(hits, n), "size": total / n if n else None}
        for name, n, hits, total in zip(classes, counts.tolist(), right.tolist(), totals.tolist(), strict=True)
    }


def _by_size(covered: NDArray[np.bool_], sizes: Integers) -> list[dict[str, Any]]:
    strata = np.searchsorted(SIZE_STRATA, sizes, side="right")
    groups = [strata == stratum for stratum in np.unique(strata)]
    return [
        {
            "low": int(sizes[group].min()),
            "high": int(sizes[group].max()),
            "n": int(group.sum()),
            **_coverage(int(covered[group].sum()), int(group.sum())),
        }
        for group in groups
    ]
