"""The first screen of a report: the command, how good the classifier is, what follows, what makes that doubtful."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from kilat.learn.measures import Measures
from kilat.learn.metrics import Metrics, NoteSection
from kilat.locale import _, date, ngettext
from kilat.locale.notes import Note
from kilat.report import figures
from kilat.report.findings import ShownFinding
from kilat.report.template import count, number, percent, points

ENOUGH = 100
"""With fewer pictures than this, a calibration error says more about chance than about the classifier."""

DOUBTS = 2
"""So many serious findings stand in the lead, all of them further down."""

DIAGNOSED = {
    "leak": "diagnosis_leak",
    "shortcut": "diagnosis_shortcut",
    "suspected_labels": "diagnosis_suspected_labels",
}
"""The diagnosis that says what a finding says, so that it is not said twice."""

_MINOR = {
    "annotation_folders", "archives_not_opened", "backbone_fp32", "backbone_int8", "backbone_size", "feature_cache",
    "feature_cache_damaged", "flips_off_labels", "flips_off_validation", "folders_beside_splits", "micro_batches",
    "no_memory_for_activations",
    "no_time_for_activations", "parts_joined", "positions_resampled", "resolution_enlarged", "result_cache",
    "skipped_blank_row", "skipped_empty_class_folder", "skipped_folder_loop", "skipped_hidden",
    "skipped_not_a_picture", "splits_by_name", "splits_in_classes", "splits_in_names", "stopped_before_averaging",
    "table_read", "tables_not_used",
}  # fmt: skip
"""Notes that change little about how far to believe a result: they are folded where there are others besides."""


class Request(NamedTuple):
    """The command that was typed, and facts in a row."""

    command: str
    facts: list[str]


class Headline(NamedTuple):
    """The accuracy as a large number, the sentence that goes on from it, and the same as a bar."""

    number: str
    rest: str
    bar: Markup | None


def headline(metrics: Metrics) -> Headline | None:
    """Return the accuracy of a run; None where nothing could be measured."""
    measured = metrics.measured
    if metrics.test.n:
        sentence = ngettext(
            "of {n} test picture is answered rightly", "of {n} test pictures are answered rightly", measured.n
        )
    elif metrics.is_trained:
        sentence = _(
            "of {n} validation pictures, which also chose the epoch, are answered rightly (there is no test set)"
        )
    else:
        sentence = _("of {n} pictures are answered rightly in cross-validation (there is no test set)")
    return headline_of(measured, sentence)


def headline_of(measured: Measures, sentence: str) -> Headline | None:
    """Return an accuracy with its interval and its baseline; None where there were no pictures.

    Args:
        measured: of some pictures.
        sentence: how it goes on from the number, with ``{n}`` for that of the pictures.
    """
    if measured.accuracy is None:
        return None
    majority, interval = measured.majority, measured.accuracy_interval
    low, high = interval or (None, None)
    sentence += _(", 95% interval {low} to {high}") if interval else ""
    sentence += _("; always answering “{label}” would be right for {share}.") if majority.label else "."
    rest = sentence.format(
        n=count(measured.n),
        low=points(low),
        high=points(high),
        label=majority.label,
        share=percent(majority.accuracy),
    )
    bar = figures.accuracy_bar(measured.accuracy, interval, majority.label or "", majority.accuracy)
    return Headline(percent(measured.accuracy), rest, bar)


def verdict(metrics: Metrics, diagnosis: Sequence[Note], findings: Sequence[ShownFinding]) -> list[str]:
    """Return what follows from the measures, in sentences, the most important one first.

    Args:
        metrics: of the run.
        diagnosis: of it (``kilat.report.diagnosis``).
        findings: what was found in the data.
    """
    said = {note.code for note in diagnosis}
    doubts = [
        found.title for found in findings if found.severity == "serious" and DIAGNOSED.get(found.kind) not in said
    ]
    if len(doubts) > DOUBTS:
        doubts[DOUBTS - 1] += " " + _("More serious findings are listed under “The data”.")
    sentences = [note.sentence() for note in diagnosis] + doubts[:DOUBTS]
    if is_miscalibrated(metrics.measured):
        sentences.append(calibration(metrics.measured))
    return sentences


def is_miscalibrated(measured: Measures) -> bool:
    """Return whether probabilities are off by more than chance explains, and by enough to matter."""
    interval = measured.ece_interval
    if measured.n < ENOUGH or measured.ece is None:
        return False
    return measured.ece > 0.05 and (interval is None or interval[0] > 0.03)


def calibration(measured: Measures) -> str:
    """Return how well probabilities are calibrated."""
    if measured.n < ENOUGH or measured.ece is None:
        return _("There are too few pictures to say how well its probabilities are calibrated.")
    surplus = sum(b.n * (b.confidence - (b.accuracy or 0.0)) for b in measured.reliability)
    if measured.ece <= 0.02:
        sentence = _("Its probabilities are well calibrated: on average they are off by {points} points.")
    elif measured.ece <= 0.05:
        sentence = _("Its probabilities are about right: on average they are off by {points} points.")
    elif surplus > 0:
        sentence = _("Its probabilities are too high: on average they are off by {points} points.")
    else:
        sentence = _("Its probabilities are too low: on average they are off by {points} points.")
    return sentence.format(points=number(measured.ece * 100, 1))


def by_weight(notes: Sequence[Note | NoteSection]) -> tuple[list[str], list[str]]:
    """Return notes as sentences: those that change how far to believe the result, and those that change it little.

    Where all of them change little, they stand openly as well.
    """
    weighty = [note for note in notes if note.code not in _MINOR]
    minor = [note for note in notes if note.code in _MINOR]
    if len(minor) <= 1 or (not weighty and len(minor) <= 3):
        weighty, minor = [*notes], []
    return _sentences(weighty), _sentences(minor)


def _sentences(notes: Sequence[Note | NoteSection]) -> list[str]:
    return [Note(note.code, note.values).sentence() for note in notes]


def facts(begun: str, values: Mapping[str, int]) -> list[str]:
    """Return facts to stand in a row: how many pictures of how many classes, and when.

    Args:
        begun: when, as ISO 8601; empty where that is not known.
        values: the numbers of ``pictures`` and ``classes``.
    """
    pictures = ngettext("{n} picture", "{n} pictures", values["pictures"]).format(n=count(values["pictures"]))
    classes = ngettext("{n} class", "{n} classes", values["classes"]).format(n=count(values["classes"]))
    return [f"{pictures}, {classes}", *([date(datetime.fromisoformat(begun))] if begun else [])]
