"""A linear head on cached features: multinomial logistic regression, its L2 penalty chosen by cross-validation.

How it costs a second instead of half a minute: the standardised features are turned once into a few principal
components (``components``), in which a regression takes few steps (``regression``); each penalty begins with what the
next stronger one came to in the same fold; and where there are many pictures and classes, penalties are compared on a
sample, and on the first fold alone. With many classes they draw towards a discriminant (``discriminant``) or zero.

Standardisation and components use all training features, never a label; every fitted weight uses its folds alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from kilat.features.backbone import Block
from kilat.locale.notes import Note
from kilat.probe.components import Directions, PrincipalComponents, principal_directions, standardise
from kilat.probe.discriminant import calibrated_log_loss
from kilat.probe.regression import MANY_CLASSES, Problem, Stop, Towards, never
from kilat.recipe import Head as Settings
from kilat.runtime.array_types import Floats, Ints
from kilat.runtime.cores import parallel_map, single_threaded_blas
from kilat.runtime.result_cache import Result, ResultCache

S = TypeVar("S", np.int64, np.float32)

_SEARCH_CELLS = 100_000
_SEARCH_LEAST = 2_000
_SEARCH_PER_CLASS = 10
_ALL_FOLDS_CELLS = 250_000
"""Numbers (pictures of the search times classes) up to which penalties are compared on every fold."""
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
class HeadTimes:
    """When the parts of a fit must be over: functions that say whether they are, which they never are by default.

    Args:
        search: of the L2 penalty, which is compared on fewer folds then, and the fewest penalties; the first is tried.
        folds: of the cross-validation with that penalty, of which fewer are held out then; the first is.
        end: of the last regression, which makes fewer steps then.
    """

    search: Stop = never
    folds: Stop = never
    end: Stop = never


@dataclass(frozen=True)
class PenaltyResult:
    """What cross-validation found of one L2 penalty, and what that draws the head towards."""

    l2_penalty: float
    log_loss: float
    accuracy: float
    towards: Towards = "zero"


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
        towards: what the penalty draws it to.
        notes: what a time limit left undone.
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
    towards: Towards
    notes: tuple[Note, ...] = ()

    def logits(self, rows: Ints) -> Floats:
        """Return the head's logits ``[n, classes]`` of some rows of the features that were given to ``fit``."""
        logits: Floats = self.scores[rows] @ self.coefficients
        return logits


