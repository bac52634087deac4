"""Labels that are probably wrong, and classes that look alike, from held-out answers.

Confident learning (``kilat.check.confident_learning``) names candidates. Heads are fitted again without these, so that
wrong labels no longer support themselves. What these heads answer decides, by a model in which a share of the labels
was drawn at random: it separates the pictures that contradict their label from those that are merely hard, of which
confident learning alone doubts as many where a classifier errs often.

Chosen on planted mistakes in flowers, digits, 10,000 pictures of CIFAR-10 and 4,000 of Fashion-MNIST (seeds 10 to 13).
Against confident learning alone, seed 12: at 10% random mistakes precision 0.91 instead of 0.82 and recall 0.88 instead
of 0.90 on flowers, 0.91 instead of 0.49 and 0.71 instead of 0.86 on CIFAR-10; at 10% mistakes within pairs of classes
an area under the ranking's curve of 0.982 instead of 0.951 on CIFAR-10. Of true labels it suspects 6 of 3,670 flowers
instead of 47, and 15 of 10,000 pictures of CIFAR-10 instead of 872.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kilat.check.confident_learning import candidates
from kilat.check.finding import Finding, Severity
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

_LEAST_CONFUSED = 5
_PAIRS, _PICTURES_PER_PAIR = 5, 6
_INVERSE_TEMPERATURES = np.geomspace(0.25, 8, 41)
_CELLS = 2_000_000
_HALVINGS = 40
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
    """

    labels: Ints
    label_probability: Doubles
    suggested: Ints
    suggested_probability: Doubles
    predicted: Ints
    noise_rate: float

    @property
    def flagged(self) -> Flags:
        """Which labels are more probably wrong than right, and contradicted by the answer, ``[n]``."""
        flagged: Flags = (self.label_probability < 0.5) & (self.predicted != self.labels)
        return flagged

    @property
    def ranking(self) -> Ints:
        """Positions, the most suspicious first: all that are flagged, then the others."""
        return np.lexsort((self.label_probability, ~self.flagged))


def find_label_issues(labels: Ints, probabilities: Floats, refit: Refit | None = None) -> LabelIssues:
    """Judge labels by held-out answers.

    Args:
        labels: column indices, ``[n]``.
        probabilities: answers of heads that were not fitted to the pictures they answer, ``[n, k]``; their temperature
            does not matter.
        refit: for a second round without the candidates of the first, such as a ``HeadRefit``.

    Returns:
        How probable the labels are. Where the answers are not clearly better than always naming the commonest label
        they say nothing about labels, and all count as right.
    """
    agreeing = int((probabilities.argmax(1) == labels).sum()) if len(labels) else 0
    low, _high = wilson_interval(agreeing, len(labels)) or (0.0, 1.0)
    if low <= np.bincount(labels, minlength=1).max() / max(len(labels), 1):  # no better than the commonest label
        ones = np.ones(len(labels))
        return LabelIssues(labels, ones, labels, 1 - ones, labels, 0.0)
    scores = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    if refit is not None and (doubted := candidates(labels, probabilities)).any():
        scores = refit(~doubted)
    inverse_temperature, noise = _fit_noise_model(scores, labels)
    return _posterior(scores, labels, inverse_temperature, noise)


