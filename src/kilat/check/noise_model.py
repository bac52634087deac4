"""How labels come about, as held-out answers show it: some are drawn at random, some classes are given as another one.

A label is its picture's true class, except that a share of all labels was drawn at random from all classes, and that
of some classes a share of the pictures was given as one certain other class. All of that, and the temperature of the
answers, is what makes the labels likeliest. At a fixed temperature the log-likelihood is concave in these shares, so
Newton's method finds them.

Whoever sorts pictures and does not know a class puts all of it where it looks right: mistakes in one direction. They
are told from classes that look alike by three things. The answers contradict them with confidence, which a lower
temperature would not explain; hardly any are there in the other direction; and there are more than the number of
pairs to choose from would make by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kilat.runtime.array_types import Doubles, Flags, Floats, Ints

MOST_REVERSE = 1 / 3
"""Confusion is one-way where the share given the other way round is at most so much of it."""

_INVERSE_TEMPERATURES = np.geomspace(0.25, 8, 41)
_CELLS = 2_000_000
_MOST_PAIRS, _REFUSALS = 50, 3
_NEWTON_STEPS, _HALVINGS = 50, 20
_FIRST_SHARE, _RIDGE, _CONVERGED = 0.01, 1e-9, 1e-6
_TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class OneWay:
    """A share of a class's pictures that were labelled as one certain other class."""

    truth: int
    label: int
    share: float


@dataclass(frozen=True)
class NoiseModel:
    """What makes some labels likeliest.

    Args:
        classes: how many there are.
        inverse_temperature: by which the answers' logits are multiplied.
        random: share of the labels that were drawn at random from all classes.
        one_way: shares of classes that were labelled as another class.
    """

    classes: int
    inverse_temperature: float
    random: float
    one_way: tuple[OneWay, ...] = ()

    def truth_given_label(self, scores: Floats, labels: Ints) -> tuple[Doubles, Doubles]:
        """Return how probable every class is to be the true one, before the label is known and with it, ``[n, k]``.

        Args:
            scores: logits, ``[n, k]``.
            labels: the given classes, ``[n]``.
        """
        answers, rows = softmax(scores, self.inverse_temperature), np.arange(len(labels))
        likelihood = np.full((len(labels), self.classes), self.random / self.classes)
        likelihood[rows, labels] += 1 - self.random
        for pair in self.one_way:
            moved = (1 - self.random) * pair.share
            likelihood[labels == pair.truth, pair.truth] -= moved
            likelihood[labels == pair.label, pair.truth] += moved
        truth: Doubles = answers * likelihood
        truth /= np.maximum(truth.sum(1, keepdims=True), _TINY)
        return answers, truth


