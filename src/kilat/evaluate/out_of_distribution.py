"""None of these: a score of how unlike all training pictures a picture is, from its embedding and its logits.

Four methods, each larger the stranger a picture is, alone or standardised and added up:

- ``knn``: distance to the nearest training picture (Sun et al. 2022, arXiv 2204.06507, on embeddings that keep their
  length, since pictures that are far from everything lie nearer to the origin or further out);
- ``mahalanobis``: relative Mahalanobis distance to the nearest class (Ren et al. 2021, arXiv 2106.09022);
- ``energy``: the negative free energy of the logits (Liu et al. 2020, arXiv 2010.03759);
- ``max_softmax``: the likeliest class's probability, negated (Hendrycks and Gimpel 2017, arXiv 1610.02136).

Which of them is taken follows from classes that are left out of the training one after the other, which needs no
outside pictures. What comes from another class of the same kind is hardest; what comes from another world altogether is
recognised by its distance alone, and leaving classes out does not show that, so ``knn`` takes part in every choice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.recipe import METHODS
from kilat.runtime.cores import parallel_map, single_threaded_blas

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

COMBINATIONS = (
    ("knn",), ("knn", "mahalanobis"), ("knn", "energy"), ("knn", "max_softmax"), ("knn", "mahalanobis", "energy"),
)  # fmt: skip
"""What is chosen among; in doubt the earlier one."""

MOST_KEPT = 8192
"""How many training pictures the nearest is looked for among; of more, as many are drawn from every class alike."""

WIDTH = 128
"""Of an embedding, at most."""

_SHRINKAGE = 0.1
LEAST_SQUARE = 1e-4
"""Squares of distances end here, embeddings having a mean square length of one: smaller ones are mostly rounding."""
_ROWS = 512
_UPPER = 0.95
_LEAST_SPREAD = 0.01
_LEAST_WITHIN = 0.01
_NEVER = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Space:
    """Training pictures as the methods need them.

    Args:
        index: embeddings of training pictures, ``[m, d]``, each a float16 number.
        within: turns deviations from a class's mean into ones of unit covariance, ``[d, d]``.
        means: of the classes, times ``within``, ``[k, d]``.
        overall: the same as ``within`` of deviations from the mean of all, ``[d, d]``.
        centre: the mean of all, times ``overall``, ``[d]``.
    """

    index: Floats
    within: Floats
    means: Floats
    overall: Floats
    centre: Floats

    @classmethod
    def of(cls, embeddings: Floats, truth: Ints, index: Ints | None = None) -> "Space":
        """Learns where the training pictures lie.

        Args:
            embeddings: of them, ``[n, d]``.
            truth: their classes, ``[n]``; classes without a picture are passed over.
            index: positions of those to keep for ``knn``; all by default.
        """
        exact = embeddings.astype(np.float64)
        classes, place = np.unique(truth, return_inverse=True)
        counts = np.bincount(place)
        means = np.stack([np.bincount(place, column) / counts for column in exact.T], axis=1)
        away = exact - exact.mean(0)
        within, overall = _whitening(exact - means[place], _LEAST_WITHIN * away.var()), _whitening(away)
        kept = embeddings if index is None else embeddings[index]
        parts = (kept.astype(np.float16), within, means @ within, overall, exact.mean(0) @ overall)
        assert len(classes) == len(means)
        return cls(*(part.astype(np.float32) for part in parts))

    def measure(self, method: str, embeddings: Floats, logits: Floats, mates: Ints | None = None) -> Floats:
        """How strange pictures are by one method, ``[n]``.

        Args:
            method: one of ``METHODS``.
            embeddings: of the pictures, ``[n, d]``.
            logits: their answers, ``[n, k]``.
            mates: for pictures that are in the index themselves, which rows of the index not to look at, ``[n, m]`` as
                a list of positions a picture, -1 for none.
        """
        if method == "knn":
            return self.nearest(embeddings, mates)
        if method == "mahalanobis":
            return self._mahalanobis(embeddings)
        top = logits.max(1)
        total = np.exp(logits - top[:, None]).sum(1)
        strangeness: Floats = -(top + np.log(total)) if method == "energy" else -1 / total
        return strangeness

    def nearest(self, embeddings: Floats, mates: Ints | None = None) -> Floats:
        """Distances to the nearest picture of the index, ``[n]``; see ``measure`` for ``mates``."""
        lengths = np.einsum("md,md->m", self.index, self.index)

        def some(start: int) -> Floats:
            part = embeddings[start : start + _ROWS]
            squares = np.einsum("nd,nd->n", part, part)[:, None] + lengths - 2 * (part @ self.index.T)
            if mates is not None:
                row, which = np.nonzero(mates[start : start + _ROWS] >= 0)
                squares[row, mates[start + row, which]] = np.inf
            nearest: Floats = squares.min(1)
            return nearest

        with single_threaded_blas():
            squares = parallel_map(some, range(0, len(embeddings), _ROWS))
        distances: Floats = np.sqrt(np.maximum(np.concatenate([*squares, np.zeros(0, np.float32)]), LEAST_SQUARE))
        return distances

    def _mahalanobis(self, embeddings: Floats) -> Floats:
        place = embeddings @ self.within
        nearest = (np.einsum("kd,kd->k", self.means, self.means) - 2 * (place @ self.means.T)).argmin(1)
        # The same sums give the distance as well, but of classes that lie close together only their rounding.
        apart, away = place - self.means[nearest], embeddings @ self.overall - self.centre
        distance: Floats = np.einsum("nd,nd->n", apart, apart) - np.einsum("nd,nd->n", away, away)
        return distance


@dataclass(frozen=True)
class Detector:
    """Says of pictures that they are none of these.

    Args:
        space: the training pictures.
        methods: whose strangeness is added up.
        centres: the median strangeness of known pictures by each method.
        spreads: from there to their 95% quantile.
        threshold: of the sum, above which a picture counts as unknown.
        rate: the share of known pictures that lie above it all the same.
    """

    space: Space
    methods: tuple[str, ...]
    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    threshold: float
    rate: float

    @classmethod
    def fit(
        cls,
        space: Space,
        methods: tuple[str, ...],
        embeddings: Floats,
        logits: Floats,
        *,
        rate: float,
        mates: Ints | None = None,
    ) -> "Detector":
        """Standardises the methods, and sets the threshold, on known pictures.

        The threshold is a conformal quantile: another known picture lies above it with a probability of at most
        ``rate``. Of fewer than ``1 / rate - 1`` pictures the strangest sets it, which promises less; of none, none ever
        lies above it.

        Args:
            space: the training pictures.
            methods: to add up.
            embeddings: of pictures that trained nothing (or are passed over as ``mates``), ``[n, d]``.
            logits: their answers from a head that did not see them, ``[n, k]``.
            rate: share of false alarms, above 0 and below 1.
            mates: see ``Space.measure``.
        """
        each = [space.measure(method, embeddings, logits, mates) for method in methods]
        centres, spreads = zip(*(_standard(one) for one in each), strict=True)
        total = np.sort(_total(each, centres, spreads))
        rank = min(math.ceil((len(total) + 1) * (1 - rate)), len(total))
        threshold = float(total[rank - 1]) if rank else _NEVER
        return cls(space, methods, centres, spreads, threshold, max(rate, 1 / (len(total) + 1)))

    def score(self, embeddings: Floats, logits: Floats) -> Floats:
        """How far above the threshold pictures lie, ``[n]``: unknown where it is above 0.

        Args:
            embeddings: ``[n, d]``.
            logits: ``[n, k]``.
        """
        each = [self.space.measure(method, embeddings, logits) for method in self.methods]
        return _total(each, self.centres, self.spreads) - np.float32(self.threshold)


@dataclass(frozen=True)
class Trial:
    """One round in which some classes were left out.

    Args:
        learnt: embeddings of pictures of the other classes that were learnt from, ``[n, d]``.
        truth: their classes, ``[n]``.
        embeddings: of pictures that were not learnt from, ``[m, d]``.
        logits: their answers among the other classes, ``[m, k]``.
        is_new: which of them are of a class that was left out, ``[m]``.
    """

    learnt: Floats
    truth: Ints
    embeddings: Floats
    logits: Floats
    is_new: NDArray[np.bool_]


def compare(trials: Sequence[Trial]) -> dict[str, float]:
    """How well each method and each combination tells left-out classes from the others.

    Returns:
        Under ``knn``, ``knn+energy`` and so on the mean area under the ROC curve over all trials.
    """
    found: dict[str, list[float]] = {}
    for trial in trials:
        space = Space.of(trial.learnt, trial.truth, spaced(trial.truth, MOST_KEPT // 4))
        each = {}
        for method in METHODS if trial.logits.shape[1] > 1 else ("knn",):
            raw = space.measure(method, trial.embeddings, trial.logits)
            centre, width = _standard(raw[~trial.is_new])
            each[method] = (raw - np.float32(centre)) / np.float32(width)
        for names in {(name,) for name in each} | set(COMBINATIONS):
            if set(names) <= set(each):
                total = np.sum([each[name] for name in names], axis=0)
                found.setdefault("+".join(names), []).append(auroc(total[~trial.is_new], total[trial.is_new]))
    order = ["+".join(names) for names in (*((name,) for name in METHODS), *COMBINATIONS[1:])]
    return {name: float(np.mean(found[name])) for name in order if name in found}


def choose(aurocs: dict[str, float]) -> tuple[str, ...]:
    """The combination with ``knn`` in it that tells left-out classes best; ``knn`` alone where nothing was tried."""
    allowed = {"+".join(names): names for names in COMBINATIONS if "+".join(names) in aurocs}
    best = max(allowed, key=lambda name: aurocs[name], default="knn")
    return allowed.get(best, ("knn",))


def auroc(known: Floats, new: Floats) -> float:
    """The probability that a new picture scores higher than a known one, ties counted half (Mann and Whitney 1947)."""
    order = np.sort(known)
    below, until = (np.searchsorted(order, new, side).sum() for side in ("left", "right"))
    return float((below + until) / 2 / (len(known) * len(new)))


def spaced(truth: Ints, most: int) -> Ints:
    """Positions of at most ``most`` pictures, the same share of every class and evenly spaced, rising."""
    if len(truth) <= most:
        return np.arange(len(truth))
    order = np.argsort(truth, kind="stable")
    return np.sort(order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)])


def _whitening(deviations: NDArray[np.float64], least: float = 0.0) -> NDArray[np.float64]:
    """The inverse root of their covariance, shrunk towards a sphere so that few pictures do.

    The sphere has their mean variance, or ``least`` where that is larger: the inverse of almost nothing, which is how
    a network may leave the pictures of a class apart, would make rounding large.
    """
    covariance = deviations.T @ deviations / max(len(deviations), 1)
    mean = max(np.trace(covariance) / len(covariance), least, 1e-12)
    values, vectors = np.linalg.eigh((1 - _SHRINKAGE) * covariance + _SHRINKAGE * mean * np.eye(len(covariance)))
    root: NDArray[np.float64] = vectors / np.sqrt(values)
    return root


def _standard(values: Floats) -> tuple[float, float]:
    """The median, and how far above it the 95% quantile lies; where they are all alike, no less than a hundredth."""
    centre, upper = np.quantile(values.astype(np.float64), [0.5, _UPPER]) if len(values) else (0.0, 1.0)
    # Of answers that are all sure, or pictures that are all near, a smaller spread would be rounding, and differ from
    # one way to compute it to the next.
    return float(centre), max(float(upper - centre), _LEAST_SPREAD * max(1.0, abs(float(centre))))


def _total(each: Sequence[Floats], centres: Sequence[float], spreads: Sequence[float]) -> Floats:
    parts = [
        (one - np.float32(centre)) / np.float32(width)
        for one, centre, width in zip(each, centres, spreads, strict=True)
    ]
    total: Floats = np.sum(parts, axis=0, dtype=np.float32)
    return total
