"""A linear head on cached features: multinomial logistic regression, its l2_penalty chosen by cross-validation.

How it costs a second instead of half a minute: the standardised features are turned once into few coordinates
(``components``), and then all folds and l2_penalties are fitted at the same time (``regression``).

Standardisation and components see all training features, never a label; every fitted weight sees its folds alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kilat.features.backbone import Block
from kilat.probe.components import PrincipalComponents, coordinates, standardise
from kilat.probe.regression import Problem
from kilat.recipe import Head as Settings
from kilat.runtime.cores import parallel_map, single_threaded_blas

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
S = TypeVar("S", np.int64, np.float32)

_SEARCH_CELLS = 100_000
_SEARCH_LEAST = 2_000
_CURVE = (0.05, 0.1, 0.25, 0.5)
_LEAST_FOR_CURVE = 40


@dataclass(frozen=True)
class Head:
    """A fitted linear head: ``clip((features - mean) * scale, ±CLIP) @ weight + bias`` are the logits.

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
        """Logits ``[n, classes]`` of features ``[n, features]``."""
        logits: Floats = standardise(features, self.mean, self.scale) @ self.weight + self.bias
        return logits


@dataclass(frozen=True)
class TriedPenalty:
    """How one l2_penalty of the penalty did on held-out pictures."""

    l2_penalty: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class Fitted:
    """A head with what cross-validation said of it.

    Args:
        head: fitted on all pictures.
        l2_penalty: of the L2 penalty that was chosen.
        l2_penalties: what was tried, the strongest first.
        held_out: which pictures were held out once, positions in the order given to ``fit``.
        logits: theirs, from heads that did not see them, ``[len(held_out), classes]``.
        curve: how many pictures were learnt from, how many held-out answers were right, and of how many.
        points: all pictures in the coordinates that the head was fitted in.
        solution: the head in those coordinates.
        basis: from standardised features to those coordinates, ``[features, components]``.
    """

    head: Head
    l2_penalty: float
    l2_penalties: tuple[TriedPenalty, ...]
    held_out: Ints
    logits: Floats
    curve: tuple[tuple[int, int, int], ...]
    points: Floats
    solution: Floats
    basis: Floats

    def answer(self, rows: Ints) -> Floats:
        """The head's logits ``[n, classes]`` of some rows of the features that were given to ``fit``."""
        logits: Floats = self.points[rows] @ self.solution
        return logits


def fit(
    features: Floats,
    rows: Ints,
    labels: Ints,
    fold: Ints,
    classes: int,
    blocks: Sequence[Block],
    settings: Settings,
) -> Fitted:
    """Fits a head.

    Args:
        features: of all pictures, ``[any number, features]``; written over, so that a large set needs no second room.
        rows: which of them to learn from, ``[n]``.
        labels: class of each of those, ``[n]``.
        fold: in which fold each is held out, -1 for never, ``[n]``.
        classes: how many there are.
        blocks: how the features are laid out.
        settings: the recipe's section. A l2_penalty is that of the L2 penalty on the mean loss over pictures; the one
            with the least log loss on held-out pictures is chosen.
    """
    with single_threaded_blas():
        place = coordinates(features, rows, blocks, settings.components)
        weights = _class_weights(labels, classes, settings.class_weight)
        # Over all pictures, those that are not learnt from with a weight of zero: choosing rows would copy them.
        spots = len(features), rows
        problem = Problem(place.points, _at(*spots, labels, 0), _at(*spots, weights, 0.0), classes)
        fitted = _fit(place, problem, _at(*spots, fold, -1), settings)
    position = _at(*spots, np.arange(len(rows)), -1)[fitted.held_out]
    order = np.argsort(position)
    return replace(fitted, held_out=position[order], logits=fitted.logits[order])


def _at(count: int, rows: Ints, values: NDArray[S], otherwise: float) -> NDArray[S]:
    """Values that stand at some of ``count`` rows, something else at the others."""
    spread_out = np.full(count, otherwise, values.dtype)
    spread_out[rows] = values
    return spread_out


def _fit(place: PrincipalComponents, problem: Problem, fold: Ints, settings: Settings) -> Fitted:
    tried = _search(problem, fold, sorted(settings.l2, reverse=True))
    l2_penalty = tried.best.l2_penalty
    masks = _without_each(fold)
    solutions = tried.solutions or problem.solve(masks, [l2_penalty] * len(masks))
    held_out, logits = _held_out(problem, fold, solutions)
    start = np.mean(solutions, axis=0) if solutions else None
    (solution,) = problem.solve(np.ones((1, len(fold)), np.float32), [l2_penalty], start)
    head = Head(place.mean, place.scale, place.basis @ solution[:-1], solution[-1])
    curve = _learning_curve(problem, fold, l2_penalty, solutions[0] if solutions else None)
    return Fitted(head, l2_penalty, tried.l2_penalties, held_out, logits, curve, problem.points, solution, place.basis)


