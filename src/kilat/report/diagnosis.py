"""The diagnosis of a run: what follows from all that is known of it, as codes with values, the most urgent first.

What makes the measurement doubtful comes first, then one thing that holds the classifier back. More pictures are
advised only where nothing else was found that they would not change.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from kilat.learn.measures import Measures
from kilat.learn.metrics import Metrics
from kilat.locale.layer_sentences import LAYERS
from kilat.locale.notes import Note
from kilat.report.learning_curve import Point, last_doubling
from kilat.report.training_course import Course

FEW_TEST = 100
"""Measured on fewer pictures than this, chance decides much."""

_BROKEN = {
    "diagnosis_batch_norm", "diagnosis_layers", "diagnosis_same_answer", "diagnosis_same_answer_penalised",
    "diagnosis_nothing_learned",
}  # fmt: skip
"""What is said before anything about the measurement: there is nothing yet that is worth measuring well."""

_IN_PART = "labels_checked_in_part"
"""The note that the network itself judged labels, for want of a head on a frozen backbone."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a run.

    Args:
        metrics: what was measured and noted.
        course: of the training by gradient that answers; None where there was none.
        curve: the learning curve of a head.
        train_counts: training pictures of every class.
        mixes: whether training pictures were mixed with each other, so that accuracy on them says little.
        is_penalised: whether weights have penalties, L1 or L2.
    """

    metrics: Metrics
    course: Course | None = None
    curve: Sequence[Point] = ()
    train_counts: Mapping[str, int] = field(default_factory=dict)
    mixes: bool = False
    is_penalised: bool = False

    @property
    def measured(self) -> Measures:
        """The measures to go by."""
        return self.metrics.measured

    @cached_property
    def noted(self) -> dict[str, Mapping[str, Any]]:
        """The values of the run's notes, by their codes."""
        return {note.code: note.values for note in self.metrics.notes}

    @cached_property
    def found(self) -> dict[str, Mapping[str, Any]]:
        """The values of what was found in the data and is serious, by its kind."""
        return {one["kind"]: one["values"] for one in self.metrics.check.findings if one["severity"] == "serious"}

    @property
    def accuracies(self) -> dict[str, float] | None:
        """Accuracy in training and in validation, of the epoch that was kept; None where they cannot be compared."""
        course = self.course
        if course is None or course.training_accuracy is None or course.validation_accuracy is None or self.mixes:
            return None
        return {"training": _not_all(course.training_accuracy), "validation": _not_all(course.validation_accuracy)}

    @property
    def is_no_better(self) -> bool:
        """Whether it may be no better than always giving the same answer, which finds one class of all."""
        majority, interval = self.measured.majority.accuracy, self.measured.accuracy_interval
        if majority is None or interval is None or interval[0] > majority:
            return False
        of_one_class = 1 / len(self.metrics.data.classes)
        return (self.measured.balanced_accuracy or 0.0) <= (1 + of_one_class) / 2


def diagnose(evidence: Evidence) -> list[Note]:
    """Return one or two notes: what makes the measurement doubtful, if anything does, and what to do next."""
    if not evidence.measured.n:
        return [Note("diagnosis_nothing_measured")]
    doubt, cause = _first(_DOUBTS, evidence), _first(_CAUSES, evidence)
    if doubt and (doubt.code == "diagnosis_only_leaked" or cause is None):
        return [doubt]
    if cause is None:
        return [Note("diagnosis_good")]
    if doubt is None:
        return [cause]
    return [cause, doubt] if cause.code in _BROKEN else [doubt, cause]


def diagnose_other_pictures(measured: Measures, own: Mapping[str, Any], classes: Sequence[str]) -> list[Note]:
    """Return what follows from the measures of a finished model on other pictures than its run's.

    Args:
        measured: on these.
        own: ``n``, ``accuracy`` and ``accuracy_interval`` of its run's test pictures; empty where they are not known.
        classes: the model's.
    """
    if measured.accuracy_interval is None:
        return [Note("diagnosis_nothing_measured")]
    notes = [note for note in (_few(measured), _against_own_test(measured, own), _pair(measured, classes)) if note]
    return notes or [Note("diagnosis_good")]


def _against_own_test(measured: Measures, own: Mapping[str, Any]) -> Note | None:
    if measured.accuracy_interval is None or not own.get("accuracy_interval"):
        return None
    (low, high), (own_low, own_high) = measured.accuracy_interval, own["accuracy_interval"]
    kind = "worse_than" if high < own_low else "better_than" if low > own_high else "as"
    return Note(f"diagnosis_{kind}_own_test", {"n": own["n"], "own": own["accuracy"]})


Rule = Callable[[Evidence], Note | None]


