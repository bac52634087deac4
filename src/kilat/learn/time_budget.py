"""The time budget of a run: made once, passed down, and the only place that divides a limit into shares.

Only the clock on the wall counts: beside other programs everything takes longer, and more of it is given up. The least
valuable first: leaving classes out to choose how unknown pictures are noticed, fitting heads again without doubtful
labels, the learning curve, L2 penalties, folds, fine-tuning, further backbones and their precision, and last pictures.
Never: the model file, its measures on the test pictures, its parity gate, the report.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.data.catalog import Source
from kilat.features import lite
from kilat.features.extract import PassLimit
from kilat.probe import HeadTimes
from kilat.recipe import Features
from kilat.runtime.deadline import Deadline

_HEAD_FEATURES = 0.6
"""All features must be extracted by then: the head, the checks and the model file need the rest."""
_TRAINING_PIXELS = 0.35
"""The same of reading pictures that a network is trained on."""
_LATEST_FINETUNE = 0.4
"""Once so much is gone when the frozen result is there, too little is left for another head and a training that could
gain anything."""
_LATEST_TRAINING = 0.7
"""The same once another head was fitted and the pictures were read, what the network must answer anyway included."""
ACTIVATION_CACHE = 0.5
"""Of the time that is left when training begins, the most that computing frozen stages beforehand may take: else there
is none for the epochs that would gain by it."""

_CLOSING, _LEAST_CLOSING, _MOST_CLOSING = 0.15, 2.0, 15.0
"""Kept for what is never given up after the head: measures, model file, parity gate, report, the end of the process.
A share, and seconds; measured at 1.5 to 5 seconds on two cores, alone and beside other programs."""
_SEARCH, _FOLDS, _LAST_FIT = 0.4, 0.65, 0.8
"""Of the time between the features and the closing, when the parts of the head must be over; the rest is for checks."""

_FIRST = 2
"""Of every class and split come first, so that there is one to train on and one to test on."""
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class TimeBudget:
    """How long a run may take.

    Args:
        limit: seconds for everything, None for as long as it takes.
        started: when the run began, on the clock ``now``.
        now: the clock.
    """

    limit: float | None = None
    started: float = 0.0
    now: Callable[[], float] = time.perf_counter

    @property
    def deadline(self) -> Deadline | None:
        """When everything must be over."""
        return None if self.limit is None else Deadline(self.started + self.limit, self.now)

    def for_features(self, *, before_training: bool) -> float:
        """Return the seconds that are left for extracting features, or for reading what a network is trained on."""
        if self.limit is None:
            return math.inf
        share = _TRAINING_PIXELS if before_training else _HEAD_FEATURES
        return self.started + share * self.limit - self.now()

    def pass_limit(self, source: Source, *, before_training: bool) -> PassLimit | None:
        """Return when a pass over the pictures must be over, and in which order it goes over them."""
        if self.limit is None:
            return None
        order, least = stratified_order(source)
        return PassLimit(order, least, lambda: self.for_features(before_training=before_training) <= 0)

    def for_head(self) -> HeadTimes:
        """Return when the parts of a head's fit that begins now must be over."""
        if self.limit is None:
            return HeadTimes()
        began, end = self.now(), self._closing
        moments = [began + share * max(0.0, end - began) for share in (_SEARCH, _FOLDS, _LAST_FIT)]
        return HeadTimes(*(lambda at=moment: self.now() >= at for moment in moments))

    def has_time(self, seconds: float = 0.0) -> bool:
        """Return whether something that takes so long can still be done before the closing."""
        return self.limit is None or self.now() + seconds < self._closing

    @property
    def is_late_for_finetuning(self) -> bool:
        """Whether a fine-tuning that began now could no longer gain anything."""
        return self._will_be_gone(_LATEST_FINETUNE, 0.0)

    def is_late_for_training(self, answering: float) -> bool:
        """Return whether its training could not, if that began now.

        Args:
            answering: seconds that the network takes for what it must answer however short its training is.
        """
        return self._will_be_gone(_LATEST_TRAINING, answering)

    def _will_be_gone(self, share: float, seconds: float) -> bool:
        return self.limit is not None and self.now() - self.started + seconds > share * self.limit

    @property
    def _closing(self) -> float:
        assert self.limit is not None
        return self.started + self.limit - min(max(_CLOSING * self.limit, _LEAST_CLOSING), _MOST_CLOSING)


UNLIMITED = TimeBudget()
"""As long as it takes."""


def cheaper_features(features: Features) -> Iterator[Features]:
    """Yield what was asked for, and then what is extracted where that takes too long: one backbone, in int8."""
    yield features
    cheap = features.model_copy(update={"backbone": features.backbones[0], "flip_average": False})
    if cheap.backbone in lite.NAMES:  # they come with weights of their own, and in int8
        precision = "int8" if cheap.precision == "fp32" else cheap.precision
        cheap = cheap.model_copy(update={"precision": precision, "weights": None})
    if cheap != features:
        yield cheap


def stratified_order(source: Source) -> tuple[NDArray[np.int64], int]:
    """Return all rows in an order whose first ones stand for all, and how many must be read in any case.

    One of every class and split comes first, which must be read; then another one; then, wherever it ends, it has the
    same share of every class and split, from all over each.
    """
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, entry in enumerate(source.entries):
        strata[entry.label, entry.split].append(row)
    rows, keys = [np.zeros(0, np.int64)], [np.zeros(0)]
    for members in strata.values():
        spread = np.argsort(np.arange(len(members)) * _GOLDEN % 1, kind="stable")
        share = (np.argsort(spread) + 0.5) / len(members)
        share[np.argsort(share)[:_FIRST]] = np.arange(-_FIRST, 0)[: len(members)]
        rows.append(np.array(members, np.int64))
        keys.append(share)
    return np.concatenate(rows)[np.argsort(np.concatenate(keys), kind="stable")], len(strata)
