"""The report on a run: one HTML page that stands alone and offline, whole without scripts; a function of its data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd
from markupsafe import Markup

from kilat.check.finding import Finding
from kilat.learn.measures import Measures
from kilat.learn.metrics import Metrics
from kilat.locale import ngettext
from kilat.recipe import Recipe
from kilat.report import (
    comparison,
    confusion_matrix,
    curves,
    diagnosis,
    figures,
    layer_figures,
    lead,
    learning_curve,
    map_figure,
    network_diagram,
    tables,
    uncertainty,
)
from kilat.report.findings import show
from kilat.report.illustrations import Illustrations, select_for_report
from kilat.report.planned_rates import planned_rates
from kilat.report.shown_answers import ShownAnswers, pairs_of
from kilat.report.template import count, fill
from kilat.report.training_course import Course

OPEN_FINDINGS = 3
"""So many findings are shown openly where no more are serious; the others are folded away."""


@dataclass(frozen=True)
class Report:
    """What a run folder holds, which is all that the page shows.

    Args:
        name: of the run.
        metrics: ``metrics.json``.
        recipe: ``recipe.yaml``, the fully resolved recipe.
        catalog: ``catalog.csv``, the columns of ``Catalog.table``.
        predictions: ``predictions.csv``, with ``path``, ``split``, ``label``, ``predicted`` and ``probability``.
        history: ``history.csv``, a row an epoch of training by gradient: numbers, with the columns that
            ``kilat.report.curves.history`` takes and ``pictures_per_second``; without rows for a frozen backbone.
        illustrations: ``report.json``.
        layers: ``layers.csv``; without rows where no layers were watched.
    """

    name: str
    metrics: Metrics
    recipe: Recipe
    catalog: pd.DataFrame
    predictions: pd.DataFrame
    history: pd.DataFrame
    illustrations: Illustrations
    layers: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of the history; what is missing or no number is NaN."""
        numbers = self.history.apply(pd.to_numeric, errors="coerce")
        return [dict(zip(numbers.columns, row, strict=True)) for row in numbers.itertuples(index=False, name=None)]

    @cached_property
    def course(self) -> Course | None:
        """The course of the training by gradient; None where there was none."""
        return Course.of(self.epochs, self.metrics.fit.best_epoch if self.metrics.fit else None)

    @cached_property
    def watched(self) -> layer_figures.Layers | None:
        """The layers by epoch; None where they were not watched."""
        return layer_figures.Layers.of(self.layers)

    @cached_property
    def curve(self) -> list[learning_curve.Point]:
        """The learning curve of the head."""
        return learning_curve.points(self.metrics.head)

    def evidence(self) -> diagnosis.Evidence:
        """Return what a diagnosis follows from."""
        is_trained = self.metrics.is_trained
        train = self.catalog[(self.catalog["status"] == "used") & (self.catalog["split"] == "train")]
        return diagnosis.Evidence(
            self.metrics,
            course=self.course if is_trained else None,
            curve=[] if is_trained else self.curve,
            train_counts=dict.fromkeys(self.metrics.data.classes, 0) | Counter(train["label"]),
            mixes=bool(self.recipe.augment.mixup or self.recipe.augment.cutmix),
            is_penalised=self.recipe.model is not None and self.recipe.model.is_penalised,
        )