@dataclass(frozen=True)
class _Search:
    """What came of every l2_penalty; ``solutions`` are the best one's, a fold each, where no sample was taken."""

    l2_penalties: tuple[TriedPenalty, ...]
    solutions: list[Floats]

    @property
    def best(self) -> TriedPenalty:
        return min(self.l2_penalties, key=lambda s: s.log_loss)


def _search(problem: Problem, fold: Ints, l2_penalties: Sequence[float]) -> _Search:
    """Cross-validates every l2_penalty, on a sample where there are many pictures.

    A penalty is a prior, and counts for less the more pictures there are: what is right for a sample of ``m`` pictures
    is scaled by ``m / n`` for all ``n``.
    """
    most = max(_SEARCH_LEAST, _SEARCH_CELLS // problem.classes)
    learnt = np.flatnonzero(problem.weights)
    rows = learnt[_thinned(problem.labels[learnt], most)]
    sample, sample_fold = (problem, fold) if len(rows) == len(learnt) else (problem.part(rows), fold[rows])
    scaling = len(rows) / len(learnt)
    masks = _without_each(sample_fold)
    if not len(masks):
        return _Search((TriedPenalty(l2_penalties[len(l2_penalties) // 2], 0.0, 0.0),), [])
    solutions = sample.solve(np.repeat(masks, len(l2_penalties), axis=0), list(l2_penalties) * len(masks))
    tried, per_strength = [], [solutions[which :: len(l2_penalties)] for which in range(len(l2_penalties))]
    for l2_penalty, ones in zip(l2_penalties, per_strength, strict=True):
        held, logits = _held_out(sample, sample_fold, ones)
        right = logits.argmax(1) == sample.labels[held]
        tried.append(TriedPenalty(l2_penalty * scaling, _log_loss(logits, sample.labels[held]), float(right.mean())))
    best = int(np.argmin([one.log_loss for one in tried]))
    return _Search(tuple(tried), per_strength[best] if sample is problem else [])


def _without_each(fold: Ints) -> Floats:
    """For every fold the mask of what is not in it, ``[folds, n]``."""
    numbers = np.unique(fold[fold >= 0])
    masks: Floats = (fold[None] != numbers[:, None]).astype(np.float32)
    return masks


def _held_out(problem: Problem, fold: Ints, solutions: Sequence[Floats]) -> tuple[Ints, Floats]:
    """Which pictures were held out, and their logits from the heads (a fold each) that did not see them."""
    logits = np.zeros((len(fold), problem.classes), np.float32)
    for number, solution in zip(np.unique(fold[fold >= 0]), solutions, strict=True):
        held = fold == number
        logits[held] = problem.points[held] @ solution
    rows = np.flatnonzero(fold >= 0)
    return rows, logits[rows]


def _learning_curve(
    problem: Problem, fold: Ints, l2_penalty: float, whole: Floats | None
) -> tuple[tuple[int, int, int], ...]:
    """How many pictures of the first fold are answered rightly after learning from a part of the others.

    ``whole`` is the head that learnt from all of the others.
    """
    held = np.flatnonzero(fold == 0)
    rest = np.flatnonzero((fold != 0) & (problem.weights > 0))
    if len(rest) < _LEAST_FOR_CURVE or whole is None:
        return ()

    def learn(share: float) -> tuple[int, Floats]:
        part = rest[_thinned(problem.labels[rest], round(len(rest) * share))]
        everyone = np.ones((1, len(part)), np.float32)
        (solution,) = problem.part(part).solve(everyone, [l2_penalty * len(rest) / len(part)])
        return len(part), solution

    points = parallel_map(learn, _CURVE)
    answers = [(count, (problem.points[held] @ head).argmax(1)) for count, head in [*points, (len(rest), whole)]]
    return tuple((count, int((answer == problem.labels[held]).sum()), len(held)) for count, answer in answers)


def _thinned(labels: Ints, most: int) -> Ints:
    """Positions of about ``most`` pictures, the same share of every class and at least one, evenly spaced."""
    if len(labels) <= most:
        return np.arange(len(labels))
    kept = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = max(1, round(len(rows) * most / len(labels)))
        kept.append(rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)])
    return np.sort(np.concatenate(kept))


def _class_weights(labels: Ints, classes: int, weighting: str | None) -> Floats:
    if weighting != "balanced":
        return np.ones(len(labels), np.float32)
    counts = np.bincount(labels, minlength=classes)
    present = max(1, np.count_nonzero(counts))
    weights: Floats = (len(labels) / (present * np.maximum(counts, 1))).astype(np.float32)[labels]
    return weights


def _log_loss(logits: Floats, labels: Ints) -> float:
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).mean(dtype=np.float64))
