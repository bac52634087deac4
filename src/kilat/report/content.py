"""Gathers what the report shows: sample pictures, the most confident mistakes, the learning curve."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from kilat.check.finding import Finding
from kilat.data.catalog import Catalog, Source
from kilat.evaluate.metrics import wilson_interval
from kilat.report.findings import choose, illustrate, rows
from kilat.report.page import CurvePoint, Mistake, Report
from kilat.report.pictures import show

SAMPLES = 20
MISTAKES = 24
A_FINDING, OF_FINDINGS = 6, 90
"""Pictures of one finding in the data, and of all."""


def gather(
    name: str,
    source: Source,
    catalog: Catalog,
    predictions: pd.DataFrame,
    metrics: dict[str, Any],
    recipe: str,
    notes: list[str],
    shown: Mapping[str, Any] = MappingProxyType({}),
) -> Report:
    """Everything the page says about a run.

    Args:
        name: of the run.
        source: where the pictures are; those that are shown are read once more.
        catalog: every picture that came in.
        predictions: with the columns ``row``, ``split``, ``label``, ``predicted`` and ``probability``.
        metrics: the content of ``metrics.json``.
        recipe: as YAML.
        notes: sentences worth saying.
        shown: ``findings`` in the data, as ``kilat.check`` makes them; and of a training by gradient ``history``,
            ``network`` and ``augmented``, as ``Report`` has them.
    """
    test = predictions[predictions["split"] == "test"]
    wrong = test[test["label"] != test["predicted"]].sort_values("probability", ascending=False, kind="stable")
    wrong = wrong.head(MISTAKES)
    samples = _samples(catalog)
    findings: Sequence[Finding] = shown.get("findings", ())
    choices = choose(findings, a_finding=A_FINDING, a_page=OF_FINDINGS)
    seen = show(source, catalog, {*samples, *wrong["row"], *rows(choices)})
    mistakes = [
        Mistake(seen[row], predicted, float(probability))
        for row, predicted, probability in zip(wrong["row"], wrong["predicted"], wrong["probability"], strict=True)
        if row in seen
    ]
    pictures = [seen[row] for row in samples if row in seen]
    curve = [
        CurvePoint(p["pictures"], p["correct"] / p["n"], *_interval(p))
        for p in metrics.get("head", {}).get("curve", [])
    ]
    more = {**shown, "findings": illustrate(choices, seen, catalog)}
    return Report(name, metrics, recipe, catalog.table, pictures, curve, mistakes, notes, **more)


def _interval(point: dict[str, int]) -> tuple[float, float]:
    low, high = wilson_interval(point["correct"], point["n"]) or (0.0, 1.0)
    return low, high


def _samples(catalog: Catalog) -> list[int]:
    """Rows of some used pictures, the same number of every class, evenly spaced; of many classes some."""
    rows = catalog.table[catalog.used].groupby("label", sort=True).indices
    used = np.flatnonzero(catalog.used)
    labels = list(rows)
    shown = [labels[i] for i in np.unique(np.linspace(0, len(labels) - 1, SAMPLES).round().astype(int))]
    each = max(1, SAMPLES // len(shown))
    return [
        int(used[rows[label][i]])
        for label in shown
        for i in np.unique(np.linspace(0, len(rows[label]) - 1, each + 2).round().astype(int))[1:-1][:each]
    ] or [int(used[rows[label][0]]) for label in shown]
