"""What every answer comes with beside its probabilities: a prediction set, and whether none of the classes is meant."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.bundle.predictor import Classifier
from kilat.data.split import Part
from kilat.evaluate.calibration import apply_temperature
from kilat.evaluate.conformal import Sets, measure_sets
from kilat.evaluate.metrics import measure, wilson_interval
from kilat.evaluate.out_of_distribution import auroc
from kilat.learn import metadata
from kilat.learn.frozen import Result
from kilat.learn.out_of_distribution import OodDetection
from kilat.recipe import Trust
from kilat.verbs.answers import Answers

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Trusted:
    """Sets and the detector of unknown pictures, fitted on pictures that decided nothing else, with their measures.

    Args:
        result: what they belong to.
        sets: how prediction sets are made.
        sensed: what notices unknown pictures.
    """

    result: Result
    sets: Sets
    sensed: OodDetection

    def strangeness(self, rows: NDArray[np.int64]) -> Floats:
        """How far above the threshold of unknown pictures rows of the catalog lie, ``[n]``."""
        logits = self.result.learnt.answer(rows) / np.float32(self.result.temperature)
        return self.sensed.senses.detector.score(self.sensed.embed(rows), logits)

    @property
    def measured_sets(self) -> dict[str, Any]:
        """Coverage and size of the sets on the test pictures."""
        learnt, answers = self.result.learnt, self.result.answers
        return _sets(self.sets, answers, learnt.asked, learnt.classes)

    @cached_property
    def unknown(self) -> dict[str, Any]:
        """The section ``unknown`` of ``metrics.json``."""
        detector = self.sensed.senses.detector
        return {
            "methods": list(detector.methods),
            "rate": detector.rate,
            "auroc": self.sensed.auroc,
            "left_out": self.sensed.rounds,
            "test": _alarms(
                detector.score(self.sensed.asked, self.result.logits / np.float32(self.result.temperature))
            ),
        }

    @property
    def thresholds(self) -> dict[str, Any]:
        """What the model file says of both."""
        detector = self.sensed.senses.detector
        return {
            "set": self.sets.to_dict(),
            "unknown": {"methods": list(detector.methods), "rate": detector.rate, "score": 0.0},
        }

    def predictions(self) -> pd.DataFrame:
        """One row per picture that was asked without having been learnt from."""
        learnt = self.result.learnt
        parts = [(learnt.asked, self.result.answers), (learnt.held, self.result.held_answers)]
        if learnt.validation is not None and learnt.validation is not learnt.held:
            part, logits = learnt.validated
            parts.append((part, apply_temperature(logits, self.result.temperature)))
        return metadata.predictions(learnt.catalog, learnt.classes, parts)


def trust(result: Result, settings: Trust) -> Trusted:
    """Fits what answers come with on the held-out pictures of a result."""
    learnt = result.learnt
    sets = Sets.fit(
        result.held_answers,
        learnt.held.truth,
        coverage=settings.coverage,
        method=settings.sets,
        per_class=settings.per_class,
    )
    return Trusted(result, sets, learnt.sense(result.temperature, settings))


def measured(classifier: Classifier, asked: Part, answers: Answers, strangers: NDArray[np.int64]) -> dict[str, Any]:
    """What a finished model's answers to labelled pictures come to, sets and unknown pictures included.

    Args:
        classifier: the model.
        asked: pictures of its classes.
        answers: to every row of the catalog.
        strangers: rows of pictures of other classes.
    """
    probabilities = answers.probabilities[asked.rows]
    found = measure(asked.truth, probabilities, classifier.classes)
    found["sets"] = _sets(classifier.sets, probabilities, asked, classifier.classes)
    if "unknown" in classifier.manifest.thresholds:
        usual, strange = answers.unknown[asked.rows], answers.unknown[strangers]
        strange = strange[~np.isnan(strange)]
        found["unknown"] = _alarms(usual)
        if len(strange):
            found["unknown"]["other_classes"] = _alarms(strange) | {"auroc": auroc(usual, strange)}
    return found


def _sets(sets: Sets, probabilities: Floats, asked: Part, classes: Any) -> dict[str, Any]:
    members = sets.members(probabilities, never_empty=True)
    return {
        "method": sets.method,
        "target_coverage": sets.coverage,
        "per_class": len(sets.thresholds) > 1,
        **measure_sets(members, asked.truth, list(classes)),
    }


def _alarms(strangeness: Floats) -> dict[str, Any]:
    """How many pictures count as unknown."""
    flagged, n = int((strangeness > 0).sum()), len(strangeness)
    return {"n": n, "flagged": flagged, "share": flagged / n if n else None, "interval": wilson_interval(flagged, n)}
