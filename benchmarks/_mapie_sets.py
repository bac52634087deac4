"""MAPIE's prediction sets, for benchmarks/prediction_sets.py; runs where MAPIE is, and imports nothing of kilat.

Gets an ``.npz`` with ``probabilities`` [n, k], ``truth`` [n], ``splits`` [resplits, n], whose first half calibrates and
whose second half is asked about, and the ``coverages``. The last line of output is JSON: for each method and coverage
the share of right sets, their mean size and the share of empty ones, one number a split.

"lac a class" is MAPIE's LAC conformalised once for every class, on the pictures of that class alone; it is left out
where a class has too few. RAPS chooses its penalty on a fifth of the calibrating half; "randomized" and "included"
are MAPIE's choices for the last class of a set.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import numpy as np
from mapie.classification import SplitConformalClassifier  # type: ignore[import-not-found,unused-ignore]
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

Sets = NDArray[np.bool_]


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """A finished classifier whose pictures are row numbers."""

    def __init__(self, probabilities: NDArray[np.float64]) -> None:
        self.probabilities = probabilities
        self.classes_ = np.arange(probabilities.shape[1])

    def fit(self, _x: Any, _y: Any) -> "Given":
        """There is nothing to fit."""
        return self

    def predict_proba(self, x: NDArray[np.int64]) -> NDArray[np.float64]:
        """The rows asked for."""
        rows: NDArray[np.float64] = self.probabilities[x[:, 0]]
        return rows

    def predict(self, x: NDArray[np.int64]) -> NDArray[np.int64]:
        """The likeliest classes of the rows asked for."""
        labels: NDArray[np.int64] = self.predict_proba(x).argmax(axis=1)
        return labels


def main() -> None:
    """Makes the sets of every split."""
    warnings.filterwarnings("ignore")
    given = np.load(sys.argv[1])
    probabilities, truth, coverages = given["probabilities"].astype(np.float64), given["truth"], given["coverages"]
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # MAPIE wants sums of one
    model = Given(probabilities).fit(None, None)
    found: dict[str, dict[str, list[list[float]]]] = {}
    for split in given["splits"]:
        half = len(split) // 2
        for name, sets in ways(model, split[:half], split[half:], truth, coverages.tolist()):
            for coverage, members in zip(coverages.tolist(), np.moveaxis(sets, 2, 0), strict=True):
                sizes, right = members.sum(axis=1), members[np.arange(len(members)), truth[split[half:]]]
                row = [float(right.mean()), float(sizes.mean()), float((sizes == 0).mean())]
                found.setdefault(name, {}).setdefault(str(coverage), []).append(row)
    versions = {name: metadata.version(name) for name in ("mapie", "numpy", "scikit-learn")}
    print(json.dumps({"versions": versions, "sets": found}))


def ways(
    model: Given, fitted: NDArray[np.int64], asked: NDArray[np.int64], truth: NDArray[np.int64], coverages: list[float]
) -> Iterator[tuple[str, Sets]]:
    """Sets of the rows asked about, [n, k, coverages], in each way."""
    conform = {"estimator": model, "confidence_level": coverages, "prefit": True, "random_state": 0}
    lac = SplitConformalClassifier(conformity_score="lac", **conform).conformalize(fitted[:, None], truth[fitted])
    yield "lac", lac.predict_set(asked[:, None])[1]
    columns, rows = [], [fitted[truth[fitted] == c] for c in model.classes_]
    for c, own in enumerate(rows if min(map(len, rows)) > 1 / (1 - max(coverages)) else []):
        one = SplitConformalClassifier(conformity_score="lac", **conform).conformalize(own[:, None], truth[own])
        columns.append(one.predict_set(asked[:, None])[1][:, c])
    if columns:
        yield "lac a class", np.stack(columns, axis=1)
    raps = SplitConformalClassifier(conformity_score="raps", **conform).conformalize(fitted[:, None], truth[fitted])
    for name, last in (("raps randomized", "randomized"), ("raps included", True)):
        yield name, raps.predict_set(asked[:, None], conformity_score_params={"include_last_label": last})[1]


if __name__ == "__main__":
    main()
