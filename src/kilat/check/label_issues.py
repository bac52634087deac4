"""Labels that are probably wrong, and classes that look alike, from held-out answers.

Confident learning (``kilat.check.confident_learning``) names candidates. Heads are fitted again without these, so that
wrong labels no longer support themselves. What these heads answer decides, by a model of how labels come about
(``kilat.check.noise_model``): it separates the pictures that contradict their label from those that are merely hard, of
which confident learning alone doubts as many where a classifier errs often.

Where a class is often given as one other class and hardly ever the other way round, a fifth of its pictures may be
labelled so, and heads that were trained on them are unsure of all its pictures. There the suspected ones, and all
others that are answered so, are left out in rounds, until the answers say what the labels really are.

Chosen on planted mistakes in flowers, digits, 10,000 pictures of CIFAR-10 and 5,000 of Fashion-MNIST, on other seeds
and pairs of classes than those of ``benchmarks/label_errors.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from kilat.check import noise_model
from kilat.check.confident_learning import candidates
from kilat.check.finding import Finding, Severity
from kilat.check.noise_model import NoiseModel, OneWay
from kilat.data.catalog import Catalog
from kilat.data.label_corrections import CORRECT
from kilat.evaluate.metrics import wilson_interval
from kilat.runtime.array_types import Doubles, Flags, Floats, Ints

Refit = Callable[[Flags], Floats]
"""Returns the held-out logits ``[n, k]`` of heads fitted to the pictures of a mask ``[n]`` alone."""

SERIOUS_SHARE = 0.03
"""From this share of wrong labels on they are serious; well-known test sets have 3.3% on average (arXiv 2103.14749)."""
LEAST_NOISE = 0.01
"""Share of random labels that is assumed at least: a set that shows no trace of any may still hold a few."""
ALIKE_WARNING, ALIKE_NOTE = 0.10, 0.04
"""Share of two classes' pictures answered as the other one, at the lower end of its interval."""
LEAST_SHARE = 0.07
"""Share of a class that is given as another one, at least: fewer are found as well among labels drawn at random."""
SURE = 0.3
"""How probably a label may still be right at most where its class is given as another one."""
EVIDENCE = 3.0
"""By how much more than chance one-way mistakes must explain the labels, in units of log-likelihood."""

_LEAST_CONFUSED, _LEAST_ONE_WAY = 5, 4
_PAIRS, _PICTURES_PER_PAIR = 5, 6
_NAMED = 3
_CELLS = 2_000_000
_ROUNDS = ((0.0, 0.0), (0.0, 0.0), (EVIDENCE, LEAST_SHARE))
"""For each round, the evidence and the share from which on a class counts as given as another one."""
_FEWEST_MORE, _MOST_MORE = 20, 200


@dataclass(frozen=True)
class LabelIssues:
    """How probable the labels of n pictures are.

    Args:
        labels: as classes, ``[n]``.
        label_probability: probability that each label is right, ``[n]``; the ranking, the most suspicious lowest.
        suggested: the likeliest other class of each, ``[n]``.
        suggested_probability: of that class, ``[n]``.
        predicted: the class that the heads answer, ``[n]``.
        noise_rate: share of wrong labels, as estimated from all answers together; 0 where they show no trace of any.
        one_way: classes of which a share is labelled as one certain other class, as estimated likewise.
    """

    labels: Ints
    label_probability: Doubles
    suggested: Ints
    suggested_probability: Doubles
    predicted: Ints
    noise_rate: float
    one_way: tuple[OneWay, ...] = ()

    @property
    def flagged(self) -> Flags:
        """Which labels are more probably wrong than right, and contradicted by the answer, ``[n]``.

        Where a class is given as another one the heads were fitted without the labels that looked wrong before, and are
        too sure of it: there it must be more probable (``SURE``).
        """
        return self.contradicted & (self.label_probability < np.where(self.is_one_way, SURE, 0.5))

    @property
    def contradicted(self) -> Flags:
        """Which labels are not what the heads answer, ``[n]``."""
        contradicted: Flags = self.predicted != self.labels
        return contradicted

    @property
    def is_one_way(self) -> Flags:
        """Which pictures have the label and the suggestion of classes of which one is given as the other, ``[n]``."""
        is_one_way = np.zeros(len(self.labels), bool)
        for pair in self.one_way:
            is_one_way |= (self.labels == pair.label) & (self.suggested == pair.truth)
        return is_one_way

    @property
    def ranking(self) -> Ints:
        """Positions, the most suspicious first: all that are flagged, then the others."""
        return np.lexsort((self.label_probability, ~self.flagged))


