"""What every answer comes with beside its probabilities: a prediction set, and whether it is none of the classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.data.split import Part
from kilat.evaluate.conformal import ConformalSets, measure_sets
from kilat.evaluate.metrics import wilson_interval
from kilat.learn.learned import Learned
from kilat.learn.out_of_distribution import OodDetection, fit_detector
from kilat.learn.time_budget import UNLIMITED, TimeBudget
from kilat.locale.notes import Note
from kilat.recipe import Trust
from kilat.runtime.cores import single_threaded_blas

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Uncertainty:
    """Prediction sets and the detector of unknown pictures of a classifier, fitted on its calibration pictures.

    Args:
        learned: what they belong to.
        sets: how prediction sets are made.
        ood: what notices unknown pictures.
    """

    learned: Learned
    sets: ConformalSets
    ood: OodDetection

    @property
    def notes(self) -> list[Note]:
        """What a time limit left undone."""
        skipped, done = self.ood.skipped, self.ood.rounds
        return [Note("time_limit_left_out", {"count": done, "total": done + skipped})] if skipped else []

    def scores(self, rows: Ints) -> Floats:
        """Return how far above the threshold of unknown pictures rows of the catalog lie, ``[n]``."""
        artifact, temperature = self.learned.artifact, np.float32(self.learned.split.temperature)
        return self.ood.graph.detector.score(artifact.embeddings(rows), artifact.logits(rows) / temperature)

    def unknown_section(self) -> dict[str, Any]:
        """Return the section ``unknown`` of ``metrics.json``."""
        split, detector = self.learned.split, self.ood.graph.detector
        scores = detector.score(self.ood.test_embeddings, split.test_logits / np.float32(split.temperature))
        return {
            "methods": list(detector.methods),
            "rate": detector.false_positive_rate,
            "auroc": self.ood.auroc,
            "left_out": self.ood.rounds,
            "test": count_flagged(scores),
        }

    def set_measures(self) -> dict[str, Any]:
        """Return coverage and size of the sets on the test pictures, the section ``test.sets``."""
        split = self.learned.split
        return set_measures(self.sets, split.test_probabilities, split.test, split.classes)

    def thresholds(self) -> dict[str, Any]:
        """Return what the model file says of both."""
        detector = self.ood.graph.detector
        return {
            "set": self.sets.to_dict(),
            "unknown": {"methods": list(detector.methods), "rate": detector.false_positive_rate, "score": 0.0},
        }


def fit_uncertainty(learned: Learned, trust: Trust, budget: TimeBudget = UNLIMITED) -> Uncertainty:
    """Fit prediction sets and the detector of unknown pictures on the calibration pictures, within a time budget."""
    split = learned.split
    with single_threaded_blas():
        sets = ConformalSets.fit(
            split.calibration_probabilities,
            split.calibration.truth,
            coverage=trust.coverage,
            method=trust.sets,
            per_class=trust.per_class,
        )
        return Uncertainty(learned, sets, fit_detector(split, learned.artifact, trust, budget, learned.results))


def set_measures(sets: ConformalSets, probabilities: Floats, part: Part, classes: Sequence[str]) -> dict[str, Any]:
    """Return how prediction sets do on some pictures, as a section of ``metrics.json``.

    Args:
        sets: how they are made.
        probabilities: of the pictures, ``[n, classes]``.
        part: the pictures.
        classes: their names.
    """
    members = sets.members(probabilities, never_empty=True)
    return {
        "method": sets.method,
        "target_coverage": sets.coverage,
        "per_class": len(sets.thresholds) > 1,
        **measure_sets(members, part.truth, list(classes)),
    }


def count_flagged(scores: Floats) -> dict[str, Any]:
    """Return how many of some pictures count as unknown, their scores being above 0."""
    flagged, n = int((scores > 0).sum()), len(scores)
    return {"n": n, "flagged": flagged, "share": flagged / n if n else None, "interval": wilson_interval(flagged, n)}
