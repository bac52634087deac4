"""Out of distribution: a score of how unlike all training pictures a picture is, from its embedding and its logits.

Four methods, each higher the less a picture is like the training pictures, alone or standardised and added up:

- ``knn``: distance to the nearest training picture (Sun et al. 2022, arXiv 2204.06507, on embeddings that keep their
  length, since pictures that are far from everything lie nearer to the origin or further out);
- ``mahalanobis``: relative Mahalanobis distance to the nearest class (Ren et al. 2021, arXiv 2106.09022);
- ``energy``: the negative free energy of the logits (Liu et al. 2020, arXiv 2010.03759);
- ``max_softmax``: the likeliest class's probability, negated (Hendrycks and Gimpel 2017, arXiv 1610.02136).

Which of them is taken follows from classes that are left out of the training one after the other, which needs no
outside pictures. Another class of the same kind is hardest to detect; what comes from another world altogether is
recognised by its distance alone, and leaving classes out does not show that, so ``knn`` takes part in every choice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kilat.recipe import METHODS
from kilat.runtime.array_types import Doubles, Flags, Floats, Ints
from kilat.runtime.cores import parallel_map, single_threaded_blas

COMBINATIONS = (
    ("knn",), ("knn", "mahalanobis"), ("knn", "energy"), ("knn", "max_softmax"), ("knn", "mahalanobis", "energy"),
)  # fmt: skip
"""What is chosen among; in doubt the earlier one."""

MAX_INDEX = 8192
"""How many training pictures the nearest is searched among; of more, as large a share of every class is drawn."""

MAX_WIDTH = 128
"""The largest width of an embedding."""

_SHRINKAGE = 0.1
LEAST_SQUARE = 1e-4
"""Squares of distances end here, embeddings having a mean square length of one: smaller ones are mostly rounding."""
_ROWS = 512
_UPPER = 0.95
_LEAST_SPREAD = 0.01
_LEAST_WITHIN = 0.01
_NEVER = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class EmbeddingStatistics:
    """What the methods need of the training embeddings: an index for the nearest one, and Gaussian statistics.

    Args:
        index: embeddings of training pictures, ``[m, d]``, each a float16 number.
        within_whitening: turns deviations from a class's mean into ones of unit covariance, ``[d, d]``.
        class_means: the means of the classes, whitened by ``within_whitening``, ``[k, d]``.
        total_whitening: as ``within_whitening``, of deviations from the mean of all, ``[d, d]``.
        total_mean: the mean of all, whitened by ``total_whitening``, ``[d]``.
    """

    index: Floats
    within_whitening: Floats
    class_means: Floats
    total_whitening: Floats
    total_mean: Floats

    @classmethod
    def fit(cls, embeddings: Floats, truth: Ints, index: Ints | None = None) -> "EmbeddingStatistics":
        """Compute the statistics of training embeddings.

        Args:
            embeddings: ``[n, d]``.
            truth: their classes, ``[n]``; classes without a picture are ignored.
            index: positions of those to keep for ``knn``; all by default.
        """
        exact = embeddings.astype(np.float64)
        classes, labels = np.unique(truth, return_inverse=True)
        counts = np.bincount(labels)
        means = np.stack([np.bincount(labels, column) / counts for column in exact.T], axis=1)
        deviations = exact - exact.mean(0)
        within = _whitening(exact - means[labels], _LEAST_WITHIN * deviations.var())
        total = _whitening(deviations)
        kept = embeddings if index is None else embeddings[index]
        parts = (kept.astype(np.float16), within, means @ within, total, exact.mean(0) @ total)
        assert len(classes) == len(means)
        return cls(*(part.astype(np.float32) for part in parts))

    def score(self, method: str, embeddings: Floats, logits: Floats, excluded: Ints | None = None) -> Floats:
        """Return the scores of pictures by one method, ``[n]``, higher for what is less like the training pictures.

        Args:
            method: one of ``METHODS``.
            embeddings: of the pictures, ``[n, d]``.
            logits: of the pictures, ``[n, k]``.
            excluded: for pictures that are in the index themselves, the rows of the index that each is not compared
                with, ``[n, m]`` as a list of positions a picture, -1 for none.
        """
        if method == "knn":
            return self.nearest_distance(embeddings, excluded)
        if method == "mahalanobis":
            whitened = embeddings @ self.within_whitening
            lengths = np.einsum("kd,kd->k", self.class_means, self.class_means)
            nearest = (lengths - 2 * (whitened @ self.class_means.T)).argmin(1)
            # The same sums give the distance as well, but of classes that lie close together only their rounding.
            from_class = whitened - self.class_means[nearest]
            from_all = embeddings @ self.total_whitening - self.total_mean
            relative: Floats = np.einsum("nd,nd->n", from_class, from_class) - np.einsum("nd,nd->n", from_all, from_all)
            return relative
        top = logits.max(1)
        total = np.exp(logits - top[:, None]).sum(1)
        scores: Floats = -(top + np.log(total)) if method == "energy" else -1 / total
        return scores

    def nearest_distance(self, embeddings: Floats, excluded: Ints | None = None) -> Floats:
        """Return the distances to the nearest picture of the index, ``[n]``; see ``score`` for ``excluded``."""
        lengths = np.einsum("md,md->m", self.index, self.index)

        def nearest_squares(start: int) -> Floats:
            part = embeddings[start : start + _ROWS]
            squares = np.einsum("nd,nd->n", part, part)[:, None] + lengths - 2 * (part @ self.index.T)
            if excluded is not None:
                row, column = np.nonzero(excluded[start : start + _ROWS] >= 0)
                squares[row, excluded[start + row, column]] = np.inf
            nearest: Floats = squares.min(1)
            return nearest

        with single_threaded_blas():
            squares = parallel_map(nearest_squares, range(0, len(embeddings), _ROWS))
        distances: Floats = np.sqrt(np.maximum(np.concatenate([*squares, np.zeros(0, np.float32)]), LEAST_SQUARE))
        return distances


@dataclass(frozen=True)
class OodDetector:
    """A detector of pictures that are of none of the classes.

    Args:
        statistics: of the training embeddings.
        methods: whose standardised scores are added up.
        medians: the median score of in-distribution pictures by each method.
        spreads: from there to their 95% quantile.
        threshold: of the sum, above which a picture counts as unknown.
        false_positive_rate: the share of in-distribution pictures that lie above it all the same.
    """

    statistics: EmbeddingStatistics
    methods: tuple[str, ...]
    medians: tuple[float, ...]
    spreads: tuple[float, ...]
    threshold: float
    false_positive_rate: float

    @classmethod
    def fit(
        cls,
        statistics: EmbeddingStatistics,
        methods: tuple[str, ...],
        embeddings: Floats,
        logits: Floats,
        *,
        false_positive_rate: float,
        excluded: Ints | None = None,
    ) -> "OodDetector":
        """Standardise the methods, and set the threshold, on in-distribution pictures.

        The threshold is a conformal quantile: another such picture lies above it with a probability of at most
        ``false_positive_rate``. Of fewer than ``1 / false_positive_rate - 1`` pictures the highest score sets it, which
        guarantees less; of none, none ever lies above it.

        Args:
            statistics: of the training embeddings.
            methods: to add up.
            embeddings: of pictures that trained nothing (or are ``excluded`` from the index), ``[n, d]``.
            logits: theirs from a head that was not trained on them, ``[n, k]``.
            false_positive_rate: above 0 and below 1.
            excluded: see ``EmbeddingStatistics.score``.
        """
        scores = [statistics.score(method, embeddings, logits, excluded) for method in methods]
        medians, spreads = zip(*(_median_and_spread(score) for score in scores), strict=True)
        total = np.sort(_standardised_sum(scores, medians, spreads))
        rank = min(math.ceil((len(total) + 1) * (1 - false_positive_rate)), len(total))
        threshold = float(total[rank - 1]) if rank else _NEVER
        reached = max(false_positive_rate, 1 / (len(total) + 1))
        return cls(statistics, methods, medians, spreads, threshold, reached)

    def score(self, embeddings: Floats, logits: Floats) -> Floats:
        """Return how far above the threshold pictures lie, ``[n]``: unknown where it is above 0.

        Args:
            embeddings: ``[n, d]``.
            logits: ``[n, k]``.
        """
        scores = [self.statistics.score(method, embeddings, logits) for method in self.methods]
        return _standardised_sum(scores, self.medians, self.spreads) - np.float32(self.threshold)


@dataclass(frozen=True)
class LeftOutTrial:
    """One round in which some classes were left out.

    Args:
        train_embeddings: of the training pictures of the other classes, ``[n, d]``.
        train_truth: their classes, ``[n]``.
        embeddings: of pictures that were not trained on, ``[m, d]``.
        logits: theirs among the other classes, ``[m, k]``.
        is_left_out: which of them are of a class that was left out, ``[m]``.
    """

    train_embeddings: Floats
    train_truth: Ints
    embeddings: Floats
    logits: Floats
    is_left_out: Flags


def compare_methods(trials: Sequence[LeftOutTrial]) -> dict[str, float]:
    """Measure how well each method and each combination tells left-out classes from the others.

    Returns:
        Under ``knn``, ``knn+energy`` and so on the mean area under the ROC curve over all trials.
    """
    aurocs: dict[str, list[float]] = {}
    for trial in trials:
        kept = stratified_sample(trial.train_truth, MAX_INDEX // 4)
        statistics = EmbeddingStatistics.fit(trial.train_embeddings, trial.train_truth, kept)
        scores = {}
        for method in METHODS if trial.logits.shape[1] > 1 else ("knn",):
            raw = statistics.score(method, trial.embeddings, trial.logits)
            median, spread = _median_and_spread(raw[~trial.is_left_out])
            scores[method] = (raw - np.float32(median)) / np.float32(spread)
        for names in {(name,) for name in scores} | set(COMBINATIONS):
            if set(names) <= set(scores):
                total = np.sum([scores[name] for name in names], axis=0)
                area = auroc(total[~trial.is_left_out], total[trial.is_left_out])
                aurocs.setdefault("+".join(names), []).append(area)
    order = ["+".join(names) for names in (*((name,) for name in METHODS), *COMBINATIONS[1:])]
    return {name: float(np.mean(aurocs[name])) for name in order if name in aurocs}


def choose_methods(aurocs: dict[str, float]) -> tuple[str, ...]:
    """Choose the combination with ``knn`` that tells left-out classes best; ``knn`` alone where nothing was tried."""
    allowed = {"+".join(names): names for names in COMBINATIONS if "+".join(names) in aurocs}
    best = max(allowed, key=lambda name: aurocs[name], default="knn")
    return allowed.get(best, ("knn",))


def auroc(in_distribution: Floats, ood: Floats) -> float:
    """Return the area under the ROC curve of scores: how often one out of distribution is higher than one within.

    Ties count half (Mann and Whitney 1947).
    """
    order = np.sort(in_distribution)
    below, until = (np.searchsorted(order, ood, side).sum() for side in ("left", "right"))
    return float((below + until) / 2 / (len(in_distribution) * len(ood)))


def stratified_sample(truth: Ints, most: int) -> Ints:
    """Return positions of at most ``most`` pictures, the same share of every class and evenly spaced, rising."""
    if len(truth) <= most:
        return np.arange(len(truth))
    order = np.argsort(truth, kind="stable")
    return np.sort(order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)])


def _whitening(deviations: Doubles, least: float = 0.0) -> Doubles:
    """Return the inverse root of their covariance, shrunk towards a sphere so that few pictures do.

    The sphere has their mean variance, or ``least`` where that is larger: the inverse of almost nothing, which is how
    a network may leave the pictures of a class apart, would make rounding large.
    """
    covariance = deviations.T @ deviations / max(len(deviations), 1)
    mean = max(np.trace(covariance) / len(covariance), least, 1e-12)
    values, vectors = np.linalg.eigh((1 - _SHRINKAGE) * covariance + _SHRINKAGE * mean * np.eye(len(covariance)))
    root: Doubles = vectors / np.sqrt(values)
    return root


def _median_and_spread(values: Floats) -> tuple[float, float]:
    """Return the median, and how far above it the 95% quantile lies; where all are alike, no less than a hundredth."""
    median, upper = np.quantile(values.astype(np.float64), [0.5, _UPPER]) if len(values) else (0.0, 1.0)
    # Of logits that are all high, or pictures that are all near, a smaller spread would be rounding, and differ from
    # one way to compute it to the next.
    return float(median), max(float(upper - median), _LEAST_SPREAD * max(1.0, abs(float(median))))


def _standardised_sum(scores: Sequence[Floats], medians: Sequence[float], spreads: Sequence[float]) -> Floats:
    parts = [
        (score - np.float32(median)) / np.float32(spread)
        for score, median, spread in zip(scores, medians, spreads, strict=True)
    ]
    total: Floats = np.sum(parts, axis=0, dtype=np.float32)
    return total
