"""The training pictures nearest to a mistake: one of its own class, one of the class that it was taken for."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kilat.report.illustrations import most_confident_mistakes
from kilat.runtime.array_types import Floats

if TYPE_CHECKING:
    from kilat.learn.learned import Learned


def nearest_pictures(learned: "Learned", predictions: pd.DataFrame) -> dict[str, tuple[str | None, str | None]]:
    """Return the paths of the training pictures most like each of the most confident mistakes.

    Likeness is the cosine of embeddings, which the score of unknown pictures goes by as well. Of a network trained by
    gradient only some pictures have embeddings.

    Args:
        learned: the classifier.
        predictions: with the columns ``row``, ``path``, ``label``, ``predicted`` and ``probability``.

    Returns:
        By the path of the mistake: the nearest training picture of its class, and of the class it was taken for; None
        where there is none.
    """
    embedded, labels = learned.artifact.embedded_rows, learned.catalog.table["label"].to_numpy()
    train = np.intersect1d(learned.split.train.rows, embedded)
    mistakes = most_confident_mistakes(predictions)
    mistakes = mistakes[mistakes["row"].isin(embedded)]
    if mistakes.empty or not len(train):
        return {}
    units = _normalised(learned.artifact.embeddings(train))
    paths, of_train = learned.catalog.table["path"].to_numpy(), labels[train]
    # A validation picture of a head on a frozen backbone is a training picture itself, and nearest to itself.
    likeness = _normalised(learned.artifact.embeddings(mistakes["row"].to_numpy())) @ units.T
    likeness[mistakes["row"].to_numpy()[:, None] == train] = -np.inf

    def nearest(row: Floats, label: str) -> str | None:
        of_class = np.flatnonzero((of_train == label) & np.isfinite(row))
        return str(paths[train[of_class[row[of_class].argmax()]]]) if len(of_class) else None

    columns = zip(mistakes["path"], mistakes["label"], mistakes["predicted"], likeness, strict=True)
    return {path: (nearest(row, label), nearest(row, predicted)) for path, label, predicted, row in columns}


def _normalised(embeddings: Floats) -> Floats:
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    normalised: Floats = (embeddings / np.maximum(lengths, 1e-12)).astype(np.float32)
    return normalised