def fit(scores: Floats, labels: Ints, evidence: float = np.inf) -> NoiseModel:
    """Return the model under which some labels are likeliest.

    Args:
        scores: held-out logits, ``[n, k]``; where there are very many, some of the pictures are taken.
        labels: the given classes, ``[n]``.
        evidence: by how much more than chance the share of a pair must raise the log-likelihood; infinite for a model
            of random labels alone.
    """
    count, k = scores.shape
    if not count:
        return NoiseModel(k, 1.0, 0.0)
    sample = np.linspace(0, count - 1, min(count, max(1, _CELLS // k))).round().astype(np.int64)
    search = _Search(scores[sample], labels[sample])
    best = search.fit([], range(len(_INVERSE_TEMPERATURES)))
    pairs: list[tuple[int, int]] = []
    closed, refused = np.eye(k, dtype=bool), 0 if evidence < np.inf else _REFUSALS
    enough = evidence + np.log(max(k * (k - 1), 1))
    while refused < _REFUSALS and len(pairs) < _MOST_PAIRS and (pair := search.likeliest_pair(best, pairs, closed)):
        closed[pair] = True
        more = search.climb([*pairs, pair], best)
        if more.log_likelihood > best.log_likelihood + enough and search.is_one_way(more, pairs, pair):
            best, pairs, refused = more, [*pairs, pair], 0
        else:
            refused += 1
    random, *moved = best.shares.tolist()
    one_way = tuple(OneWay(*pair, share / (1 - random)) for pair, share in zip(pairs, moved, strict=True) if share)
    return NoiseModel(k, float(_INVERSE_TEMPERATURES[best.temperature]), random, one_way)


@dataclass(frozen=True)
class _Fitted:
    """Shares at one temperature: of random labels, then of every pair (times one minus the former), ``[1 + pairs]``."""

    log_likelihood: float
    temperature: int
    shares: Doubles


class _Search:
    """Fits shares to some labels, at temperatures numbered as in ``_INVERSE_TEMPERATURES``."""

    def __init__(self, scores: Floats, labels: Ints) -> None:
        self.scores, self.labels, self.classes = scores, labels, scores.shape[1]

    def fit(self, pairs: Sequence[tuple[int, int]], temperatures: Sequence[int]) -> _Fitted:
        """Return the best shares of random labels and of some pairs, at the best of some temperatures."""
        return max((self._at(pairs, one) for one in temperatures), key=lambda fitted: fitted.log_likelihood)

    def climb(self, pairs: Sequence[tuple[int, int]], start: _Fitted) -> _Fitted:
        """Return the same at the best temperature around that of a fit, its neighbours being worse."""
        best = self._at(pairs, start.temperature)
        for step in (1, -1):
            while 0 <= best.temperature + step < len(_INVERSE_TEMPERATURES):
                further = self._at(pairs, best.temperature + step)
                if further.log_likelihood <= best.log_likelihood:
                    break
                best = further
        return best

    def is_one_way(self, fitted: _Fitted, pairs: Sequence[tuple[int, int]], pair: tuple[int, int]) -> bool:
        """Return whether there is little of a pair in the other direction, both directions being allowed."""
        both = self._at([*pairs, pair, pair[::-1]], fitted.temperature)
        return bool(both.shares[-1] <= MOST_REVERSE * both.shares[-2])

    def likeliest_pair(
        self, fitted: _Fitted, pairs: Sequence[tuple[int, int]], closed: Flags
    ) -> tuple[int, int] | None:
        """Return which share of a pair would raise the log-likelihood the most, in its second-order expansion."""
        answers = softmax(self.scores, float(_INVERSE_TEMPERATURES[fitted.temperature]))
        answers /= self._likelihood(answers, pairs, fitted.shares)[:, None]
        order = np.argsort(self.labels, kind="stable")
        present, starts = np.unique(self.labels[order], return_index=True)
        slope, curvature = np.zeros((2, self.classes, self.classes))
        slope[:, present] = np.add.reduceat(answers[order], starts).T
        curvature[:, present] = np.add.reduceat(answers[order] ** 2, starts).T
        slope -= slope.diagonal()[:, None]
        curvature += curvature.diagonal()[:, None]
        gain = np.where(closed | (slope <= 0), 0, slope**2 / np.maximum(curvature, _TINY))
        truth, label = divmod(int(gain.argmax()), self.classes)
        return (truth, label) if gain[truth, label] > 0 else None

    def _at(self, pairs: Sequence[tuple[int, int]], temperature: int) -> _Fitted:
        """Return the best shares at one temperature: Newton's method among those that are possible."""
        answers = softmax(self.scores, float(_INVERSE_TEMPERATURES[temperature]))
        own, changes = self._own(answers), self._changes(answers, pairs)
        of_class = np.zeros((self.classes, len(changes)))  # what a class loses to random labels and to its pairs
        of_class[:, 0] = 1
        for number, (truth, _label) in enumerate(pairs, start=1):
            of_class[truth, number] = 1

        def log_likelihood(shares: Doubles) -> float:
            likelihood = own + shares @ changes
            is_possible = (of_class @ shares <= 1).all() and (likelihood >= 0).all()
            return float(np.log(likelihood + _TINY).sum()) if is_possible else -np.inf

        shares = np.full(len(changes), _FIRST_SHARE)
        value = log_likelihood(shares)
        for _step in range(_NEWTON_STEPS):
            relative = changes / np.maximum(own + shares @ changes, _TINY)
            slope = relative.sum(1)
            free = (shares > 0) | (slope > 0)
            curvature = relative[free] @ relative[free].T + _RIDGE * np.eye(int(free.sum()))
            step = np.zeros(len(shares))
            step[free] = np.linalg.solve(curvature, slope[free])
            tried = (np.maximum(shares + step / 2**halving, 0) for halving in range(_HALVINGS))
            better = next((one for one in tried if log_likelihood(one) > value + _CONVERGED), None)
            if better is None:
                break
            shares, value = better, log_likelihood(better)
        return _Fitted(value, temperature, shares)

    def _own(self, answers: Doubles) -> Doubles:
        own: Doubles = answers[np.arange(len(answers)), self.labels]
        return own

    def _changes(self, answers: Doubles, pairs: Sequence[tuple[int, int]]) -> Doubles:
        """Return by how much every share, were it one, would change the likelihood of each label, ``[shares, n]``."""
        changes = np.zeros((1 + len(pairs), len(answers)))
        changes[0] = 1 / self.classes - self._own(answers)
        for number, (truth, label) in enumerate(pairs, start=1):
            gains, loses = self.labels == label, self.labels == truth
            changes[number] = (gains.astype(float) - loses) * answers[:, truth]
        return changes

    def _likelihood(self, answers: Doubles, pairs: Sequence[tuple[int, int]], shares: Doubles) -> Doubles:
        likelihood: Doubles = self._own(answers) + shares @ self._changes(answers, pairs)
        return np.maximum(likelihood, _TINY)


def softmax(scores: Floats, inverse_temperature: float) -> Doubles:
    """Return probabilities ``[n, k]`` of logits at a temperature, in double precision."""
    weights = scores.astype(np.float64)
    weights -= weights.max(1, keepdims=True)
    weights *= inverse_temperature
    np.exp(weights, out=weights)
    weights /= weights.sum(1, keepdims=True)
    return weights
