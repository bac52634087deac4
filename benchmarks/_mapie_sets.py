"""MAPIE's prediction sets, for benchmarks/prediction_sets.py; runs where MAPIE is, and imports nothing of kilat.

Gets an ``.npz`` with ``probabilities`` [n, k], ``truth`` [n], ``splits`` [resplits, n], whose first half calibrates and
whose second half is measured, and the ``coverages``. The last line of output is JSON: for each method and coverage
the share of sets that hold the right class, their mean size and the share of empty ones, one number a split.

"lac per class" is MAPIE's LAC conformalised once for every class, on the pictures of that class alone; it is left out
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


class FixedProbabilities(ClassifierMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """A finished classifier whose pictures are row numbers."""

    def __init__(self, probabilities: NDArray[np.float64]) -> None:
        self.probabilities = probabilities
        self.classes_ = np.arange(probabilities.shape[1])

    def fit(self, _x: Any, _y: Any) -> "FixedProbabilities":
        """Return itself: there is nothing to fit."""
        return self

    def predict_proba(self, x: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the probabilities ``[n, k]`` of rows ``[n, 1]``."""
        rows: NDArray[np.float64] = self.probabilities[x[:, 0]]
        return rows

    def predict(self, x: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the likeliest classes of rows ``[n, 1]``."""
        labels: NDArray[np.int64] = self.predict_proba(x).argmax(axis=1)
        return labels


def main() -> None:
    """Make the sets of every split."""
    warnings.filterwarnings("ignore")
    inputs = np.load(sys.argv[1])
    probabilities, truth, coverages = inputs["probabilities"].astype(np.float64), inputs["truth"], inputs["coverages"]
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # MAPIE wants sums of one
    model = FixedProbabilities(probabilities).fit(None, None)
    results: dict[str, dict[str, list[list[float]]]] = {}
    for split in inputs["splits"]:
        half = len(split) // 2
        for name, sets in make_sets(model, split[:half], split[half:], truth, coverages.tolist()):
            for coverage, members in zip(coverages.tolist(), np.moveaxis(sets, 2, 0), strict=True):
                sizes, covered = members.sum(axis=1), members[np.arange(len(members)), truth[split[half:]]]
                row = [float(covered.mean()), float(sizes.mean()), float((sizes == 0).mean())]
                results.setdefault(name, {}).setdefault(str(coverage), []).append(row)
    versions = {name: metadata.version(name) for name in ("mapie", "numpy", "scikit-learn")}
    print(json.dumps({"versions": versions, "sets": results}))


def make_sets(
    model: FixedProbabilities,
    calibration: NDArray[np.int64],
    test: NDArray[np.int64],
    truth: NDArray[np.int64],
    coverages: list[float],
) -> Iterator[tuple[str, Sets]]:
    """Yield the name of each method and its sets of the test rows, ``[n, k, coverages]``."""
    conform = {"estimator": model, "confidence_level": coverages, "prefit": True, "random_state": 0}
    inputs, labels = calibration[:, None], truth[calibration]
    lac = SplitConformalClassifier(conformity_score="lac", **conform).conformalize(inputs, labels)
    yield "lac", lac.predict_set(test[:, None])[1]
    columns, rows = [], [calibration[truth[calibration] == c] for c in model.classes_]
    for c, own in enumerate(rows if min(map(len, rows)) > 1 / (1 - max(coverages)) else []):
        one = SplitConformalClassifier(conformity_score="lac", **conform).conformalize(own[:, None], truth[own])
        columns.append(one.predict_set(test[:, None])[1][:, c])
    if columns:
        yield "lac per class", np.stack(columns, axis=1)
    raps = SplitConformalClassifier(conformity_score="raps", **conform).conformalize(inputs, labels)
    for name, last in (("raps randomized", "randomized"), ("raps included", True)):
        yield name, raps.predict_set(test[:, None], conformity_score_params={"include_last_label": last})[1]


if __name__ == "__main__":
    main()
