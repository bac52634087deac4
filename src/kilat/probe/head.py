"""A linear head on cached features: multinomial logistic regression, its L2 penalty chosen by cross-validation.

How it costs a second instead of half a minute: the standardised features are turned once into a few principal
components (``components``), and then all folds and penalties are fitted at the same time (``regression``).

Standardisation and components use all training features, never a label; every fitted weight uses its folds alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from kilat.features.backbone import Block
from kilat.probe.components import principal_components, standardise
from kilat.probe.regression import Problem
from kilat.recipe import Head as Settings
from kilat.runtime.array_types import Floats, Ints
from kilat.runtime.cores import parallel_map, single_threaded_blas

S = TypeVar("S", np.int64, np.float32)

_SEARCH_CELLS = 100_000
_SEARCH_LEAST = 2_000
_CURVE = (0.05, 0.1, 0.25, 0.5)
_LEAST_FOR_CURVE = 40


@dataclass(frozen=True)
class Head:
    """A linear head: ``clip((features - mean) * scale, ±CLIP) @ weight + bias`` are the logits.

    Args:
        mean: ``[features]``.
        scale: ``[features]``, one over the standard deviation.
        weight: ``[features, classes]``.
        bias: ``[classes]``.
    """

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        """Return logits ``[n, classes]`` of features ``[n, features]``."""
        logits: Floats = standardise(features, self.mean, self.scale) @ self.weight + self.bias
        return logits


@dataclass(frozen=True)
class PenaltyResult:
    """What cross-validation found of one L2 penalty."""

    l2_penalty: float
    log_loss: float
    accuracy: float


class CurvePoint(NamedTuple):
    """A point of the learning curve: after training on ``pictures``, ``correct`` of ``n`` held-out answers."""

    pictures: int
    correct: int
    n: int


@dataclass(frozen=True)
class FittedHead:
    """A head, what cross-validation found, and the scores of all pictures on the components that it works in.

    Args:
        head: fitted on all training pictures.
        l2_penalty: the one that was chosen.
        cross_validation: every penalty that was tried, the strongest first.
        held_out: the pictures that were held out once, as positions in the ``rows`` given to ``fit``, rising.
        held_out_logits: theirs, from heads of the other folds, ``[len(held_out), classes]``.
        learning_curve: accuracy on the first fold by how many of the other pictures were trained on.
        scores: of all pictures whose features were given to ``fit``, ``[any number, components + 1]``; the last column
            is a constant one. Where ``fit`` was allowed to overwrite the features, they lie in the same memory.
        coefficients: the head on those scores, ``[components + 1, classes]``, the bias last.
        basis: from standardised features to scores, ``[features, components]``.
    """

    head: Head
    l2_penalty: float
    cross_validation: tuple[PenaltyResult, ...]
    held_out: Ints
    held_out_logits: Floats
    learning_curve: tuple[CurvePoint, ...]
    scores: Floats
    coefficients: Floats
    basis: Floats

    def logits(self, rows: Ints) -> Floats:
        """Return the head's logits ``[n, classes]`` of some rows of the features that were given to ``fit``."""
        logits: Floats = self.scores[rows] @ self.coefficients
        return logits


def fit(
    features: Floats,
    rows: Ints,
    labels: Ints,
    fold: Ints,
    classes: int,
    blocks: Sequence[Block],
    settings: Settings,
    *,
    overwrite_features: bool = False,
) -> FittedHead:
    """Fit a head, its penalty chosen by the least log loss on held-out pictures.

    Args:
        features: of all pictures, ``[any number, features]``. Only read, unless ``overwrite_features``.
        rows: those of the training pictures, ``[n]``.
        labels: class of each training picture, ``[n]``.
        fold: in which fold each is held out, -1 for never, ``[n]``.
        classes: number of classes.
        blocks: how the features are laid out.
        settings: the recipe's section; its penalties are those on the mean loss over pictures.
        overwrite_features: whether the caller hands the features over (as SciPy's ``overwrite_a``): scores are written
            into their memory, so that a large set needs no room for both, and they must not be used afterwards.
    """
    with single_threaded_blas():
        components = principal_components(
            features, rows, blocks, settings.components, overwrite_features=overwrite_features
        )
        # Over all pictures, those that are not trained on with a weight of zero: choosing rows would copy them.
        count, ones = len(features), np.ones((1, len(features)), np.float32)
        weights = _class_weights(labels, classes, settings.class_weight)
        problem = Problem(
            components.scores, _scatter(count, rows, labels, 0), _scatter(count, rows, weights, 0.0), classes
        )
        folds = _scatter(count, rows, fold, -1)
        results, by_fold = _cross_validate(problem, folds, sorted(settings.l2, reverse=True))
        l2_penalty = min(results, key=lambda result: result.log_loss).l2_penalty
        if by_fold is None:
            masks = _training_masks(folds)
            by_fold = problem.solve(masks, [l2_penalty] * len(masks))
        held_out, held_out_logits = _held_out(problem, folds, by_fold)
        start = np.mean(by_fold, axis=0) if by_fold else None
        (coefficients,) = problem.solve(ones, [l2_penalty], start)
        curve = _learning_curve(problem, folds, l2_penalty, by_fold[0]) if by_fold else ()
    positions = _scatter(count, rows, np.arange(len(rows)), -1)[held_out]
    order = np.argsort(positions)
    return FittedHead(
        Head(components.mean, components.scale, components.basis @ coefficients[:-1], coefficients[-1]),
        l2_penalty,
        results,
        positions[order],
        held_out_logits[order],
        curve,
        components.scores,
        coefficients,
        components.basis,
    )


