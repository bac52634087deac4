"""The tables of a report: splits, confused classes, classes by their F1, refused pictures, training, settings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kilat.data.catalog import SPLITS, Catalog
from kilat.learn.measures import ClassMeasures
from kilat.learn.metrics import FitSection, Metrics
from kilat.locale import _
from kilat.locale.refusals import refusal_heading
from kilat.report.template import count, defined, split_name

LISTED = 200
"""Refused pictures that the page names; catalog.csv holds them all."""


@dataclass(frozen=True)
class ConfusedPair:
    """How many of the ``support`` pictures of one class were classified as another."""

    truth: str
    predicted: str
    count: int
    support: int


def confused_pairs(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[ConfusedPair]:
    """Return the pairs of classes that were confused, the most frequent first."""
    if not confusion:
        return []
    matrix = np.asarray(confusion)
    support = matrix.sum(axis=1)
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    rows, columns = np.nonzero(wrong)
    order = np.argsort(-wrong[rows, columns], kind="stable")
    return [
        ConfusedPair(classes[r], classes[c], int(wrong[r, c]), int(support[r]))
        for r, c in zip(rows[order], columns[order], strict=True)
    ]


def classes_by_f1(per_class: Mapping[str, ClassMeasures]) -> list[tuple[str, ClassMeasures]]:
    """Return the classes by their F1, the lowest first; those without a picture to measure come last."""
    return sorted(per_class.items(), key=lambda item: (not item[1].support, item[1].f1 or 0.0))


def pictures_per_split(catalog: pd.DataFrame, classes: Sequence[str]) -> dict[str, list[int]]:
    """Return how many used pictures of each class there are in every split that has some, by the split's name."""
    used = catalog[catalog["status"] == "used"]
    sizes = Counter(zip(used["split"], used["label"], strict=True))
    counts = {split: [sizes[split, name] for name in classes] for split in SPLITS}
    return {split_name(split): numbers for split, numbers in counts.items() if any(numbers)}


@dataclass(frozen=True)
class RefusedGroup:
    """Pictures that were refused for the same reason.

    Args:
        reason: the code of the refusal as a sentence.
        count: how many there are.
        rows: path, label and detail of some; the detail is empty where the reason says it.
    """

    reason: str
    count: int
    rows: list[tuple[str, str, str]]


@dataclass(frozen=True)
class RefusedPictures:
    """All refused pictures by reason; ``unlisted`` of them are in no row."""

    groups: list[RefusedGroup]
    count: int
    unlisted: int


def refused_pictures(catalog: pd.DataFrame) -> RefusedPictures:
    """Return refused pictures by reason, the commonest first; a long list is cut so that every reason keeps rows."""
    refused = Catalog(catalog).refused
    totals = Counter(refused["code"])
    position = refused.groupby("code").cumcount()
    listed = refused[position.rank(method="first") <= LISTED]
    groups = []
    for code in sorted(totals, key=lambda code: (-totals[code], code)):
        details = refused.loc[refused["code"] == code, "detail"]
        rows = listed.loc[listed["code"] == code, ["path", "label", "detail"]]
        if len(set(details)) == 1:
            rows = rows.assign(detail="")
        groups.append(RefusedGroup(refusal_heading(code, details), totals[code], list(rows.itertuples(index=False))))
    return RefusedPictures(groups, len(refused), len(refused) - len(listed))


def training(fit: FitSection, history: Sequence[Mapping[str, float]]) -> list[tuple[str, str]]:
    """Return what there is to say of a training by gradient."""
    speeds = [row["pictures_per_second"] for row in history if defined(row.get("pictures_per_second"))]
    stop_reasons = {
        "all_epochs": _("all epochs"),
        "early_stopping": _("early stopping"),
        "time_limit": _("time limit"),
    }
    rows = [
        (_("epochs"), count(fit.epochs)),
        (_("epoch that was kept"), count(fit.best_epoch)),
        (_("end of training"), stop_reasons.get(fit.stop_reason, fit.stop_reason)),
        (_("optimizer"), fit.optimizer),
        (_("schedule"), fit.schedule),
        (_("pictures a step"), count(fit.batch)),
        (_("precision"), fit.precision),
        (_("device"), fit.device),
    ]
    if speeds:
        rows.append((_("pictures a second"), count(np.median(speeds))))
    if fit.rollbacks:
        rows.append((_("rollbacks after diverging"), count(fit.rollbacks)))
    return rows


def timings(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the parts of a run with their seconds, the whole last."""
    names = {
        "pictures_s": _("reading pictures"),
        "features_s": _("extracting features"),
        "near_duplicates_s": _("finding near-duplicates"),
        "head_s": _("fitting the head"),
        "fit_s": _("training"),
        "evaluation_s": _("evaluation"),
        "uncertainty_s": _("estimating uncertainty"),
        "check_s": _("checking the data"),
        "bundle_s": _("exporting the model"),
        "parity_s": _("comparing the model file"),
        "report_s": _("writing the report"),
    }
    parts = [(names.get(key, key), value) for key, value in seconds.items() if key != "total_s"]
    return [*parts, (_("total"), seconds["total_s"])] if "total_s" in seconds else parts


def settings(metrics: Metrics) -> list[tuple[str, Any]]:
    """Return single values about the model, how it was fitted, and with which versions."""
    sections = (metrics.model, metrics.fit, metrics.head)
    values = [item for section in sections if section for item in section.model_dump().items()]
    values += metrics.versions.items()
    return [(key, value) for key, value in values if value is not None and not isinstance(value, list | dict)]
