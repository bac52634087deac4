"""Asks a finished model about every picture of a source, each accounted for in a catalog."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.predictor import Answer, Classifier
from kilat.data.catalog import Catalog, Picture, Source, content_digest
from kilat.errors import PictureError, nearest
from kilat.runtime.progress import Advance

STRANGERS = 1000
"""Pictures of other classes that are asked about at most, to see whether the model notices them."""


def keep_askable(catalog: Catalog, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Refuses what the model cannot be measured on: unknown classes, and pictures that a ready-made split trains on.

    Returns:
        Rows of pictures of unknown classes, at most ``STRANGERS``, on which can be measured whether it notices them.
    """
    table = catalog.table
    strangers = _strangers(catalog, classes)
    for row in table.index[catalog.used & ~table["label"].isin(classes)]:
        label = table.loc[row, "label"]
        catalog.refuse(row, f"the model knows no class '{label}'. {nearest(label, classes)}")
    if (table.loc[catalog.used, "split"] == "test").any():
        for row in table.index[catalog.used & (table["split"] != "test")]:
            catalog.refuse(row, f"belongs to the split '{table.loc[row, 'split']}', and there is one called 'test'")
    table["split"] = "test"
    return strangers


def _strangers(catalog: Catalog, classes: tuple[str, ...]) -> NDArray[np.int64]:
    table, used = catalog.table, catalog.used
    asked = (table["split"] == "test").to_numpy()
    foreign = used & ~table["label"].isin(classes).to_numpy()
    rows = np.flatnonzero(foreign & asked if (used & asked).any() else foreign)
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), STRANGERS)).round().astype(np.int64))]


@dataclass(frozen=True)
class Answers:
    """What a model said of every row of a catalog; zeros where a picture was refused.

    Args:
        probabilities: float32 ``[rows, classes]``.
        unknown: how far each lies above the threshold of unknown pictures, float32 ``[rows]``; NaN where refused.
        embeddings: float32 ``[rows, d]``.
    """

    probabilities: NDArray[np.float32]
    unknown: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def examine(
    classifier: Classifier,
    source: Source,
    catalog: Catalog,
    advance: Advance,
    strangers: Sequence[int] | NDArray[np.int64] = (),
) -> Answers:
    """Asks about every used picture, and fills in the catalog's digests and refusals.

    Args:
        classifier: the model.
        source: where the pictures are.
        catalog: of them.
        advance: told how many are done.
        strangers: rows to ask about as well, though they were refused.
    """
    rows = np.union1d(np.flatnonzero(catalog.used), np.asarray(strangers, np.int64))
    answers: list[Answer | None] = [None] * len(catalog.table)
    digests = [""] * len(catalog.table)

    def read() -> Iterator[Picture | PictureError]:
        for row in rows:
            try:
                picture = source.read(int(row))
            except PictureError as error:
                yield error
                continue
            digests[row] = content_digest(picture).hex()
            yield picture

    for done, (row, outcome) in enumerate(zip(rows, classifier.outcomes(read()), strict=True), 1):
        if isinstance(outcome, PictureError):
            catalog.refuse(int(row), outcome.message)
        else:
            answers[row] = outcome
        advance(done, len(rows))
    catalog.table["digest"] = digests
    width = max((len(one.embedding) for one in answers if one), default=0)
    nothing = Answer(np.zeros(len(classifier.classes), np.float32), math.nan, np.zeros(width, np.float32))
    whole = [one or nothing for one in answers]
    return Answers(
        np.array([one.probabilities for one in whole], np.float32).reshape(len(whole), -1),
        np.array([one.unknown for one in whole], np.float32),
        np.array([one.embedding for one in whole], np.float32).reshape(len(whole), width),
    )
