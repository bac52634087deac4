"""How many updates still fit before a deadline, so that the learning-rate schedule can end with them."""

from collections import deque
from statistics import median

from kilat.runtime.deadline import Deadline

_RECENT = 50
_MARGIN = 0.95
_CLOSING_SECONDS = 8.0
"""For the model file, its parity gate and the report; measured at 2 to 5 seconds on two cores."""


class UpdatePlanner:
    """Measures updates, validation and checkpoints, and computes how many updates they leave time for.

    ``later_extra`` is how many seconds longer a picture takes after training than in a validation.

    Args:
        deadline: when everything must be over.
        batch: pictures an update.
        per_epoch: updates an epoch.
        validation_pictures: that the logits are computed of after every epoch, and running statistics estimated on.
        later_pictures: that they are computed of after training.
    """

    def __init__(
        self, deadline: Deadline, *, batch: int, per_epoch: int, validation_pictures: int, later_pictures: int
    ) -> None:
        self.deadline, self.batch, self.per_epoch = deadline, batch, per_epoch
        self.validation_pictures, self.later_pictures = validation_pictures, later_pictures
        self.later_extra = 0.0
        self._updates: deque[float] = deque(maxlen=_RECENT)
        self._inference: float | None = None  # of one picture
        self._checkpoint = 0.0

    def record_updates(self, seconds: float, count: int) -> None:
        """Record how long some updates took together."""
        self._updates.extend([seconds / count] * count)

    def record_validation(self, seconds: float) -> None:
        """Record how long a validation took."""
        self._inference = seconds / self.validation_pictures

    def record_checkpoint(self, seconds: float) -> None:
        """Record how long a checkpoint took."""
        self._checkpoint = seconds

    def plan(self, done: int, wanted: int, later: int) -> int:
        """Return how many updates a phase should have, so that it and those after it are cut by the same share.

        Args:
            done: updates of the phase so far.
            wanted: updates of the phase by the recipe.
            later: updates of later phases by the recipe.

        Returns:
            At least one, since there has to be a model in the end.
        """
        share = min(1.0, (done + self.affordable()) / (wanted + later))
        return max(done, int(wanted * share), 1)

    def affordable(self) -> int:
        """Return how many more updates fit, with a validation and a checkpoint after every epoch of them."""
        update = median(self._updates)
        # Before the first measurement: inference takes the forward third of an update, in full precision.
        inference = self._inference if self._inference is not None else update / self.batch
        closing = _CLOSING_SECONDS + self._checkpoint
        closing += (self.later_pictures + self.validation_pictures) * inference + self.later_pictures * self.later_extra
        remaining = self.deadline.remaining() - closing
        between_epochs = (self.validation_pictures * inference + self._checkpoint) / self.per_epoch
        return max(0, int(remaining * _MARGIN / (update + between_epochs)))
