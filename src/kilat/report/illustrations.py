"""The pictures of a report: made while a training ends and the pictures are at hand, kept in the run folder as data."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from kilat.check.finding import Finding
from kilat.data.catalog import Catalog, Source
from kilat.recipe.network_summary import Summary
from kilat.report.findings import Selection, select, selected_rows
from kilat.report.pictures import Thumbnail, make_thumbnails

SAMPLES = 20
MISTAKES = 24
PER_FINDING, ALL_FINDINGS = 6, 90
"""Pictures of one finding, and of all findings, in a report on a classifier."""


class Illustrations(BaseModel):
    """What a report shows beside measurements; with it, a report is made without any picture at hand.

    Args:
        thumbnails: the pictures that a report may show, by path.
        augmented: a contact sheet of augmented pictures as a PNG file in Base64, where there was augmentation.
        network: the layers of the network, where it was trained by gradient.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal[1] = Field(1, alias="schema")
    thumbnails: dict[str, Thumbnail] = Field(default_factory=dict)
    augmented: str | None = None
    network: Summary | None = None

    def to_document(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return what ``to_document`` was called on.

        Raises:
            ValidationError: the document has other keys or types.
        """
        return cls.model_validate(document)


def illustrate(
    source: Source,
    catalog: Catalog,
    predictions: pd.DataFrame,
    findings: Iterable[Finding],
    *,
    network: Summary | None = None,
    augmented: bytes | None = None,
) -> Illustrations:
    """Read every picture that the report of a run shows, once.

    Args:
        source: where the pictures are.
        catalog: every picture that came in.
        predictions: with the columns ``path``, ``split``, ``label``, ``predicted`` and ``probability``.
        findings: what was found in the data.
        network: the layers, of a network trained by gradient.
        augmented: a contact sheet of augmented pictures, as a PNG file.
    """
    mistakes = most_confident_mistakes(predictions)["path"]
    rows = {
        *sample_rows(catalog.table),
        *np.flatnonzero(catalog.table["path"].isin(mistakes) & catalog.used).tolist(),
        *selected_rows(select_for_report(findings)),
    }
    png = None if augmented is None else base64.b64encode(augmented).decode("ascii")
    return Illustrations(thumbnails=make_thumbnails(source, catalog, rows), augmented=png, network=network)


def most_confident_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the wrong predictions on the test set that were given the highest probabilities, the highest first."""
    test = predictions[predictions["split"] == "test"]
    wrong = test[test["label"] != test["predicted"]]
    return wrong.sort_values("probability", ascending=False, kind="stable").head(MISTAKES)


def select_for_report(findings: Iterable[Finding]) -> list[Selection]:
    """Return what a report on a classifier shows of findings: fewer pictures than a page about the data."""
    return select(findings, per_finding=PER_FINDING, per_page=ALL_FINDINGS)


def sample_rows(catalog: pd.DataFrame) -> list[int]:
    """Return rows of some used pictures, the same number of every class, evenly spaced; of many classes some."""
    rows: dict[str, list[int]] = {}
    for row, (label, status) in enumerate(zip(catalog["label"], catalog["status"], strict=True)):
        if status == "used":
            rows.setdefault(label, []).append(row)
    labels = sorted(rows)
    if not labels:
        return []
    chosen = [labels[i] for i in np.unique(np.linspace(0, len(labels) - 1, SAMPLES).round().astype(int))]
    per_class = max(1, SAMPLES // len(chosen))
    return [
        rows[label][i]
        for label in chosen
        for i in np.unique(np.linspace(0, len(rows[label]) - 1, per_class + 2).round().astype(int))[1:-1][:per_class]
    ] or [rows[label][0] for label in chosen]
