"""The page about a finished model on other labelled pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kilat.learn.metrics import Evaluation
from kilat.locale import _, ngettext
from kilat.report import confusion_matrix, diagnosis, figures, lead, robustness, tables, uncertainty
from kilat.report.pictures import Thumbnail
from kilat.report.shown_answers import ShownAnswers, pairs_of
from kilat.report.template import count, fill, percent


@dataclass(frozen=True)
class EvaluationPage:
    """What the page shows.

    Args:
        name: of the model and of the data.
        command: that was typed, or the call in Python.
        begun: when, as ISO 8601.
        evaluation: what was measured.
        own_test: ``n``, ``accuracy`` and ``accuracy_interval`` of the test pictures of the model's run; empty where
            they are not known.
        catalog: every picture that came in, the columns of ``Catalog.table``.
        predictions: with ``path``, ``split``, ``label``, ``predicted`` and ``probability``.
        thumbnails: pictures of answers, by path.
    """

    name: str
    command: str
    begun: str
    evaluation: Evaluation
    own_test: Mapping[str, Any]
    catalog: pd.DataFrame
    predictions: pd.DataFrame
    thumbnails: Mapping[str, Thumbnail]


def render(shown: EvaluationPage) -> str:
    """Return the page as HTML; equal input gives equal text."""
    evaluation, measured = shown.evaluation, shown.evaluation.test
    classes = evaluation.data.classes
    answers = ShownAnswers(shown.predictions, shown.thumbnails)
    mistakes = answers.mistakes()
    pairs = tables.confused_pairs(classes, measured.confusion)
    notes, minor_notes = lead.by_weight(evaluation.notes)
    sentence = ngettext(
        "of {n} test picture is answered rightly", "of {n} test pictures are answered rightly", measured.n
    )
    follows = diagnosis.diagnose_other_pictures(measured, shown.own_test, classes)
    many, has_reliability = len(classes) > confusion_matrix.MOST, measured.n >= lead.ENOUGH
    return fill(
        "evaluation.html.j2",
        title=shown.name,
        evaluation=evaluation,
        measured=measured,
        classes=classes,
        request=lead.Request(shown.command, lead.facts(shown.begun, {"pictures": measured.n, "classes": len(classes)})),
        headline=lead.headline_of(measured, sentence),
        verdict=[note.sentence() for note in follows] + _about_training_pictures(evaluation),
        notes=notes,
        minor_notes=minor_notes,
        examples=answers.examples(),
        mistakes=mistakes,
        mistake_pairs=pairs_of(mistakes),
        pairs=pairs[: 6 if not many else 20],
        calibration=lead.calibration(measured),
        sets=uncertainty.set_sentences(measured.sets),
        unknown=_about_unknown(evaluation),
        per_class=tables.classes_by_f1(measured.per_class),
        refused=tables.refused_pictures(shown.catalog),
        figure={
            "confusion": confusion_matrix.figure(classes, measured.confusion) if measured.n else None,
            "whole_confusion": confusion_matrix.whole(classes, measured.confusion) if measured.n and many else None,
            "reliability": figures.reliability(measured.reliability) if has_reliability else None,
            "robustness": robustness.figure(evaluation.robustness) if evaluation.robustness else None,
            **uncertainty.figures(measured),
        },
    )


def _about_training_pictures(evaluation: Evaluation) -> list[str]:
    """Return how the model does on pictures that it was trained on, which is no test; empty without any."""
    train = evaluation.train
    if train is None:
        return []
    sentence = ngettext(
        "{n} more picture is no test: the model was trained on it ({accuracy} right).",
        "{n} more pictures are no test: the model was trained on them ({accuracy} right).",
        train.n,
    )
    return [sentence.format(n=count(train.n), accuracy=percent(train.accuracy))]


def _about_unknown(evaluation: Evaluation) -> list[str]:
    """Return how many pictures were reported as unknown, of the model's classes and of others."""
    known = evaluation.test.unknown
    if known is None or not known.n:
        return []
    first = ngettext(
        "{share} of {n} picture of the model's classes was reported as unknown, which is a mistake.",
        "{share} of {n} pictures of the model's classes were reported as unknown, which is a mistake.",
        known.n,
    )
    sentences = [first.format(share=percent(known.share), n=count(known.n))]
    if (others := known.other_classes) is not None:
        second = ngettext(
            "Of {n} picture of other classes, {share} was, as it should be.",
            "Of {n} pictures of other classes, {share} were, as they should be.",
            others.n,
        )
        sentences.append(second.format(share=percent(others.share), n=count(others.n)))
        auroc = _("A picture of another class scores higher than one of the model's in {auroc} of all cases.")
        sentences.append(auroc.format(auroc=percent(others.auroc)))
    return sentences