def _fit_noise_model(scores: Floats, labels: Ints) -> tuple[float, float]:
    """Return the inverse temperature of the answers, and the share of labels that was drawn at random from all classes.

    Both are those under which the labels are likeliest, each being ``(1 - share) * softmax(inverse temperature *
    scores) + share / k``. Where the answers explain the labels by themselves the share is 0.
    """
    count, k = scores.shape
    if not count:
        return 1.0, 0.0
    sample = np.linspace(0, count - 1, min(count, max(1, _CELLS // k))).round().astype(np.int64)
    some, own_labels = scores[sample], labels[sample]
    best = (-np.inf, 1.0, 0.0)
    for inverse_temperature in _INVERSE_TEMPERATURES:
        own = _softmax(some, inverse_temperature)[np.arange(len(sample)), own_labels]
        share, high = 0.0, 1.0  # the likelihood is concave in the share, so its slope is bisected
        for _halving in range(_HALVINGS):
            middle = (share + high) / 2
            slope = ((1 / k - own) / ((1 - middle) * own + middle / k)).sum()
            share, high = (middle, high) if slope > 0 else (share, middle)
        likelihood = float(np.log((1 - share) * own + share / k + np.finfo(float).tiny).sum())
        best = max(best, (likelihood, float(inverse_temperature), share))
    return best[1], best[2]


def _posterior(scores: Floats, labels: Ints, inverse_temperature: float, share: float) -> LabelIssues:
    """Apply Bayes' rule to every picture, block by block."""
    count, k = scores.shape
    label_probability, suggested_probability = np.ones(count), np.zeros(count)
    suggested, predicted = np.zeros(count, np.int64), np.zeros(count, np.int64)
    noise = max(share, LEAST_NOISE) / k
    for start in range(0, count, block := max(1, _CELLS // k)):
        some = slice(start, start + block)
        rows, own_labels = np.arange(len(labels[some])), labels[some]
        answers = _softmax(scores[some], inverse_temperature)
        predicted[some] = answers.argmax(1)
        own = answers[rows, own_labels]
        right = (1 - noise * (k - 1)) * own / ((1 - noise * k) * own + noise)
        answers[rows, own_labels] = -1
        suggested[some] = answers.argmax(1)
        others = np.maximum(1 - own, np.finfo(float).tiny)
        label_probability[some] = right
        suggested_probability[some] = (1 - right) * answers[rows, suggested[some]] / others
    noise_rate = share * (k - 1) / k
    return LabelIssues(labels, label_probability, suggested, suggested_probability, predicted, noise_rate)


def _softmax(scores: Floats, inverse_temperature: float) -> Doubles:
    weights = scores.astype(np.float64)
    weights -= weights.max(1, keepdims=True)
    weights *= inverse_temperature
    np.exp(weights, out=weights)
    weights /= weights.sum(1, keepdims=True)
    return weights


def findings(issues: LabelIssues, rows: Ints, classes: Sequence[str], catalog: Catalog) -> list[Finding]:
    """Return findings about labels that are probably wrong, and about classes that look alike.

    Args:
        issues: of some pictures.
        rows: theirs in the catalog, ``[n]``.
        classes: names.
        catalog: for the paths.
    """
    return [*_mislabelled(issues, rows, classes, catalog), *_classes_alike(issues, rows, classes)]


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
        "path": str(catalog.table["path"].iloc[rows[flagged[0]]]),
        "label": captions[0]["label"],
        "suggested": captions[0]["suggested"],
    }
    severity: Severity = "serious" if share >= SERIOUS_SHARE else "warning"
    groups = tuple((row,) for row in rows[flagged].tolist())
    return [Finding("suspected_labels", severity, values, groups, tuple(captions))]


def _classes_alike(issues: LabelIssues, rows: Ints, classes: Sequence[str]) -> list[Finding]:
    """Return pairs of classes that are often taken for each other, labels that look wrong left aside."""
    k, believed = len(classes), ~issues.flagged
    sizes = np.bincount(issues.labels[believed], minlength=k)
    confused = np.flatnonzero(believed & (issues.predicted != issues.labels))
    confused = confused[np.argsort(issues.label_probability[confused], kind="stable")]
    low, high = np.sort((issues.labels[confused], issues.predicted[confused]), axis=0)
    keys, counts = np.unique(low * k + high, return_counts=True)
    pairs: list[tuple[dict[str, Any], tuple[int, ...]]] = []
    for key, count in zip(keys[counts >= _LEAST_CONFUSED], counts[counts >= _LEAST_CONFUSED], strict=True):
        a, b = divmod(int(key), k)
        n = int(sizes[a] + sizes[b])
        interval = wilson_interval(int(count), n)
        if interval is not None and interval[0] >= ALIKE_NOTE:
            values = {"classes": [classes[a], classes[b]], "n": n, "confused": int(count)}
            worst = confused[low * k + high == key][:_PICTURES_PER_PAIR]
            pairs.append(({**values, "share": int(count) / n, "interval": interval}, tuple(rows[worst].tolist())))
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
    contradicted = issues.ranking[(issues.predicted != issues.labels)[issues.ranking]]
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
