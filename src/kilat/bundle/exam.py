"""Asks a finished model about every picture of a source, each accounted for in a catalog."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from kilat.bundle.predictor import Classifier
from kilat.data.catalog import Catalog, Picture, Source, content_digest
from kilat.errors import PictureError, nearest


def keep_askable(catalog: Catalog, classes: tuple[str, ...]) -> None:
    """Refuses what the model cannot be measured on: unknown classes, and pictures that a ready-made split trains on."""
    table = catalog.table
    for row in table.index[catalog.used & ~table["label"].isin(classes)]:
        label = table.loc[row, "label"]
        catalog.refuse(row, f"the model knows no class '{label}'. {nearest(label, classes)}")
    if (table.loc[catalog.used, "split"] == "test").any():
        for row in table.index[catalog.used & (table["split"] != "test")]:
            catalog.refuse(row, f"belongs to the split '{table.loc[row, 'split']}', and there is one called 'test'")
    table["split"] = "test"


def examine(
    classifier: Classifier, source: Source, catalog: Catalog, progress: Callable[[int, int], None]
) -> NDArray[np.float32]:
    """Probabilities of every used picture, float32 ``[rows of the catalog, classes]``; zeros where it was refused."""
    rows = np.flatnonzero(catalog.used)
    probabilities = np.zeros((len(catalog.table), len(classifier.classes)), np.float32)
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
            probabilities[row] = outcome
        progress(done, len(rows))
    catalog.table["digest"] = digests
    return probabilities
