"""What a training is given, and how far it has come."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from kilat.data.split import Part
from kilat.fit.loader import Pictures
from kilat.fit.results import Result
from kilat.locale.notes import Note
from kilat.model.image_model import ImageModel
from kilat.recipe import Recipe

Row = dict[str, float]
"""One epoch of the history."""

LayerRow = dict[str, Any]
"""One layer in one epoch of a training that is watched: the columns of ``layers.csv``, None where one is empty."""

Sample = list[list[float]]
"""Of every trained layer, the norms of its gradient, of its weights and of their update, at one update."""


@dataclass(frozen=True)
class TrainSpec:
    """What a training is given.

    Args:
        network: with its initial weights; training changes it.
        pictures: where their pixels come from.
        train: the pictures to train on.
        validation: the pictures to measure on after every epoch.
        classes: their names.
        recipe: how to train.
        device: ``cpu``, ``cuda``, ``mps`` or ``xla``.
        later_pictures: how many pictures the logits are computed of after training, which takes time as well.
    """

    network: ImageModel
    pictures: Pictures
    train: Part
    validation: Part
    classes: Sequence[str]
    recipe: Recipe
    device: str
    later_pictures: int = 0

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Digests of what must not change when a training is resumed.

        ``pictures`` is that of all training and validation pictures with their classes; ``recipe`` that of the recipe.
        """
        parts = [[part.digests.tolist(), part.truth.tolist()] for part in (self.train, self.validation)]
        return {
            "pictures": _digest([list(self.classes), self.network.size, *parts]),
            "recipe": _digest(self.recipe.model_dump(mode="json")),
        }


@dataclass
class TrainState:
    """How far a training has come: all of it that is not a tensor, as it is saved in a checkpoint.

    Args:
        phase: which phase, from 0.
        epoch: how many epochs of the phase are finished.
        batch: how many batches of this epoch are finished.
        step: how many updates of the phase are finished.
        planned_steps: how many the phase will have; fewer than the recipe says where a time limit requires it.
        global_step: updates since the beginning, rolled back ones included; the number of a checkpoint.
        rollback_step: the ``global_step`` of the checkpoint from the start of this epoch, to which a rollback returns.
        micro_batch: how many pictures of a batch are computed at once where memory does not suffice for all; else 0.
        inference_batch: the same for computing logits.
        lr_scale: factor of the learning rate after rollbacks.
        rollbacks: how many there were.
        loss: sum over this epoch's pictures so far.
        correct: how many of them were classified correctly.
        pictures: how many there were.
        seconds: of this epoch so far.
        best_epoch: the epoch whose weights are kept, from 0 over all phases; -1 before the first.
        precise_batch_norm: on how many training pictures running statistics were estimated for the last validation; 0
            where they stayed.
        horizontal_flip: whether pictures are mirrored, where the recipe leaves that open; None before it is known.
        stop_reason: why training is over: ``all_epochs``, ``time_limit`` or ``early_stopping``; empty before.
        start: the validation's ``loss`` and ``accuracy`` before training, where early stopping counts them.
        history: a row for every finished epoch.
        watched: what was looked at in this epoch so far, where layers are watched.
        layers: a row for every layer in every finished epoch, where they are.
        notes: what changes how far the result can be believed.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    planned_steps: int = 0
    global_step: int = 0
    rollback_step: int = 0
    micro_batch: int = 0
    inference_batch: int = 0
    lr_scale: float = 1.0
    rollbacks: int = 0
    loss: float = 0.0
    correct: int = 0
    pictures: int = 0
    seconds: float = 0.0
    best_epoch: int = -1
    horizontal_flip: bool | None = None
    precise_batch_norm: int = 0
    stop_reason: str = ""
    start: dict[str, float] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    watched: list[Sample] = field(default_factory=list)
    layers: list[LayerRow] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def advance(self) -> None:
        """Go on to the next update; what this one gave is counted when it is known."""
        self.batch, self.step, self.global_step = self.batch + 1, self.step + 1, self.global_step + 1

    def count(self, result: Result) -> None:
        """Count what an update gave."""
        self.loss += result.loss * result.pictures
        self.correct, self.pictures = self.correct + result.correct, self.pictures + result.pictures

    def finish_epoch(self, *, validation: tuple[float, float], learning_rate: float, validation_seconds: float) -> None:
        """Add the row of an epoch to the history, and reset the sums.

        Args:
            validation: its loss and its accuracy.
            learning_rate: of the last update.
            validation_seconds: how long it took.
        """
        loss, accuracy = validation
        self.history.append(
            {
                "epoch": len(self.history) + 1,
                "loss": self.loss / max(self.pictures, 1),
                "accuracy": self.correct / max(self.pictures, 1),
                "validation_loss": loss,
                "validation_accuracy": accuracy,
                "learning_rate": learning_rate,
                "seconds": round(self.seconds + validation_seconds, 3),
                "pictures_per_second": round(self.pictures / max(self.seconds, 1e-9), 1),
            }
        )
        self.epoch += 1
        self.watched = []
        self.batch = self.pictures = self.correct = 0
        self.loss = self.seconds = 0.0

    def start_values(self, monitor: str) -> list[float]:
        """Return the validation's ``loss`` or ``accuracy`` before training, where it counts in this phase."""
        return [self.start[monitor]] if self.start and self.phase == 0 else []

    def monitored(self, monitor: str) -> list[float]:
        """Return the validation's ``loss`` or ``accuracy`` in the finished epochs of this phase."""
        return [row[f"validation_{monitor}"] for row in self.history[len(self.history) - self.epoch :]]

    def document(self) -> dict[str, Any]:
        """Return the state as JSON can hold it."""
        return {**asdict(self), "notes": [note.document() for note in self.notes]}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "TrainState":
        """Return the state that ``document`` gave."""
        return cls(**{**document, "notes": [Note(**note) for note in document["notes"]]})


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()
