"""A linear head on cached features: multinomial logistic regression, its strength chosen by cross-validation.

How it costs a second instead of half a minute: the standardised features are turned once into the coordinates of their
leading principal components (a randomised range finder on the smaller Gram matrix, Halko et al., arXiv 0909.4061), and
then all folds and strengths are fitted at the same time, as columns of the same matrix products, by Nesterov's
accelerated gradient. The step of each coordinate comes from Böhning's bound on the curvature of the multinomial
log-likelihood (Böhning 1992), which is nearly diagonal in these coordinates; a few power iterations measure how much
it is not, so no line search is needed.

Standardisation and components see all training features, never a label; every fitted weight sees its folds alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.features.backbone import Block

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CLIP = 4.0
"""Standardised features are cut at this many standard deviations (cross-validation: 3 and 4 alike, no cut worse)."""

BLOCK_WEIGHTS = {"last": 0.7}
"""How much a block counts against the others. The last features are many and say similar things (cross-validation)."""

_CHUNK = 4096
_OVERSAMPLING = 32
_TOLERANCE = 3e-3
_MOST_STEPS = 300
_POWER_ITERATIONS = 8
_MARGIN = 1.1
_CELLS_AT_ONCE = 1 << 24
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
        chunks = [_standardise(chunk, self.mean, self.scale) @ self.weight for chunk in _chunks(features)]
        return np.concatenate(chunks) + self.bias if chunks else np.zeros((0, len(self.bias)), np.float32)


@dataclass(frozen=True)
class Strength:
    """How one strength of the penalty did on held-out pictures."""

    strength: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class Fitted:
    """A head with what cross-validation said of it.

    Args:
        head: fitted on all pictures.
        strength: of the L2 penalty that was chosen.
        strengths: what was tried, in the order given.
        held_out: which pictures were held out once, positions in the order given to ``fit``.
        logits: theirs, from heads that did not see them, ``[len(held_out), classes]``.
        curve: how many pictures were learnt from, how many held-out answers were right, and of how many.
    """

    head: Head
    strength: float
    strengths: tuple[Strength, ...]
    held_out: Ints
    logits: Floats
    curve: tuple[tuple[int, int, int], ...]


def fit(
    features: Floats,
    labels: Ints,
    fold: Ints,
    classes: int,
    blocks: Sequence[Block],
    *,
    strengths: Sequence[float],
    components: int,
    balanced: bool,
) -> Fitted:
    """Fits a head.

    Args:
        features: ``[n, features]``.
        labels: class of each, ``[n]``.
        fold: in which fold each is held out, -1 for never, ``[n]``.
        classes: how many there are.
        blocks: how the features are laid out.
        strengths: of the L2 penalty to choose from, for the mean loss over pictures; the best log loss wins.
        components: how many principal components are kept.
        balanced: whether every class weighs the same, however many pictures it has.
    """
    mean, scale = _moments(features)
    relative = np.concatenate([np.full(b.width, BLOCK_WEIGHTS.get(b.name, 1.0), np.float32) for b in blocks])
    basis = _components(features, mean, scale, relative, components)
    points = _project(features, mean, scale, basis)
    length = max(float(np.sqrt(np.mean(np.einsum("ij,ij->i", points, points)))), 1e-12)
    problem = _Problem(points / length, labels, _class_weights(labels, classes, balanced), classes)
    tried = _search(problem, fold, sorted(strengths, reverse=True))
    strength = tried.best.strength
    masks = _without_each(fold)
    solutions = tried.solutions or problem.solve(masks, [strength] * len(masks))
    held_out, logits = _held_out(problem, fold, solutions)
    start = np.mean(solutions, axis=0) if solutions else None
    (solution,) = problem.solve(np.ones((1, len(labels)), np.float32), [strength], start)
    head = Head(mean, scale, basis @ (solution[:-1] / length), solution[-1])
    curve = _learning_curve(problem, fold, strength, solutions[0] if solutions else None)
    return Fitted(head, strength, tried.strengths, held_out, logits, curve)


class _Problem:
    """Pictures in coordinates where any number of penalised multinomial regressions can be fitted side by side."""

    def __init__(self, points: Floats, labels: Ints, weights: Floats, classes: int) -> None:
        self.points = np.concatenate([points, np.ones((len(points), 1), np.float32)], axis=1)
        self.labels, self.weights, self.classes = labels, weights, classes

    def part(self, rows: Ints) -> "_Problem":
        """The same with some of the pictures."""
        return _Problem(self.points[rows, :-1], self.labels[rows], self.weights[rows], self.classes)

    def solve(self, masks: Floats, strengths: Sequence[float], start: Floats | None = None) -> list[Floats]:
        """Fits one regression for every row of ``masks`` (``[problems, n]``, 0 or 1) with its strength.

        Returns:
            For each, weights ``[components + 1, classes]``, the bias last.
        """
        at_once = max(1, _CELLS_AT_ONCE // (len(self.labels) * self.classes))
        solutions: list[Floats] = []
        for begin in range(0, len(masks), at_once):
            some = slice(begin, begin + at_once)
            solutions.extend(self._solve_together(masks[some], np.asarray(strengths[some], np.float32), start))
        return solutions

    def _solve_together(self, masks: Floats, strengths: Floats, start: Floats | None) -> list[Floats]:
        count, width = len(masks), self.points.shape[1]
        share = masks * self.weights
        share /= np.maximum(share.sum(1, keepdims=True), 1e-12)
        penalty = np.outer(np.append(np.ones(width - 1, np.float32), 0), strengths)
        step = self._steps(share, penalty.astype(np.float32))[:, None]
        penalty = penalty.astype(np.float32)[:, None]
        here = np.zeros((width, self.classes, count), np.float32) if start is None else start[:, :, None]
        ahead, pace = here, np.ones(count)
        for _ in range(_MOST_STEPS):
            slope = self._gradient(ahead, share) + penalty * ahead
            change = step * slope
            there = ahead - change
            if np.sqrt((change * slope).sum((0, 1)).max()) < _TOLERANCE:
                here = there
                break
            moved = there - here
            uphill = (slope * moved).sum((0, 1)) > 0  # O'Donoghue & Candès: start the momentum anew
            faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
            momentum = np.where(uphill, 0, (pace - 1) / faster).astype(np.float32)
            pace = np.where(uphill, 1, faster)
            ahead, here = there + momentum * moved, there
        return list(here.transpose(2, 0, 1))

    def _steps(self, share: Floats, penalty: Floats) -> Floats:
        """The longest safe step of every coordinate, ``[components + 1, problems]``."""
        diagonal = np.maximum(0.5 * ((self.points**2).T @ share.T) + penalty, 1e-8)
        root = np.sqrt(diagonal)
        vector = root / np.linalg.norm(root, axis=0)
        excess = np.ones(share.shape[0], np.float32)
        for _ in range(_POWER_ITERATIONS):
            turned = vector / root
            turned = (0.5 * (self.points.T @ ((self.points @ turned) * share.T)) + penalty * turned) / root
            excess = np.linalg.norm(turned, axis=0)
            vector = turned / np.maximum(excess, 1e-12)
        steps: Floats = 1 / (diagonal * np.maximum(_MARGIN * excess, 1))
        return steps

    def _gradient(self, weights: Floats, share: Floats) -> Floats:
        """Slope of every problem's loss, ``[components + 1, classes, problems]``; problems lie innermost for speed."""
        excess = (self.points @ weights.reshape(len(weights), -1)).reshape(-1, *weights.shape[1:])
        excess -= excess.max(1, keepdims=True)
        np.exp(excess, out=excess)
        excess /= excess.sum(1, keepdims=True)
        excess[np.arange(len(excess)), self.labels] -= 1
        excess *= share.T[:, None]
        slope: Floats = (self.points.T @ excess.reshape(len(excess), -1)).reshape(weights.shape)
        return slope