def _first(rules: Sequence[Rule], evidence: Evidence) -> Note | None:
    return next((note for rule in rules if (note := rule(evidence))), None)


def _leak(evidence: Evidence) -> Note | None:
    found = evidence.metrics.test.without_leaked
    if found is None or not found.leaked:
        return None
    if found.accuracy is None:
        return Note("diagnosis_only_leaked", {"n": found.leaked})
    values = {"count": found.leaked, "n": found.leaked + found.n, "clean": found.n, "accuracy": found.accuracy}
    return Note("diagnosis_leak", values)


def _shortcut(evidence: Evidence) -> Note | None:
    return Note("diagnosis_shortcut") if "shortcut" in evidence.found else None


def _few_pictures_measured(evidence: Evidence) -> Note | None:
    return _few(evidence.measured)


def _few(measured: Measures) -> Note | None:
    interval = measured.accuracy_interval
    if measured.n >= FEW_TEST or interval is None:
        return None
    return Note("diagnosis_few_measured", {"count": measured.n, "low": interval[0], "high": interval[1]})


def _batch_norm(evidence: Evidence) -> Note | None:
    accuracies = evidence.accuracies
    return Note("diagnosis_batch_norm", accuracies) if accuracies and "batch_norm_unsettled" in evidence.noted else None


def _same_answer(evidence: Evidence) -> Note | None:
    is_certain = int(evidence.noted.get("parity_inconclusive", {}).get("count", 1)) > 1
    if not is_certain or not evidence.metrics.is_trained:
        return None
    return Note("diagnosis_same_answer_penalised" if evidence.is_penalised else "diagnosis_same_answer")


def _nothing_learned(evidence: Evidence) -> Note | None:
    accuracies, majority = evidence.accuracies, evidence.measured.majority
    if accuracies is None or majority.accuracy is None or not evidence.is_no_better:
        return None
    if accuracies["training"] > majority.accuracy + 0.15:
        return None
    return Note("diagnosis_nothing_learned", {**accuracies, "label": majority.label, "baseline": majority.accuracy})


def _layers(evidence: Evidence) -> Note | None:
    """Point to what is wrong with the layers, where nothing was learned and they were watched."""
    has_learned = _same_answer(evidence) is None and _nothing_learned(evidence) is None
    return None if has_learned or not set(LAYERS) & set(evidence.noted) else Note("diagnosis_layers")


def _diverged(evidence: Evidence) -> Note | None:
    fit = evidence.metrics.fit
    return Note("diagnosis_diverged") if fit and fit.rollbacks and evidence.metrics.is_trained else None


def _unstable(evidence: Evidence) -> Note | None:
    course = evidence.course
    if course is None or not course.jumped:
        return None
    return Note("diagnosis_unstable", {"worst": course.worst_loss, "first": course.first_loss})


def _unfinished(evidence: Evidence) -> Note | None:
    course, fit = evidence.course, evidence.metrics.fit
    if course is None or fit is None or not course.is_falling:
        return None
    code = "diagnosis_time_limit" if fit.stop_reason == "time_limit" else "diagnosis_unfinished"
    return Note(code, {"epochs": course.epochs})


def _cut_short(evidence: Evidence) -> Note | None:
    fit = evidence.metrics.fit
    if fit is None or fit.stop_reason != "time_limit" or not evidence.metrics.is_trained:
        return None
    return Note("diagnosis_cut_short", {"epochs": fit.epochs})


def _overfitting(evidence: Evidence) -> Note | None:
    accuracies = evidence.accuracies
    if accuracies is None:
        return None
    right, n = accuracies["validation"], max(evidence.metrics.validation.n, 1)
    by_chance = 2 * math.sqrt(right * (1 - right) / n)
    gap = accuracies["training"] - right
    return Note("diagnosis_overfitting", accuracies) if gap >= max(0.08, by_chance) else None


def _underfitting(evidence: Evidence) -> Note | None:
    accuracies = evidence.accuracies
    if accuracies is None or accuracies["training"] > min(0.9, accuracies["validation"] + 0.03):
        return None
    return Note("diagnosis_underfitting", accuracies) if accuracies["validation"] < 0.85 else None


def _suspected_labels(evidence: Evidence) -> Note | None:
    """Name labels that a head on a frozen backbone suspects."""
    return None if _IN_PART in evidence.noted else _suspects(evidence)


def _suspected_by_network(evidence: Evidence) -> Note | None:
    """Name labels that the network itself suspects, which one that is too sure of itself does without reason."""
    too_sure = evidence.measured.ece is not None and evidence.measured.ece > 0.05
    return None if too_sure or _IN_PART not in evidence.noted else _suspects(evidence)