def find_label_issues(
    labels: Ints, probabilities: Floats, refit: Refit | None = None, has_time: Callable[[], bool] = lambda: True
) -> LabelIssues:
    """Judge labels by held-out answers.

    Args:
        labels: column indices, ``[n]``.
        probabilities: answers of heads that were not fitted to the pictures they answer, ``[n, k]``; their temperature
            does not matter.
        refit: for further rounds without the candidates of the first, such as a ``HeadRefit``.
        has_time: asked before every round; without time for the later ones, what the earlier ones say counts.

    Returns:
        How probable the labels are. Where the answers agree with the labels no better than by chance they say nothing
        about labels, and all count as right.
    """
    predicted, k = probabilities.argmax(1), probabilities.shape[1]
    low, _high = wilson_interval(int((predicted == labels).sum()), len(labels)) or (0.0, 1.0)
    if low <= _agreement_by_chance(labels, predicted):
        ones = np.ones(len(labels))
        return LabelIssues(labels, ones, labels, 1 - ones, labels, 0.0)
    scores = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    if refit is None:
        return _judge(scores, labels, noise_model.fit(scores, labels, EVIDENCE))
    doubted = candidates(labels, probabilities)
    if doubted.any() and has_time():
        scores = refit(~doubted)
    return _judge_in_rounds(scores, labels, doubted | one_way_confused(labels, predicted, k), refit, has_time)


def one_way_confused(labels: Ints, predicted: Ints, classes: int) -> Flags:
    """Return which labels are contradicted by a class that is itself hardly ever answered as theirs, ``[n]``."""
    confused: Flags = _is_one_way(_confusions(labels, predicted, classes))[labels, predicted]
    return confused


def _is_one_way(counts: Ints) -> Flags:
    """Return where confusions (of labels, rows, with answers, columns) are many, and few the other way, ``[k, k]``."""
    many: Flags = (counts >= _LEAST_ONE_WAY) & (noise_model.MOST_REVERSE * counts >= counts.T)
    return many


def _agreement_by_chance(labels: Ints, predicted: Ints) -> float:
    """Return how often labels and answers would agree by chance, as in Cohen's kappa."""
    k = int(max(labels.max(initial=0), predicted.max(initial=0))) + 1
    given, answered = np.bincount(labels, minlength=k), np.bincount(predicted, minlength=k)
    return float(given @ answered) / max(len(labels), 1) ** 2