def fit(  # noqa: PLR0913 - what it is fitted to, and how
    features: Floats,
    rows: Ints,
    labels: Ints,
    fold: Ints,
    classes: int,
    blocks: Sequence[Block],
    settings: Settings,
    *,
    overwrite_features: bool = False,
    times: Callable[[], HeadTimes] = HeadTimes,
    results: ResultCache | None = None,
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
        times: called when the components are there: when the other parts must be over.
        results: of earlier fits; None for none.
    """
    kept = results or ResultCache()
    with single_threaded_blas():
        components = components_of(
            features, rows, blocks, settings.components, kept, overwrite_features=overwrite_features
        )
        until = times()
        # Over all pictures, those that are not trained on with a weight of zero: choosing rows would copy them.
        count = len(features)
        weights = _scatter(count, rows, class_weights(labels, classes, settings.class_weight), 0.0)
        problem = Problem(components.scores, _scatter(count, rows, labels, 0), weights, classes)
        folds = _scatter(count, rows, fold, -1)
        l2_penalties = sorted(settings.l2, reverse=True)
        pictures = {"scores": problem.scores, "labels": problem.labels, "weights": weights, "folds": folds}
        solved = kept.recall(
            "head",
            {**pictures, "classes": classes, "l2": l2_penalties},
            lambda: _solve(problem, folds, l2_penalties, until),
        )
    document, coefficients = solved.document, solved.arrays["coefficients"]
    positions = _scatter(count, rows, np.arange(len(rows)), -1)[solved.arrays["held_out"]]
    order = np.argsort(positions)
    return FittedHead(
        Head(components.mean, components.scale, components.basis @ coefficients[:-1], coefficients[-1]),
        document["l2_penalty"],
        tuple(PenaltyResult(*result) for result in document["cross_validation"]),
        positions[order],
        solved.arrays["held_out_logits"][order],
        tuple(CurvePoint(*point) for point in document["learning_curve"]),
        components.scores,
        coefficients,
        components.basis,
        document["towards"],
        tuple(Note(code, values) for code, values in document["notes"]),
    )


def components_of(
    features: Floats,
    rows: Ints,
    blocks: Sequence[Block],
    count: int,
    results: ResultCache,
    *,
    overwrite_features: bool = False,
) -> PrincipalComponents:
    """Return the components that a head works in, found on some rows, and the scores of all pictures (``fit``)."""
    found = results.recall(
        "directions",
        {"features": features, "rows": rows, "blocks": [(one.name, one.width) for one in blocks], "count": count},
        lambda: Result({}, vars(principal_directions(features, rows, blocks, count))),
    )
    return Directions(**found.arrays).project(features, rows, overwrite_features=overwrite_features)


def _solve(problem: Problem, folds: Ints, l2_penalties: Sequence[float], until: HeadTimes) -> Result:
    """Choose the penalty, fit the folds and the head, and draw the learning curve, all as plain data."""
    search = _search(problem, folds, l2_penalties, until)
    l2_penalty, towards = search.best.l2_penalty, search.best.towards
    problem = problem.drawn_to(towards)
    by_fold = _finish_folds(problem, folds, l2_penalty, search.by_fold, until)
    held_out, held_out_logits = _held_out(problem, folds, by_fold)
    curve = () if until.folds() else _learning_curve(problem, folds, l2_penalty, by_fold)
    start = np.mean(list(by_fold.values()), axis=0) if by_fold else None
    coefficients = problem.solve_one(np.ones(len(folds), np.float32), l2_penalty, start, until.end)
    notes = _notes(search, len(l2_penalties), len(by_fold), len(_numbers(folds)))
    document = {
        "l2_penalty": l2_penalty,
        "towards": towards,
        "cross_validation": [list(vars(result).values()) for result in search.results],
        "learning_curve": [list(point) for point in curve],
        "notes": [(note.code, dict(note.values)) for note in notes],
    }
    return Result(document, {"coefficients": coefficients, "held_out": held_out, "held_out_logits": held_out_logits})


def _scatter(count: int, rows: Ints, values: NDArray[S], fill: float) -> NDArray[S]:
    """Return an array of ``count`` values, those given at their rows and ``fill`` elsewhere."""
    scattered = np.full(count, fill, values.dtype)
    scattered[rows] = values
    return scattered


class Search(NamedTuple):
    """What was found of the L2 penalties: a result for each that was tried, and the best one's head for some folds."""

    results: tuple[PenaltyResult, ...]
    by_fold: dict[int, Floats]

    @property
    def best(self) -> PenaltyResult:
        """The result of the least log loss."""
        return min(self.results, key=lambda result: result.log_loss)


def _search(problem: Problem, folds: Ints, l2_penalties: Sequence[float], times: HeadTimes) -> Search:
    """Compare L2 penalties on held-out pictures: of a sample where there are many, of one fold if it is still large.

    A penalty is a prior, and counts for less the more pictures there are: what is right for a sample of ``m`` pictures
    is scaled by ``m / n`` for all ``n``.
    """
    training = np.flatnonzero(problem.weights)
    classes = problem.classes
    most = max(_SEARCH_LEAST, _SEARCH_CELLS // classes, _SEARCH_PER_CLASS * classes)
    rows = training[_stratified(problem.labels[training], most)]
    is_sample = len(rows) < len(training)
    sample, sample_folds = (problem.subset(rows), folds[rows]) if is_sample else (problem, folds)
    directions: tuple[Towards, ...] = ("zero",) if classes < MANY_CLASSES else ("discriminant", "zero")
    numbers = _numbers(sample_folds)
    if not numbers:
        middle = PenaltyResult(l2_penalties[len(l2_penalties) // 2], 0.0, 0.0, directions[0])
        return Search((middle,), {})
    if len(rows) * classes > _ALL_FOLDS_CELLS:
        numbers = numbers[:1]
    results: list[PenaltyResult] = []
    heads: list[dict[int, Floats]] = []
    for towards in directions:
        if results and times.search():
            break
        by_fold = _paths(sample.drawn_to(towards), sample_folds, numbers, l2_penalties, times)
        for l2_penalty, *ones in zip(l2_penalties, *by_fold.values(), strict=False):
            heads.append(dict(zip(by_fold, ones, strict=True)))
            held_out, logits = _held_out(sample, sample_folds, heads[-1])
            labels = sample.labels[held_out]
            accuracy, scaled = float((logits.argmax(1) == labels).mean()), l2_penalty * (len(rows) / len(training))
            results.append(PenaltyResult(scaled, calibrated_log_loss(logits, labels)[0], accuracy, towards))
    best = int(np.argmin([result.log_loss for result in results]))
    return Search(tuple(results), {} if is_sample else heads[best])


def _paths(
    problem: Problem, folds: Ints, numbers: Sequence[int], l2_penalties: Sequence[float], times: HeadTimes
) -> dict[int, list[Floats]]:
    """Return for each fold the heads that leave it out, the strongest penalty first, each the start of the next one.

    Where time is over there are fewer penalties, at least one, and fewer folds, with as many penalties as the first.
    """
    first, *others = numbers

    def path(number: int) -> list[Floats]:
        heads: list[Floats] = []
        mask = (folds != number).astype(np.float32)
        for l2_penalty in l2_penalties:
            if (heads or number != first) and times.search():
                break
            heads.append(problem.solve_one(mask, l2_penalty, heads[-1] if heads else None, times.search))
        return heads

    paths = [path(first), *(map(path, others) if problem.is_large else parallel_map(path, others))]
    return {number: heads for number, heads in zip(numbers, paths, strict=True) if len(heads) >= len(paths[0])}


def _finish_folds(
    problem: Problem, folds: Ints, l2_penalty: float, by_fold: dict[int, Floats], times: HeadTimes
) -> dict[int, Floats]:
    """Return the head that leaves out each fold: those that the search has fitted, and the others; one at least."""
    missing = [number for number in _numbers(folds) if number not in by_fold]
    if by_fold and times.folds():
        missing = []
    masks = (folds[None] != np.array(missing, np.int64)[:, None]).astype(np.float32)
    solved = zip(missing, problem.solve(masks, l2_penalty, stop=times.folds), strict=True)
    finished = {**by_fold, **{number: head for number, head in solved if head is not None}}
    return {number: finished[number] for number in sorted(finished)}


def _notes(search: Search, penalties: int, folds_done: int, folds: int) -> tuple[Note, ...]:
    notes = []
    tried = len({result.l2_penalty for result in search.results})
    if folds and tried < penalties:
        notes.append(Note("time_limit_penalties", {"count": tried, "total": penalties}))
    if folds_done < folds:
        notes.append(Note("time_limit_folds", {"count": folds_done, "total": folds}))
    return tuple(notes)


def _numbers(folds: Ints) -> list[int]:
    """Return the numbers of the folds that are held out."""
    return [int(number) for number in np.unique(folds[folds >= 0])]


def _held_out(problem: Problem, folds: Ints, by_fold: Mapping[int, Floats]) -> tuple[Ints, Floats]:
    """Return the rows that are held out once, and their logits from the head of the other folds."""
    logits = np.zeros((len(folds), problem.classes), np.float32)
    for number, coefficients in by_fold.items():
        held_out = folds == number
        logits[held_out] = problem.scores[held_out] @ coefficients
    rows = np.flatnonzero(np.isin(folds, list(by_fold)))
    return rows, logits[rows]


def _learning_curve(
    problem: Problem, folds: Ints, l2_penalty: float, by_fold: Mapping[int, Floats]
) -> tuple[CurvePoint, ...]:
    """Return how often heads that were trained on parts of the other folds are right on the first fold.

    The last point is that of the head that was trained on all of the other folds. There is no curve of few pictures.
    """
    first = min(by_fold, default=-1)
    test = np.flatnonzero(folds == first)
    training = np.flatnonzero((folds != first) & (problem.weights > 0))
    if first < 0 or len(training) < _LEAST_FOR_CURVE:
        return ()

    def train(share: float) -> tuple[int, Floats]:
        part = training[_stratified(problem.labels[training], round(len(training) * share))]
        ones = np.ones(len(part), np.float32)
        return len(part), problem.subset(part).solve_one(ones, l2_penalty * len(training) / len(part))

    trained = [*parallel_map(train, _CURVE), (len(training), by_fold[first])]
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


def class_weights(labels: Ints, classes: int, weighting: str | None) -> Floats:
    """Return the weight of every picture, ``[n]``: 1, or such that all classes weigh the same."""
    if weighting != "balanced":
        return np.ones(len(labels), np.float32)
    counts = np.bincount(labels, minlength=classes)
    present = max(1, np.count_nonzero(counts))
    weights: Floats = (len(labels) / (present * np.maximum(counts, 1))).astype(np.float32)[labels]
    return weights
