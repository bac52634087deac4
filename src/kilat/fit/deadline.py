"""A time limit: how many updates still fit before a deadline, so that the schedule can end with them."""

import time
from collections import deque
from collections.abc import Callable
from statistics import median

_RECENT = 50
_MARGIN = 0.95
_CLOSING_SECONDS = 8.0
"""For the model file, its gate and the report; measured at 2 to 5 seconds on two cores."""


class Deadline:
    """Measures updates, answers and checkpoints, and reckons what they leave room for.

    ``extra`` is how many seconds longer an answer takes after training than one of a validation.

    Args:
        deadline: the ``time.perf_counter`` at which everything must be over.
        batch: pictures an update.
        per_epoch: updates an epoch.
        validation: pictures that are answered after every epoch.
        later: pictures that are answered after training.
        now: the clock.
    """

    def __init__(
        self,
        deadline: float,
        *,
        batch: int,
        per_epoch: int,
        validation: int,
        later: int,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.deadline, self.now = deadline, now
        self.batch, self.per_epoch, self.validation, self.later = batch, per_epoch, validation, later
        self._updates: deque[float] = deque(maxlen=_RECENT)
        self.extra = 0.0
        self._answer: float | None = None
        self._save = 0.0

    def updated(self, seconds: float) -> None:
        """An update took so long."""
        self._updates.append(seconds)

    def validated(self, seconds: float) -> None:
        """The validation took so long."""
        self._answer = seconds / self.validation

    def saved(self, seconds: float) -> None:
        """A checkpoint took so long."""
        self._save = seconds

    def plan(self, done: int, wanted: int, later: int) -> int:
        """How many updates a phase should have, so that it and those after it are cut by the same share.

        Args:
            done: updates of the phase until now.
            wanted: by the recipe.
            later: updates that the recipe wants in later phases.

        Returns:
            At least one, since there must be a model in the end.
        """
        share = min(1.0, (done + self.affordable()) / (wanted + later))
        return max(done, int(wanted * share), 1)

    def affordable(self) -> int:
        """How many more updates fit, with a validation and a checkpoint after every epoch of them."""
        update = median(self._updates)
        # Until one is measured: an answer takes the forward third of an update, in full precision.
        answer = self._answer if self._answer is not None else update / self.batch
        closing = _CLOSING_SECONDS + (self.later + self.validation) * answer + self.later * self.extra + self._save
        left = self.deadline - self.now() - closing
        return max(0, int(left * _MARGIN / (update + (self.validation * answer + self._save) / self.per_epoch)))