def _scatter(count: int, rows: Ints, values: NDArray[S], fill: float) -> NDArray[S]:
    """Return an array of ``count`` values, those given at their rows and ``fill`` elsewhere."""
    scattered = np.full(count, fill, values.dtype)
    scattered[rows] = values
    return scattered


def _cross_validate(
    problem: Problem, folds: Ints, l2_penalties: Sequence[float]
) -> tuple[tuple[PenaltyResult, ...], list[Floats] | None]:
    """Cross-validate every penalty, on a sample where there are many pictures.

    A penalty is a prior, and counts for less the more pictures there are: what is right for a sample of ``m`` pictures
    is scaled by ``m / n`` for all ``n``.

    Returns:
        The result of every penalty, and the coefficients of the best one for each fold; None where a sample was taken.
    """
    training = np.flatnonzero(problem.weights)
    rows = training[_stratified(problem.labels[training], max(_SEARCH_LEAST, _SEARCH_CELLS // problem.classes))]
    is_sample = len(rows) < len(training)
    sample, sample_folds = (problem.subset(rows), folds[rows]) if is_sample else (problem, folds)
    masks, tried = _training_masks(sample_folds), len(l2_penalties)
    if not len(masks):
        return (PenaltyResult(l2_penalties[tried // 2], 0.0, 0.0),), None
    solved = sample.solve(np.repeat(masks, tried, axis=0), list(l2_penalties) * len(masks))
    results = []
    for index, l2_penalty in enumerate(l2_penalties):
        held_out, logits = _held_out(sample, sample_folds, solved[index::tried])
        labels = sample.labels[held_out]
        accuracy = float((logits.argmax(1) == labels).mean())
        results.append(PenaltyResult(l2_penalty * (len(rows) / len(training)), _log_loss(logits, labels), accuracy))
    best = int(np.argmin([result.log_loss for result in results]))
    return tuple(results), None if is_sample else solved[best::tried]


def _training_masks(folds: Ints) -> Floats:
    """Return for every fold the mask of what is not in it, ``[folds, n]``."""
    numbers = np.unique(folds[folds >= 0])
    masks: Floats = (folds[None] != numbers[:, None]).astype(np.float32)
    return masks


def _held_out(problem: Problem, folds: Ints, by_fold: Sequence[Floats]) -> tuple[Ints, Floats]:
    """Return the rows that are held out once, and their logits from the head of the other folds."""
    logits = np.zeros((len(folds), problem.classes), np.float32)
    for number, coefficients in zip(np.unique(folds[folds >= 0]), by_fold, strict=True):
        held_out = folds == number
        logits[held_out] = problem.scores[held_out] @ coefficients
    rows = np.flatnonzero(folds >= 0)
    return rows, logits[rows]


def _learning_curve(problem: Problem, folds: Ints, l2_penalty: float, all_others: Floats) -> tuple[CurvePoint, ...]:
    """Return how often heads that were trained on parts of the other folds are right on the first fold.

    ``all_others`` is the head that was trained on all of the other folds. There is no curve of few pictures.
    """
    test = np.flatnonzero(folds == 0)
    training = np.flatnonzero((folds != 0) & (problem.weights > 0))
    if len(training) < _LEAST_FOR_CURVE:
        return ()

    def train(share: float) -> tuple[int, Floats]:
        part = training[_stratified(problem.labels[training], round(len(training) * share))]
        ones = np.ones((1, len(part)), np.float32)
        (coefficients,) = problem.subset(part).solve(ones, [l2_penalty * len(training) / len(part)])
        return len(part), coefficients

    trained = [*parallel_map(train, _CURVE), (len(training), all_others)]
    predicted = [(pictures, (problem.scores[test] @ head).argmax(1)) for pictures, head in trained]
    return tuple(
        CurvePoint(pictures, int((classes == problem.labels[test]).sum()), len(test)) for pictures, classes in predicted
    )


def _stratified(labels: Ints, most: int) -> Ints:
    """Return positions of about ``most`` pictures, the same share of every class and at least one, evenly spaced."""
    if len(labels) <= most:
        return np.arange(len(labels))
    kept = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = max(1, round(len(rows) * most / len(labels)))
        kept.append(rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)])
    return np.sort(np.concatenate(kept))


def _class_weights(labels: Ints, classes: int, weighting: str | None) -> Floats:
    """Return the weight of every picture, ``[n]``: 1, or such that all classes weigh the same."""
    if weighting != "balanced":
        return np.ones(len(labels), np.float32)
    counts = np.bincount(labels, minlength=classes)
    present = max(1, np.count_nonzero(counts))
    weights: Floats = (len(labels) / (present * np.maximum(counts, 1))).astype(np.float32)[labels]
    return weights


def _log_loss(logits: Floats, labels: Ints) -> float:
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).mean(dtype=np.float64))