def _suspects(evidence: Evidence) -> Note | None:
    values = evidence.found.get("suspected_labels")
    if values is None:
        return None
    return Note("diagnosis_suspected_labels", {key: values[key] for key in ("count", "n", "share")})


def _no_better_than_baseline(evidence: Evidence) -> Note | None:
    if not evidence.is_no_better:
        return None
    majority, data = evidence.measured.majority, evidence.metrics.data
    values: dict[str, Any] = {"label": majority.label, "baseline": majority.accuracy}
    if data.train >= 20 * len(data.classes):
        return Note("diagnosis_no_better_than_baseline", values)
    return Note("diagnosis_too_few_pictures", {**values, "train": data.train, "classes": len(data.classes)})


def _few_of_class(evidence: Evidence) -> Note | None:
    """Name the class that is recognised least, where it has far fewer training pictures than others."""
    counts, accuracy = evidence.train_counts, evidence.measured.accuracy
    if not counts or accuracy is None:
        return None
    few = min(50.0, float(np.median(list(counts.values()))) / 2)
    weak = {
        name: measured.recall
        for name, measured in evidence.measured.per_class.items()
        if measured.recall is not None and measured.recall < accuracy - 0.15 and counts.get(name, 0) <= few
    }
    if not weak:
        return None
    name = min(weak, key=lambda name: (weak[name], counts.get(name, 0), name))
    for note in evidence.metrics.notes:
        if note.code == "class_mostly_refused" and note.values["label"] == name:
            refused = {"label": name, "refused": note.values["count"], "total": note.values["total"]}
            return Note("diagnosis_class_refused", refused)
    support = evidence.measured.per_class[name].support
    right = round(weak[name] * support)
    return Note(
        "diagnosis_few_of_class", {"label": name, "count": counts.get(name, 0), "right": right, "support": support}
    )


def _confused_pair(evidence: Evidence) -> Note | None:
    return _pair(evidence.measured, evidence.metrics.data.classes)


def _pair(measured: Measures, names: Sequence[str]) -> Note | None:
    """Name two classes, where more of the mistakes are between them than would be by chance."""
    matrix = np.asarray(measured.confusion)
    if len(names) < 3:
        return None
    mistakes = matrix - np.diag(np.diag(matrix))
    both = np.triu(mistakes + mistakes.T)
    a, b = np.unravel_index(int(both.argmax()), both.shape)
    count, wrong = int(both[a, b]), int(mistakes.sum())
    pairs = len(names) * (len(names) - 1) // 2
    if count < 5 or count < wrong * max(0.25, min(3 / pairs, 0.5)):
        return None
    values = {"a": names[int(a)], "b": names[int(b)], "mistakes": count, "wrong": wrong, "share": count / wrong}
    return Note("diagnosis_pair", values)


def _time_limit_left_out(evidence: Evidence) -> Note | None:
    left_out = {"time_limit_pictures", "time_limit_backbone"} & set(evidence.noted)
    return Note("diagnosis_time_limit_left_out") if left_out else None


def _small_pictures(evidence: Evidence) -> Note | None:
    untried = {"no_time_for_small_network", "small_network_needs_torch", "many_pictures_for_small_network"}
    return Note("diagnosis_small_pictures") if untried & set(evidence.noted) else None


def _all_right(evidence: Evidence) -> Note | None:
    return Note("diagnosis_all_right") if evidence.measured.accuracy == 1 else None


def _more_pictures(evidence: Evidence) -> Note | None:
    doubling = last_doubling(evidence.curve)
    if doubling is None or not (doubling.rises or doubling.is_flat):
        return None
    half, last = doubling
    values = {"half": half.pictures, "pictures": last.pictures, "before": half.accuracy, "after": last.accuracy}
    return Note("diagnosis_more_pictures" if doubling.rises else "diagnosis_more_pictures_help_little", values)


_DOUBTS: tuple[Rule, ...] = (_leak, _shortcut, _few_pictures_measured)
_CAUSES: tuple[Rule, ...] = (
    _batch_norm,
    _layers,
    _same_answer,
    _nothing_learned,
    _diverged,
    _unstable,
    _suspected_labels,
    _all_right,
    _time_limit_left_out,
    _unfinished,
    _overfitting,
    _underfitting,
    _suspected_by_network,
    _no_better_than_baseline,
    _cut_short,
    _few_of_class,
    _small_pictures,
    _confused_pair,
    _more_pictures,
)
"""In the order of what to do first: the first one that applies is said."""


def _not_all(share: float) -> float:
    """Return a share of which what is not quite all does not read as 100%."""
    return min(share, 0.99) if share < 1 else share