def _confusions(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """Return how often each label (row) is answered as each other class (column), ``[k, k]``."""
    counts: Ints = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    np.fill_diagonal(counts, 0)
    return counts


def _judge_in_rounds(
    scores: Floats, labels: Ints, left_out: Flags, refit: Refit, has_time: Callable[[], bool]
) -> LabelIssues:
    """Judge labels by ``scores``, or by heads of later rounds where these show that a class is given as another one.

    Args:
        scores: of heads that were fitted without the doubtful labels.
        labels: to be judged.
        left_out: those labels, and those that a class contradicts in one direction.
        refit: for the rounds.
        has_time: asked before every round.
    """
    for evidence, least_share in _ROUNDS:
        if not has_time():
            break
        later = refit(~left_out)
        model = noise_model.fit(later, labels, evidence)
        issues = _judge(later, labels, model)
        pairs = np.zeros((model.classes, model.classes), bool)
        for pair in model.one_way:
            pairs[pair.label, pair.truth] = pair.share >= least_share
        if not pairs.any():
            break
        if evidence:  # the last round
            one_way = tuple(pair for pair in issues.one_way if pairs[pair.label, pair.truth])
            issues = replace(issues, one_way=one_way)
            others = ~(issues.is_one_way & issues.flagged)  # what is random among the labels that it does not explain
            return _merged(_judge(scores, labels, noise_model.fit(scores[others], labels[others])), issues)
        confused = one_way_confused(labels, issues.predicted, model.classes) & pairs[labels, issues.predicted]
        left_out = confused | (issues.contradicted & (issues.label_probability < 0.5))
    return _judge(scores, labels, noise_model.fit(scores, labels))


def _merged(first: LabelIssues, later: LabelIssues) -> LabelIssues:
    """Return what the later rounds say of classes that are given as others, and of all other labels the first one."""
    names = ("label_probability", "suggested", "suggested_probability", "predicted")
    merged = {name: np.where(later.is_one_way, getattr(later, name), getattr(first, name)) for name in names}
    return replace(later, **merged)


def _judge(scores: Floats, labels: Ints, model: NoiseModel) -> LabelIssues:
    """Apply Bayes' rule to every picture, block by block."""
    count, k = scores.shape
    label_probability, suggested_probability = np.ones(count), np.zeros(count)
    suggested, predicted = np.zeros(count, np.int64), np.zeros(count, np.int64)
    expected = np.zeros(k)
    cautious = replace(model, random=max(model.random, LEAST_NOISE))
    for start in range(0, count, block := max(1, _CELLS // k)):
        some = slice(start, start + block)
        rows, own_labels = np.arange(len(labels[some])), labels[some]
        answers, truth = cautious.truth_given_label(scores[some], own_labels)
        expected += answers.sum(0)
        predicted[some] = answers.argmax(1)
        label_probability[some] = truth[rows, own_labels]
        truth[rows, own_labels] = -1
        suggested[some] = truth.argmax(1)
        suggested_probability[some] = truth[rows, suggested[some]]
    moved = sum(pair.share * expected[pair.truth] for pair in model.one_way) / max(count, 1)
    noise_rate = float(model.random * (k - 1) / k + (1 - model.random) * moved)
    return LabelIssues(
        labels, label_probability, suggested, suggested_probability, predicted, noise_rate, model.one_way
    )


def findings(issues: LabelIssues, rows: Ints, classes: Sequence[str], catalog: Catalog) -> list[Finding]:
    """Return findings about labels that are probably wrong, and about classes that are taken for each other.

    Args:
        issues: of some pictures.
        rows: theirs in the catalog, ``[n]``.
        classes: names.
        catalog: for the paths.
    """
    found = [*_mislabelled(issues, rows, classes, catalog), *_taken_for_another(issues, rows, classes, catalog)]
    return [*found, *_classes_alike(issues, rows, classes)]


def _mislabelled(issues: LabelIssues, rows: Ints, classes: Sequence[str], catalog: Catalog) -> list[Finding]:
    flagged = issues.ranking[: int(issues.flagged.sum())]
    if not len(flagged):
        return []
    share = len(flagged) / len(rows)
    captions = [
        {
            "label": classes[issues.labels[at]],
            "suggested": classes[issues.suggested[at]],
            "probability": float(issues.suggested_probability[at]),
        }
        for at in flagged
    ]
    values = {
        "count": len(flagged),
        "n": len(rows),
        "share": share,
        "noise_rate": issues.noise_rate,
        "path": _paths(rows[flagged], catalog)[0],
        "label": captions[0]["label"],
        "suggested": captions[0]["suggested"],
        "one_way": _one_way_suspects(issues, rows, flagged, classes, catalog),
    }
    severity: Severity = "serious" if share >= SERIOUS_SHARE else "warning"
    groups = tuple((row,) for row in rows[flagged].tolist())
    return [Finding("suspected_labels", severity, values, groups, tuple(captions))]


def _one_way_suspects(
    issues: LabelIssues, rows: Ints, flagged: Ints, classes: Sequence[str], catalog: Catalog
) -> list[dict[str, Any]]:
    """Return the classes that are given as another one: how many of the suspected labels that explains, and which."""
    found = []
    for pair in issues.one_way:
        own = flagged[(issues.labels[flagged] == pair.label) & (issues.suggested[flagged] == pair.truth)]
        if len(own) >= _LEAST_ONE_WAY:
            names = {"label": classes[pair.label], "suggested": classes[pair.truth]}
            found.append({**names, "count": len(own), "paths": _paths(rows[own], catalog)})
    return sorted(found, key=lambda pair: -pair["count"])


def _taken_for_another(issues: LabelIssues, rows: Ints, classes: Sequence[str], catalog: Catalog) -> list[Finding]:
    """Return classes that are answered as one other, and hardly the reverse, labels that look wrong left aside."""
    sizes = np.bincount(issues.labels, minlength=len(classes))
    believed = _counts_between(issues, ~issues.flagged)
    contradicted = issues.ranking[issues.contradicted[issues.ranking]]
    found = []
    for label, answer in np.argwhere(_is_one_way(believed) & (believed >= _LEAST_CONFUSED)).tolist():
        count, reverse, n = int(believed[label, answer]), int(believed[answer, label]), int(sizes[label])
        interval = wilson_interval(count, n)
        if interval is None or interval[0] < ALIKE_NOTE:
            continue
        own = (issues.labels == label) & (issues.predicted == answer) & ~issues.flagged
        pictures = rows[contradicted[own[contradicted]]]
        values = {
            "classes": [classes[label], classes[answer]],
            "count": count,
            "n": n,
            "reverse": reverse,
            "reverse_n": int(sizes[answer]),
            "paths": _paths(pictures, catalog),
        }
        groups = tuple((row,) for row in pictures.tolist())
        severity: Severity = "warning" if interval[0] >= ALIKE_WARNING else "note"
        found.append((interval[0], Finding("one_way_confusion", severity, values, groups)))
    return [finding for _low, finding in sorted(found, key=lambda one: -one[0])[:_PAIRS]]


def _counts_between(issues: LabelIssues, some: Flags) -> Ints:
    """Return how often each label (row) is answered as each class (column) among some pictures, ``[k, k]``."""
    k = int(max(issues.labels.max(initial=0), issues.predicted.max(initial=0))) + 1
    return _confusions(issues.labels[some], issues.predicted[some], k)


def _paths(rows: Ints, catalog: Catalog) -> list[str]:
    return [str(path) for path in catalog.table["path"].iloc[rows[:_NAMED]]]


def _classes_alike(issues: LabelIssues, rows: Ints, classes: Sequence[str]) -> list[Finding]:
    """Return pairs of classes that are often taken for each other, labels that look wrong left aside."""
    k, believed = len(classes), ~issues.flagged
    sizes = np.bincount(issues.labels[believed], minlength=k)
    confused = np.flatnonzero(believed & issues.contradicted)
    confused = confused[np.argsort(issues.label_probability[confused], kind="stable")]
    counts, suspected = _counts_between(issues, believed), _counts_between(issues, issues.flagged)
    low, high = np.sort((issues.labels[confused], issues.predicted[confused]), axis=0)
    both = counts + counts.T
    pairs: list[tuple[dict[str, Any], tuple[int, ...]]] = []
    for a, b in np.argwhere(
        np.triu((both >= _LEAST_CONFUSED) & ~_is_one_way(counts) & ~_is_one_way(counts).T)
    ).tolist():
        n, count = int(sizes[a] + sizes[b]), int(both[a, b])
        interval = wilson_interval(count, n)
        if interval is not None and interval[0] >= ALIKE_NOTE:
            values = {"classes": [classes[a], classes[b]], "n": n, "confused": count, "share": count / n}
            values |= {"interval": interval, "suspected": int(suspected[a, b] + suspected[b, a])}
            worst = confused[(low == a) & (high == b)][:_PICTURES_PER_PAIR]
            pairs.append((values, tuple(rows[worst].tolist())))
    if not pairs:
        return []
    pairs = sorted(pairs, key=lambda pair: -pair[0]["interval"][0])[:_PAIRS]
    values, groups = zip(*pairs, strict=True)
    severity: Severity = "warning" if values[0]["interval"][0] >= ALIKE_WARNING else "note"
    return [Finding("classes_alike", severity, {"pairs": list(values)}, groups, values)]


def table(issues: LabelIssues, rows: Ints, classes: Sequence[str], catalog: Catalog) -> pd.DataFrame:
    """Return what ``suspects.csv`` holds: the suspected labels, the worst first, and a column to fill in.

    After the suspected ones come as many again of those whose label the answer contradicts (20 at least and 200 at
    most), so that a person can go on for as long as it pays.

    Returns:
        The columns ``path, label, label_probability, suggested, suggested_probability, suspected, split,
        correct_label``, the last one empty.
    """
    flagged = issues.flagged
    more = int(np.clip(flagged.sum(), _FEWEST_MORE, _MOST_MORE))
    contradicted = issues.ranking[issues.contradicted[issues.ranking]]
    shown = contradicted[: int(flagged.sum()) + more]
    names = np.asarray(classes, object)
    entries = catalog.table.iloc[rows[shown]]
    return pd.DataFrame(
        {
            "path": entries["path"].to_numpy(object),
            "label": names[issues.labels[shown]],
            "label_probability": issues.label_probability[shown].round(4),
            "suggested": names[issues.suggested[shown]],
            "suggested_probability": issues.suggested_probability[shown].round(4),
            "suspected": flagged[shown],
            "split": entries["split"].to_numpy(object),
            CORRECT: "",
        }
    )
