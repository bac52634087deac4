"""The time budget of a run: made once, passed down, and the only place that divides a limit into shares."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilat.data.catalog import Source
from kilat.features import lite
from kilat.recipe import Features
from kilat.runtime.deadline import Deadline

_HEAD_FEATURES = 0.6
"""All features must be extracted by then: the head, the checks and the model file need the rest."""
_FINETUNE_FEATURES = 0.35
"""The same where a training follows."""
_LATEST_FINETUNE = 0.4
"""Once so much is gone when the frozen result is there, too little is left for another head and a training that could
gain anything."""
ACTIVATION_CACHE = 0.5
"""Of the time that is left when training begins, the most that computing frozen stages beforehand may take: else there
is none for the epochs that would gain by it."""

_RATE_MARGIN = 0.8
_LEAST_PER_CLASS = 40


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

    def for_features(self, *, before_finetuning: bool) -> float:
        """Return the seconds that are left for extracting features; infinite without a limit."""
        if self.limit is None:
            return math.inf
        share = _FINETUNE_FEATURES if before_finetuning else _HEAD_FEATURES
        return self.started + share * self.limit - self.now()

    @property
    def is_late_for_finetuning(self) -> bool:
        """Whether a fine-tuning that began now could no longer gain anything."""
        return self.limit is not None and self.now() - self.started > _LATEST_FINETUNE * self.limit


def cheaper_features(features: Features) -> Iterator[Features]:
    """Yield what was asked for, and then what is extracted where that takes too long: one backbone, in int8."""
    yield features
    cheap = features.model_copy(update={"backbone": features.backbones[0], "flip_average": False})
    if cheap.backbone in lite.NAMES and cheap.weights is None:
        cheap = cheap.model_copy(update={"precision": "int8"})
    if cheap != features:
        yield cheap


def rows_to_leave_out(source: Source, rate: float, seconds: float) -> NDArray[np.int64]:
    """Return the rows that are not extracted so that the others can be in time.

    The same share of every class and split is left out, evenly spread; 40 of each are kept in any case.

    Args:
        source: the pictures.
        rate: pictures that are extracted in a second.
        seconds: that there are.
    """
    share = _RATE_MARGIN * rate * seconds / max(1, len(source.entries))
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, entry in enumerate(source.entries):
        if not entry.refused:
            strata[entry.label, entry.split].append(row)
    rows: list[int] = []
    for members in strata.values():
        count = min(len(members), max(_LEAST_PER_CLASS, round(share * len(members))))
        kept = set(np.linspace(0, len(members) - 1, count).round().astype(int).tolist())
        rows += [row for position, row in enumerate(members) if position not in kept]
    return np.array(sorted(rows), np.int64)
