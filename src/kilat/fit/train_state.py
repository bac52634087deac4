"""What a training is given, and where it stands."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kilat.data.split import Part
from kilat.fit.loader import Pictures
from kilat.model.image_model import ImageModel
from kilat.recipe import Recipe

Row = dict[str, float]
"""One epoch of the history."""


@dataclass(frozen=True)
class TrainSpec:
    """What is to be learnt.

    Args:
        network: with its first weights; training changes it.
        pictures: where their pixels come from.
        training: the pictures to learn from.
        validation: the pictures to be measured on after every epoch.
        classes: their names.
        recipe: how.
        device: ``cpu``, ``cuda``, ``mps`` or ``xla``.
        asked_later: how many pictures will be answered after training.
    """

    network: ImageModel
    pictures: Pictures
    training: Part
    validation: Part
    classes: Sequence[str]
    recipe: Recipe
    device: str
    answered_later: int = 0

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Digests of what a training must not change when it goes on.

        ``pictures`` is that of all that is learnt from or validated on, with their classes; ``recipe`` of the recipe.
        """
        sides = [[part.digests.tolist(), part.truth.tolist()] for part in (self.training, self.validation)]
        return {
            "pictures": _digest([list(self.classes), self.network.size, *sides]),
            "recipe": _digest(self.recipe.model_dump(mode="json")),
        }


@dataclass
class TrainState:
    """Where training stands: all of it that is no tensor, as it goes into a checkpoint.

    Args:
        phase: which phase, from 0.
        epoch: how many epochs of the phase are done.
        batch: how many batches of this epoch are done.
        step: how many updates of the phase are done.
        planned: how many the phase will have; fewer than the recipe says where there is a time limit.
        global_step: updates since the beginning, rolled back ones as well; the number of a checkpoint.
        base: the ``global_step`` of the checkpoint from the start of this epoch, to which a rollback returns.
        micro_batch: how many pictures of a batch are learnt from at once where memory does not suffice for all; else 0.
        answer_batch: how many are answered at once, likewise.
        lr_scale: factor of the rate after rollbacks.
        rollbacks: how many there were.
        loss: sum over this epoch's pictures so far.
        right: how many of them were answered rightly.
        seen: how many there were.
        seconds: of this epoch so far.
        best: the epoch whose weights are kept, from 0 over all phases; -1 before the first.
        stop_reason: why training is over, or empty.
        history: a row for every epoch that is done.
        notes: sentences worth saying.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    planned: int = 0
    global_step: int = 0
    base: int = 0
    micro_batch: int = 0
    answer_batch: int = 0
    lr_scale: float = 1.0
    rollbacks: int = 0
    loss: float = 0.0
    right: int = 0
    seen: int = 0
    seconds: float = 0.0
    best: int = -1
    stop_reason: str = ""
    history: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, loss: float, right: int, pictures: int) -> None:
        """One more update was made, of so many pictures with this mean loss."""
        self.loss, self.right, self.seen = self.loss + loss * pictures, self.right + right, self.seen + pictures
        self.batch, self.step, self.global_step = self.batch + 1, self.step + 1, self.global_step + 1

    def close_epoch(self, *, validation: tuple[float, float], rate: float, validation_seconds: float) -> None:
        """Adds the row of an epoch to the history, and begins to count anew.

        Args:
            validation: its loss and its accuracy.
            rate: of the last update.
            validation_seconds: how long it took.
        """
        loss, accuracy = validation
        self.history.append(
            {
                "epoch": len(self.history) + 1,
                "loss": self.loss / max(self.seen, 1),
                "accuracy": self.right / max(self.seen, 1),
                "validation_loss": loss,
                "validation_accuracy": accuracy,
                "learning_rate": rate,
                "seconds": round(self.seconds + validation_seconds, 3),
                "pictures_per_second": round(self.seen / max(self.seconds, 1e-9), 1),
            }
        )
        self.epoch += 1
        self.batch = self.seen = self.right = 0
        self.loss = self.seconds = 0.0

    def monitored(self, monitor: str) -> list[float]:
        """What validation gave in the finished epochs of this phase."""
        return [row[f"validation_{monitor}"] for row in self.history[len(self.history) - self.epoch :]]


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()
