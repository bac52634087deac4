"""How many updates still fit before a deadline."""

import time
from collections import deque
from statistics import median

_RECENT = 50
_MARGIN = 0.95
_CLOSING_SECONDS = 8.0
"""For the model file, its gate and the report; measured at 2 to 5 seconds on two cores."""


class Pace:
    """Measures updates and answers, and reckons what they leave room for.

    Args:
        deadline: the ``time.perf_counter`` at which everything must be over.
        batch: pictures an update.
        validation: pictures that are answered after every epoch.
        later: pictures that are answered after training.
    """

    def __init__(self, deadline: float, batch: int, validation: int, later: int) -> None:
        self.deadline, self.batch, self.validation, self.later = deadline, batch, validation, later
        self.updates: deque[float] = deque(maxlen=_RECENT)
        self.answer: float | None = None

    def updated(self, seconds: float) -> None:
        """An update took so long."""
        self.updates.append(seconds)

    def answered(self, pictures: int, seconds: float) -> None:
        """So many pictures were answered in this time."""
        self.answer = seconds / max(pictures, 1)

    def affordable(self, per_epoch: int) -> int:
        """How many more updates fit, with a validation every ``per_epoch`` of them."""
        update = median(self.updates)
        # An answer takes the forward third of an update, in full precision.
        answer = self.answer if self.answer is not None else update / self.batch
        left = self.deadline - time.perf_counter() - _CLOSING_SECONDS - (self.later + self.validation) * answer
        return max(0, int(left * _MARGIN / (update + self.validation * answer / per_epoch)))
