"""Labels that can be told from something beside the subject: size, compression, frame, camera, colour, brightness.

One rule is fitted for each class and each trait of the pictures: the range of values (for names: the set) that holds
most of the class and least of the others. It is a decision tree of one trait and two cuts, can be said in a sentence,
and is measured on held-out pictures (5 folds). A rule that nearly separates a class will be learned by any classifier,
which then need not look at the subject. See Geirhos et al., *Shortcut learning in deep neural networks*, Nature Machine
Intelligence 2020.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.check.finding import Finding, Severity
from kilat.check.traits import Trait, traits
from kilat.evaluate.metrics import mean_share_interval
from kilat.runtime.array_types import Flags, Ints

FOLDS = 5
PLAINER = 0.01
"""A later trait must be this much more accurate than an earlier one of its group, which is plainer."""

LEAST = 8
"""No rule is fitted for a class with fewer pictures, or where all the others have fewer."""

SERIOUS = 0.9
"""Balanced accuracy, at the lower end of its interval, from which a shortcut is serious."""

WARNING = 0.75
"""The same, from which it deserves a look."""

LIGHT = 0.95
"""The same for brightness and its like, which may be the subject itself: never more than a warning."""

_THRESHOLDS: tuple[tuple[Severity, float], ...] = (("serious", SERIOUS), ("warning", WARNING))
_LIGHT_THRESHOLDS: tuple[tuple[Severity, float], ...] = (("warning", LIGHT),)
_BINS = 128
_SHOWN = 12
_NAMED = 3


@dataclass(frozen=True)
class Rule:
    """A range of values that separates a class from the others, and how well on held-out pictures.

    Args:
        trait: what the values are of.
        label: the class.
        values: the range as JSON holds it: ``low``, ``high`` and whether it is ``open`` at one end (``below``,
            ``above`` or empty); for names, some of them as ``names`` and whether there are ``more_names``.
        inside: whether each picture's value lies in the range, ``[n]``.
        true_positives: how many held-out pictures of the class lie in the range of the other folds.
        positives: how many pictures the class has.
        true_negatives: how many held-out pictures of other classes lie outside it.
        negatives: how many pictures the other classes have.
    """

    trait: Trait
    label: str
    values: dict[str, Any]
    inside: Flags
    true_positives: int
    positives: int
    true_negatives: int
    negatives: int

    @property
    def accuracy(self) -> float:
        """Balanced accuracy on held-out pictures; 0.5 is chance."""
        return (self.true_positives / self.positives + self.true_negatives / self.negatives) / 2

    @property
    def interval(self) -> list[float]:
        """95% interval of the balanced accuracy."""
        correct, n = (self.true_positives, self.true_negatives), (self.positives, self.negatives)
        interval = mean_share_interval(np.array(correct), np.array(n))
        assert interval is not None, "both sides have pictures"
        return interval


def find(table: pd.DataFrame, image_stats: NDArray[np.void]) -> list[Finding]:
    """Return one finding for each group of traits that gives a label away, the most accurate first.

    Args:
        table: the catalog's; only used rows with a label take part.
        image_stats: ``kilat.data.image_stats.IMAGE_STATS``, one record a row.
    """
    rows = np.flatnonzero((table["status"] == "used") & (table["label"] != ""))
    labels = np.asarray(table["label"])[rows].astype(str)
    classes, truth = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        return []
    best: dict[tuple[str, str], Rule] = {}
    for trait in traits(image_stats[rows]):
        for rule in _rules(trait, truth, classes):
            key = trait.group, rule.label
            if key not in best or rule.accuracy > best[key].accuracy + PLAINER:
                best[key] = rule
    findings: list[Finding] = []
    explained: set[str] = set()
    for group in dict.fromkeys(group for group, _label in best):  # light comes last: a white frame is bright, too
        rules = sorted((r for (g, _l), r in best.items() if g == group), key=lambda r: (-r.accuracy, r.label))
        if len(classes) == 2:  # what separates one of two separates the other
            rules = rules[:1]
        if group == "light":
            rules = [rule for rule in rules if rule.label not in explained]
        for severity, threshold in _LIGHT_THRESHOLDS if group == "light" else _THRESHOLDS:
            accurate = [rule for rule in rules if rule.accuracy >= threshold and rule.interval[0] >= threshold]
            rules = [rule for rule in rules if rule not in accurate]
            if accurate:
                explained.update(rule.label for rule in accurate)
                findings.append(_finding(accurate, severity, rows, labels))
    return sorted(findings, key=lambda f: (f.severity != "serious", -f.values["rules"][0]["balanced_accuracy"]))


def _rules(trait: Trait, truth: Ints, classes: NDArray[np.str_]) -> Iterator[Rule]:
    """Yield the rule of every class with enough pictures; none where all pictures are alike."""
    bins, low, high = _binned(trait)
    if len(low) < 2:
        return
    counts = _counts(bins, truth, len(classes), len(low))
    totals = counts.sum(axis=0)
    n = totals.sum(axis=1)
    true_positives, true_negatives = np.zeros(len(classes), int), np.zeros(len(classes), int)
    for held_out in counts:
        chosen = _best_bins(totals - held_out, trait.ordered)
        true_positives += (held_out * chosen).sum(axis=1)
        true_negatives += ((held_out.sum(axis=0) - held_out) * ~chosen).sum(axis=1)
    chosen = _best_bins(totals, trait.ordered)
    for k, label in enumerate(classes):
        if min(n[k], n.sum() - n[k]) >= LEAST:
            yield Rule(
                trait,
                str(label),
                _values(trait, chosen[k], low, high),
                chosen[k][bins],
                int(true_positives[k]),
                int(n[k]),
                int(true_negatives[k]),
                int(n.sum() - n[k]),
            )


def _binned(trait: Trait) -> tuple[Ints, NDArray[Any], NDArray[Any]]:
    """Return the bin of every picture, and the lowest and highest value in every bin."""
    values, bins, counts = np.unique(trait.values, return_inverse=True, return_counts=True)
    if len(values) <= _BINS:
        return bins, values, values
    if trait.ordered:
        bin_of_value = np.unique((counts.cumsum() - counts) * _BINS // len(bins), return_inverse=True)[1]
    else:
        bin_of_value = np.minimum(np.argsort(np.argsort(-counts, kind="stable")), _BINS)
    order = np.argsort(bin_of_value, kind="stable")
    first = np.searchsorted(bin_of_value[order], np.arange(bin_of_value.max() + 1))
    last = np.append(first[1:], len(bin_of_value)) - 1
    return bin_of_value[bins], values[order][first], values[order][last]


def _counts(bins: Ints, truth: Ints, k: int, n_bins: int) -> Ints:
    """Count the pictures of each class in each bin, ``[FOLDS, k, bins]``; every class is spread over the folds."""
    order = np.argsort(truth, kind="stable")
    within_class = np.empty(len(truth), int)
    starts = np.searchsorted(truth[order], np.arange(k))
    within_class[order] = np.arange(len(truth)) - starts[truth[order]]
    cells = ((within_class % FOLDS) * k + truth) * n_bins + bins
    return np.bincount(cells, minlength=FOLDS * k * n_bins).reshape(FOLDS, k, n_bins)


def _best_bins(counts: Ints, ordered: bool) -> Flags:
    """Return the bins that hold most of each class and least of the others: a run of them, or any set of names."""
    rest = counts.sum(axis=0) - counts
    gain = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) - rest / np.maximum(
        rest.sum(axis=1, keepdims=True), 1
    )
    if not ordered:
        return np.asarray(gain > 0)
    total = np.pad(gain.cumsum(axis=1), ((0, 0), (1, 0)))  # the best run lies between a low and a later high of the sum
    lowest = np.minimum.accumulate(total, axis=1)
    stop = (total - lowest).argmax(axis=1)
    at = np.arange(total.shape[1])
    start = np.where(at <= stop[:, None], total, np.inf).argmin(axis=1)
    return np.asarray((at[:-1] >= start[:, None]) & (at[:-1] < stop[:, None]))


def _values(trait: Trait, chosen: Flags, low: NDArray[Any], high: NDArray[Any]) -> dict[str, Any]:
    """Return the values of a rule as JSON holds them; nothing where it chooses no bins."""
    at = np.flatnonzero(chosen)
    if not len(at):
        return {}
    if not trait.ordered:
        return {"names": [str(low[i]) for i in at[:_NAMED]], "more_names": len(at) > _NAMED}
    open_end = "below" if at[0] == 0 else "above" if at[-1] == len(low) - 1 else ""
    return {"low": low[at[0]].item(), "high": high[at[-1]].item(), "open": open_end}


def _finding(rules: list[Rule], severity: Severity, rows: Ints, labels: NDArray[np.str_]) -> Finding:
    """Return one finding: the best separated class comes first, with pictures inside and outside each rule."""
    groups, captions, documents = [], [], []
    for rule in rules:
        own = labels == rule.label
        for inside, side in ((True, own & rule.inside), (False, ~own & ~rule.inside)):
            at = np.flatnonzero(side)
            shown = at[np.linspace(0, len(at) - 1, min(len(at), _SHOWN)).astype(int)]
            groups.append(tuple(rows[shown].tolist()))
            captions.append({"label": rule.label, "inside": inside})
        documents.append(
            {
                "label": rule.label,
                "trait": rule.trait.name,
                **rule.values,
                "pictures": rule.positives,
                "pictures_with": int((own & rule.inside).sum()),
                "others": rule.negatives,
                "others_with": int((~own & rule.inside).sum()),
                "balanced_accuracy": rule.accuracy,
                "balanced_accuracy_interval": rule.interval,
            }
        )
    values = {"group": rules[0].trait.group, "rules": documents}
    return Finding("shortcut", severity, values, tuple(groups), tuple(captions))
