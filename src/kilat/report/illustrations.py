"""The pictures of a report: made while a training ends and the pictures are at hand, kept in the run folder as data."""

import io
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from kilat.check.finding import Finding
from kilat.data.catalog import Catalog, Source
from kilat.recipe.network_summary import Summary
from kilat.report.findings import Selection, select, selected_rows
from kilat.report.picture_map import PictureMap
from kilat.report.pictures import LARGE, SMALL, Thumbnail, data_uri, make_thumbnails

MISTAKES = 30
EXAMPLES = 3
"""Pictures each that were answered rightly, wrongly, and without certainty, on the first screen."""

PER_FINDING, ALL_FINDINGS = 6, 60
"""Pictures of one finding, and of all findings, in a report on a classifier."""

_SHEET = 1200  # pixels across at most of the sheet of augmented pictures


class Illustrations(BaseModel):
    """What a report shows beside measurements; with it, a report is made without any picture at hand.

    Args:
        command: that asked for the run, or the call in Python.
        begun: when, in local time, as ISO 8601.
        thumbnails: the pictures that a report may show, by path.
        nearest: for a mistake, the training pictures nearest to it of its class and of the class that it was taken for,
            all by path; None where there is none.
        augmented: a contact sheet of augmented pictures as a data URI, where there was augmentation.
        network: the layers of the network, where it was trained by gradient.
        picture_map: where the pictures lie; None where there are too few.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal[1] = Field(1, alias="schema")
    command: str = ""
    begun: str = ""
    thumbnails: dict[str, Thumbnail] = Field(default_factory=dict)
    nearest: dict[str, tuple[str | None, str | None]] = Field(default_factory=dict)
    augmented: str | None = None
    network: Summary | None = None
    picture_map: PictureMap | None = None

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
    known: Illustrations,
) -> Illustrations:
    """Read every picture that the report of a run shows, once.

    Args:
        source: where the pictures are.
        catalog: every picture that came in.
        predictions: with the columns ``path``, ``split``, ``label``, ``predicted`` and ``probability``.
        findings: what was found in the data.
        known: everything else that it shows.
    """
    beside = {path for both in known.nearest.values() for path in both if path}
    sides = dict.fromkeys([*selected_rows(select_for_report(findings)), *_rows_of(beside, catalog)], SMALL)
    sides |= rows_looked_at(catalog, predictions)
    return known.model_copy(update={"thumbnails": make_thumbnails(source, catalog, sides)})


def rows_looked_at(catalog: Catalog, predictions: pd.DataFrame) -> dict[int, int]:
    """Return the rows of the answers that a page shows, with the side in pixels of each."""
    shown = {*most_confident_mistakes(predictions)["path"]}.union(*(one["path"] for one in examples(predictions)))
    return dict.fromkeys(_rows_of(shown, catalog), LARGE)


def _rows_of(paths: Collection[str], catalog: Catalog) -> list[int]:
    rows: list[int] = np.flatnonzero(catalog.table["path"].isin(paths) & catalog.used).tolist()
    return rows


def augmented_sheet(png: bytes | None) -> str | None:
    """Return a sheet of augmented pictures as a data URI, no wider than a page needs it; None where there is none."""
    if png is None:
        return None
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail((_SHEET, 2 * _SHEET))
    return data_uri(image, 70)


def measured_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that the measures are about: of the test set, or of validation where there is no test set."""
    is_test = predictions["split"] == "test"
    return predictions[is_test] if is_test.any() else predictions[predictions["split"] == "validation"]


def most_confident_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the wrong answers that were given the highest probabilities, the highest first."""
    measured = measured_predictions(predictions)
    wrong = measured[measured["label"] != measured["predicted"]]
    return wrong.sort_values("probability", ascending=False, kind="stable").head(MISTAKES)


class Examples(NamedTuple):
    """Some answers each: right ones, wrong ones with the highest probabilities, and the least certain."""

    right: pd.DataFrame
    wrong: pd.DataFrame
    unsure: pd.DataFrame


def examples(predictions: pd.DataFrame) -> Examples:
    """Return answers to show first, of as many classes, or pairs of them, as there are."""
    measured = measured_predictions(predictions).sort_values("probability", ascending=False, kind="stable")
    is_right = measured["label"] == measured["predicted"]
    wrong = _varied(measured[~is_right])
    rest = measured.drop(index=wrong.index)
    return Examples(_varied(measured[is_right]), wrong, rest[rest["probability"] < _SURE].tail(EXAMPLES).iloc[::-1])


_SURE = 0.9  # from here on an answer is not called unsure


def _varied(answers: pd.DataFrame) -> pd.DataFrame:
    """Return some of these answers: the first of every pair of label and answer, then the second ones."""
    turn = answers.groupby(["label", "predicted"], sort=False).cumcount()
    return answers.loc[turn.sort_values(kind="stable").index].head(EXAMPLES)


def select_for_report(findings: Iterable[Finding]) -> list[Selection]:
    """Return what a report on a classifier shows of findings: fewer pictures than a page about the data."""
    return select(findings, per_finding=PER_FINDING, per_page=ALL_FINDINGS)