def render(report: Report) -> str:
    """Return the page as HTML; equal reports give equal text."""
    metrics, illustrations = report.metrics, report.illustrations
    measured, classes = metrics.measured, metrics.data.classes
    paths = report.catalog["path"].tolist()
    found = [Finding.from_document(document, paths) for document in metrics.check.findings]
    findings = show(select_for_report(found), illustrations.thumbnails, report.catalog)
    opened = max(OPEN_FINDINGS, sum(found.severity == "serious" for found in findings))
    pairs = tables.confused_pairs(classes, measured.confusion)
    splits = tables.pictures_per_split(report.catalog, classes)
    answers = ShownAnswers(report.predictions, illustrations.thumbnails, illustrations.nearest)
    mistakes = answers.mistakes()
    notes, minor_notes = lead.by_weight(metrics.notes)
    counts = {"pictures": metrics.data.used, "classes": len(classes)}
    return fill(
        "page.html.j2",
        title=report.name,
        metrics=metrics,
        measured=measured,
        classes=classes,
        request=lead.Request(illustrations.command, lead.facts(illustrations.begun, counts)),
        headline=lead.headline(metrics),
        verdict=lead.verdict(metrics, diagnosis.diagnose(report.evidence()), findings),
        notes=notes,
        minor_notes=minor_notes,
        examples=answers.examples(),
        mistakes=mistakes,
        mistake_pairs=pairs_of(mistakes),
        splits={split: sum(counts) for split, counts in splits.items()},
        open_findings=findings[:opened],
        folded_findings=findings[opened:],
        augmented=illustrations.augmented,
        has_history=bool(report.epochs),
        comparison=[*comparison.sentences(metrics.comparison), comparison.cost_sentence(metrics.timing)]
        if metrics.comparison
        else [],
        course=report.course.sentences() if report.course else [],
        training=tables.training(metrics.fit, report.epochs) if metrics.fit else [],
        network=illustrations.network,
        layers=report.watched.table() if report.watched else [],
        learning_curve=learning_curve.sentence(report.curve),
        pairs=pairs[: 6 if len(classes) <= confusion_matrix.MOST else 20],
        measured_parts=_measured_parts(metrics),
        calibration=lead.calibration(measured),
        sets=uncertainty.set_sentences(measured.sets),
        unknown=uncertainty.unknown_sentences(metrics.unknown),
        auroc=uncertainty.auroc_table(metrics.unknown),
        per_class=tables.classes_by_f1(measured.per_class),
        refused=tables.refused_pictures(report.catalog),
        timings=tables.timings(metrics.timing),
        settings=tables.settings(metrics),
        difference=report.recipe.differences_to_yaml(),
        recipe=report.recipe.to_yaml(),
        map=map_figure.draw(illustrations.picture_map, report.catalog, report.predictions, found, classes),
        figure=_figures(report, splits),
    )


def _measured_parts(metrics: Metrics) -> list[tuple[str, Measures]]:
    """Return the measures of the test set, where there is one, and of validation, with what they are of."""
    n, test = metrics.validation.n, metrics.test
    validation = (
        ngettext("validation, {n} picture", "validation, {n} pictures", n)
        if metrics.is_trained
        else ngettext("cross-validation, {n} picture", "cross-validation, {n} pictures", n)
    )
    of_test = ngettext("test, {n} picture", "test, {n} pictures", test.n).format(n=count(test.n))
    return [*([(of_test, test)] if test.n else []), (validation.format(n=count(n)), metrics.validation)]


def _figures(report: Report, splits: Mapping[str, Sequence[int]]) -> dict[str, Markup | None]:
    """Draw every figure that there are numbers for."""
    metrics, measured = report.metrics, report.metrics.measured
    classes, network = metrics.data.classes, report.illustrations.network
    largest_first = sorted(range(len(classes)), key=lambda i: -sum(counts[i] for counts in splits.values()))
    counts = {name: [numbers[i] for i in largest_first] for name, numbers in splits.items()}
    before = measured.uncalibrated.reliability if measured.uncalibrated else ()
    planned = planned_rates(report.recipe.fit, metrics.data.train, metrics.fit) if metrics.fit else None
    best = metrics.fit.best_epoch if metrics.fit else None
    history = curves.history(report.epochs, best, planned) if len(report.epochs) > 1 else {}  # a dot is no curve
    is_calibration_shown = measured.n >= lead.ENOUGH and measured.reliability
    many = len(classes) > confusion_matrix.MOST
    return {
        "balance": figures.balance([classes[i] for i in largest_first], counts) if counts else None,
        "learning_curve": learning_curve.figure(report.curve),
        "confusion": confusion_matrix.figure(classes, measured.confusion) if measured.n else None,
        "whole_confusion": confusion_matrix.whole(classes, measured.confusion) if measured.n and many else None,
        "reliability": figures.reliability(measured.reliability, before) if is_calibration_shown else None,
        "network": network_diagram.volumes(network.rows, network.input_shape) if network else None,
        **uncertainty.figures(measured),
        **(layer_figures.figures(report.watched) if report.watched else {}),
        **{f"history_{name}": figure for name, figure in history.items()},
    }