@dataclass(frozen=True)
class _Search:
    """What came of every strength; ``solutions`` are the best one's, a fold each, where no sample was taken."""

    strengths: tuple[Strength, ...]
    solutions: list[Floats]

    @property
    def best(self) -> Strength:
        return min(self.strengths, key=lambda s: s.log_loss)


def _search(problem: _Problem, fold: Ints, strengths: Sequence[float]) -> _Search:
    """Cross-validates every strength, on a sample where there are many pictures.

    A penalty is a prior, and counts for less the more pictures there are: what is right for a sample of ``m`` pictures
    is scaled by ``m / n`` for all ``n``.
    """
    most = max(_SEARCH_LEAST, _SEARCH_CELLS // problem.classes)
    rows = _thinned(problem.labels, most)
    sample, sample_fold = (problem, fold) if len(rows) == len(fold) else (problem.part(rows), fold[rows])
    scaling = len(rows) / len(fold)
    masks = _without_each(sample_fold)
    if not len(masks):
        return _Search((Strength(strengths[len(strengths) // 2], 0.0, 0.0),), [])
    solutions = sample.solve(np.repeat(masks, len(strengths), axis=0), list(strengths) * len(masks))
    tried, per_strength = [], [solutions[which :: len(strengths)] for which in range(len(strengths))]
    for strength, ones in zip(strengths, per_strength, strict=True):
        held, logits = _held_out(sample, sample_fold, ones)
        right = logits.argmax(1) == sample.labels[held]
        tried.append(Strength(strength * scaling, _log_loss(logits, sample.labels[held]), float(right.mean())))
    best = int(np.argmin([one.log_loss for one in tried]))
    return _Search(tuple(tried), per_strength[best] if sample is problem else [])


def _without_each(fold: Ints) -> Floats:
    """For every fold the mask of what is not in it, ``[folds, n]``."""
    numbers = np.unique(fold[fold >= 0])
    masks: Floats = (fold[None] != numbers[:, None]).astype(np.float32)
    return masks


def _held_out(problem: _Problem, fold: Ints, solutions: Sequence[Floats]) -> tuple[Ints, Floats]:
    """Which pictures were held out, and their logits from the heads (a fold each) that did not see them."""
    logits = np.zeros((len(fold), problem.classes), np.float32)
    for number, solution in zip(np.unique(fold[fold >= 0]), solutions, strict=True):
        held = fold == number
        logits[held] = problem.points[held] @ solution
    rows = np.flatnonzero(fold >= 0)
    return rows, logits[rows]


def _learning_curve(
    problem: _Problem, fold: Ints, strength: float, whole: Floats | None
) -> tuple[tuple[int, int, int], ...]:
    """How many pictures of the first fold are answered rightly after learning from a part of the others.

    ``whole`` is the head that learnt from all of the others.
    """
    held = np.flatnonzero(fold == 0)
    rest = np.flatnonzero(fold != 0)
    if len(rest) < _LEAST_FOR_CURVE or whole is None:
        return ()
    points = []
    for share in _CURVE:
        part = rest[_thinned(problem.labels[rest], round(len(rest) * share))]
        everyone = np.ones((1, len(part)), np.float32)
        (solution,) = problem.part(part).solve(everyone, [strength * len(rest) / len(part)])
        points.append((len(part), solution))
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


def _class_weights(labels: Ints, classes: int, balanced: bool) -> Floats:
    if not balanced:
        return np.ones(len(labels), np.float32)
    counts = np.bincount(labels, minlength=classes)
    present = max(1, np.count_nonzero(counts))
    weights: Floats = (len(labels) / (present * np.maximum(counts, 1))).astype(np.float32)[labels]
    return weights


def _log_loss(logits: Floats, labels: Ints) -> float:
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]).mean(dtype=np.float64))


def _chunks(features: Floats) -> Iterator[Floats]:
    for start in range(0, len(features), _CHUNK):
        yield features[start : start + _CHUNK]


def _moments(features: Floats) -> tuple[Floats, Floats]:
    """Mean, and one over the standard deviation, of every feature, chunk by chunk."""
    mean = sum(chunk.sum(0, dtype=np.float64) for chunk in _chunks(features)) / len(features)
    centred = mean.astype(np.float32)
    variance = sum(np.square(chunk - centred).sum(0, dtype=np.float64) for chunk in _chunks(features)) / len(features)
    return centred, (1 / np.sqrt(variance + 1e-10)).astype(np.float32)


def _standardise(features: Floats, mean: Floats, scale: Floats) -> Floats:
    standard: Floats = np.clip((features - mean) * scale, -CLIP, CLIP)
    return standard


def _components(features: Floats, mean: Floats, scale: Floats, relative: Floats, count: int) -> Floats:
    """The leading principal directions ``[features, count]``, weighted by block, for standardised features."""
    pictures, width = features.shape
    count = min(count, width, pictures)
    if pictures <= width:
        weighted = _standardise(features, mean, scale) * relative
        mixtures, squares = _leading(weighted @ weighted.T, count)
        directions = (weighted.T @ (mixtures / np.sqrt(squares))).astype(np.float32)
    else:
        gram = np.zeros((width, width), np.float32)
        for chunk in _chunks(features):
            weighted = _standardise(chunk, mean, scale) * relative
            gram += weighted.T @ weighted
        directions, _ = _leading(gram, count)
    return directions * relative[:, None]


def _leading(gram: Floats, count: int) -> tuple[Floats, Floats]:
    """Approximate leading eigenvectors and eigenvalues of a symmetric positive matrix, largest first."""
    size = len(gram)
    if size > count + _OVERSAMPLING:
        start = np.random.default_rng(0).standard_normal((size, count + _OVERSAMPLING), dtype=np.float32)
        span = np.linalg.qr(gram @ start)[0]
        values, inner = np.linalg.eigh(span.T @ (gram @ span))
        vectors = span @ inner
    else:
        values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][:count]
    order = order[values[order] > values.max() * 1e-7]
    return np.ascontiguousarray(vectors[:, order]), values[order]


def _project(features: Floats, mean: Floats, scale: Floats, basis: Floats) -> Floats:
    return np.concatenate([_standardise(chunk, mean, scale) @ basis for chunk in _chunks(features)])
