"""Gathers what the report shows: sample pictures, the most confident mistakes, the learning curve."""

import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from kilat.data.catalog import Catalog, Source
from kilat.data.decode import decode
from kilat.errors import PictureError
from kilat.evaluate.metrics import wilson_interval
from kilat.report.page import CurvePoint, Mistake, Report, Shown

SAMPLES = 20
MISTAKES = 24
_THUMBNAIL = 144


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
        shown: of a training by gradient: ``history``, ``network`` and ``augmented``, as ``Report`` has them.
    """
    test = predictions[predictions["split"] == "test"]
    wrong = test[test["label"] != test["predicted"]].sort_values("probability", ascending=False, kind="stable")
    wrong = wrong.head(MISTAKES)
    samples = _samples(catalog)
    # In the source's order, since going back in a compressed archive means starting it again.
    seen = {row: _shown(source, catalog, row) for row in sorted({*samples, *wrong["row"]})}
    mistakes = [
        Mistake(picture, predicted, float(probability))
        for row, predicted, probability in zip(wrong["row"], wrong["predicted"], wrong["probability"], strict=True)
        if (picture := seen[row])
    ]
    pictures = [picture for row in samples if (picture := seen[row])]
    curve = [
        CurvePoint(p["pictures"], p["right"] / p["of"], *_interval(p)) for p in metrics.get("head", {}).get("curve", [])
    ]
    return Report(name, metrics, recipe, catalog.table, pictures, curve, mistakes, notes, **shown)


def _interval(point: dict[str, int]) -> tuple[float, float]:
    low, high = wilson_interval(point["right"], point["of"]) or (0.0, 1.0)
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


def _shown(source: Source, catalog: Catalog, row: int) -> Shown | None:
    """A picture made small; None if it can no longer be read."""
    try:
        image, _ = decode(source.read(row), shrink_to=_THUMBNAIL)
    except PictureError:
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return Shown(source.entries[row].path, str(catalog.table.loc[row, "label"]), file.getvalue(), source.link(row))
