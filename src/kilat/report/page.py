"""The report on a run: one HTML page that stands alone, offline, without scripts; a pure function of the run's data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from kilat.check.finding import Finding
from kilat.learn.metrics import Metrics
from kilat.report import (
    comparison,
    confusion_matrix,
    curves,
    figures,
    lead,
    learning_curve,
    network_diagram,
    tables,
    uncertainty,
)
from kilat.report.findings import show
from kilat.report.illustrations import Illustrations, most_confident_mistakes, sample_rows, select_for_report
from kilat.report.pictures import ShownPicture
from kilat.report.template import fill

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
    """

    name: str
    metrics: Metrics
    recipe: str
    catalog: pd.DataFrame
    predictions: pd.DataFrame
    history: pd.DataFrame
    illustrations: Illustrations

    @property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of the history; what is missing or no number is NaN."""
        numbers = self.history.apply(pd.to_numeric, errors="coerce")
        return [dict(zip(numbers.columns, row, strict=True)) for row in numbers.itertuples(index=False, name=None)]


class Mistake(NamedTuple):
    """A picture that was classified wrongly; ``probability`` is that of the prediction."""

    picture: ShownPicture
    predicted: str
    probability: float


def render(report: Report) -> str:
    """Return the page as HTML; equal reports give equal text."""
    metrics = report.metrics
    measured, classes = metrics.measured, metrics.data.classes
    paths = report.catalog["path"].tolist()
    selected = select_for_report(Finding.from_document(document, paths) for document in metrics.check.findings)
    findings = show(selected, report.illustrations.thumbnails, report.catalog)
    opened = max(OPEN_FINDINGS, sum(found.severity == "serious" for found in findings))
    pairs = tables.confused_pairs(classes, measured.confusion)
    splits = tables.pictures_per_split(report.catalog, classes)
    curve = learning_curve.points(metrics.head)
    return fill(
        "page.html.j2",
        name=report.name,
        metrics=metrics,
        measured=measured,
        classes=classes,
        verdict=lead.verdict(metrics, pairs, findings),
        notes=metrics.sentences,
        samples=_samples(report),
        splits={split: sum(counts) for split, counts in splits.items()},
        open_findings=findings[:opened],
        folded_findings=findings[opened:],
        augmented=report.illustrations.augmented,
        has_history=bool(report.epochs),
        comparison=[*comparison.sentences(metrics.comparison), comparison.cost_sentence(metrics.timing)]
        if metrics.comparison
        else [],
        training=tables.training(metrics.fit, report.epochs) if metrics.fit else [],
        network=report.illustrations.network,
        learning_curve=learning_curve.sentence(curve),
        pairs=pairs[: 6 if len(classes) <= figures.NAMED else 20],
        is_image=len(classes) > figures.NAMED,
        sets=uncertainty.set_sentences(measured.sets),
        unknown=uncertainty.unknown_sentences(metrics.unknown),
        auroc=uncertainty.auroc_table(metrics.unknown),
        per_class=tables.classes_by_f1(measured.per_class),
        mistakes=_mistakes(report),
        refused=tables.refused_pictures(report.catalog),
        timings=tables.timings(metrics.timing),
        settings=tables.settings(metrics),
        recipe=report.recipe,
        figure=_figures(report, splits, curve),
    )


def _samples(report: Report) -> list[ShownPicture]:
    """Return some of the used pictures."""
    rows = report.catalog.iloc[sample_rows(report.catalog)]
    thumbnails = report.illustrations.thumbnails
    return [
        ShownPicture(path, label, thumbnails[path])
        for path, label in zip(rows["path"], rows["label"], strict=True)
        if path in thumbnails
    ]


def _mistakes(report: Report) -> list[Mistake]:
    """Return the most confident mistakes on the test set."""
    wrong = most_confident_mistakes(report.predictions)
    thumbnails = report.illustrations.thumbnails
    columns = (wrong["path"], wrong["label"], wrong["predicted"], wrong["probability"])
    return [
        Mistake(ShownPicture(path, label, thumbnails[path]), predicted, float(probability))
        for path, label, predicted, probability in zip(*columns, strict=True)
        if path in thumbnails
    ]


def _figures(
    report: Report, splits: Mapping[str, list[int]], curve: Sequence[learning_curve.Point]
) -> dict[str, Markup | None]:
    """Draw every figure that there are numbers for."""
    metrics, measured = report.metrics, report.metrics.measured
    classes, network = metrics.data.classes, report.illustrations.network
    largest_first = sorted(range(len(classes)), key=lambda i: -sum(counts[i] for counts in splits.values()))
    counts = {name: [numbers[i] for i in largest_first] for name, numbers in splits.items()}
    before = measured.uncalibrated.reliability if measured.uncalibrated else ()
    history = curves.history(report.epochs, metrics.fit.best_epoch if metrics.fit else None)
    return {
        "balance": figures.balance([classes[i] for i in largest_first], counts) if counts else None,
        "learning_curve": learning_curve.figure(curve),
        "confusion": confusion_matrix.figure(classes, measured.confusion) if measured.n else None,
        "reliability": figures.reliability(measured.reliability, before) if measured.reliability else None,
        "network": network_diagram.volumes(network.rows, network.input_shape) if network else None,
        **uncertainty.figures(metrics),
        **{f"history_{name}": figure for name, figure in history.items()},
    }
