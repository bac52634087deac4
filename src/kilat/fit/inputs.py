"""What a network is trained on: from pictures to its input and its targets, augmented and resized."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kilat.fit import resolutions
from kilat.fit.augment import random
from kilat.fit.augment.augmenter import Augmenter
from kilat.fit.augment.random import Draws
from kilat.fit.train_state import TrainSpec
from kilat.recipe import Augment


class TrainingInputs:
    """Makes the network's input and its targets of batches of pictures, or of their activations.

    ``side`` is that of the pictures in training, in pixels; inference has the network's own. ``epoch`` is which one it
    is, from 0 over all phases, by which pictures are mirrored.

    Args:
        spec: the training.
    """

    def __init__(self, spec: TrainSpec) -> None:
        self._seed, self._device = spec.recipe.runtime.seed, spec.device
        self._classes = torch.arange(len(spec.classes), device=spec.device)
        self._truth = _truth_by_row(spec)
        self.side, self.epoch = spec.network.size, 0
        self.augment(spec.recipe.augment)

    def augment(self, choices: Augment) -> None:
        """Set what is done to pictures from now on."""
        self._augmenter = Augmenter(choices) if choices.is_active else None
        self._flips = bool(choices.horizontal_flip)

    @property
    def are_repeatable(self) -> bool:
        """Whether the same is done to every batch, but for the numbers that are drawn."""
        return self._augmenter is None or self._augmenter.is_repeatable

    def labels(self, rows: NDArray[np.int64]) -> list[Tensor]:
        """Return the classes of pictures, ``[n]``, and which are mirrored if any are, bool ``[n]``; on the CPU."""
        mirrored = []
        if self._augmenter and self._flips:
            mirrored = [random.alternating(rows, seed=self._seed, epoch=self.epoch)]
        return [self._truth[torch.from_numpy(rows)], *mirrored]

    def targets(self, rows: NDArray[np.int64]) -> Tensor:
        """Return how much pictures belong to each class, float32 ``[n, classes]``."""
        return self._one_hot(self._truth[torch.from_numpy(rows)])

    def __call__(
        self, batch: Tensor, draws: Draws, truth: Tensor, mirrored: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return augmented planes of the pictures' own size, and their targets; activations stay as they are.

        Args:
            batch: pixels uint8 ``[n, size, size, 3]``, or activations float32.
            draws: what augmentation draws from; for the whole batch, so that its result does not depend on how the
                batch is divided.
            truth: as ``labels`` gives it.
            mirrored: likewise.
        """
        targets = self._one_hot(truth)
        if batch.dtype != torch.uint8:
            return batch, targets
        if self._augmenter:
            return self._augmenter(batch, targets, draws, mirrored)
        return batch.permute(0, 3, 1, 2).float(), targets

    def resized(self, inputs: Tensor) -> Tensor:
        """Return planes of this epoch's size; activations stay as they are."""
        return resolutions.resize(inputs, self.side) if inputs.ndim == 4 else inputs

    def _one_hot(self, truth: Tensor) -> Tensor:
        # Not torch's one_hot, which looks at the values.
        return (truth.to(self._device)[:, None] == self._classes).float()


def _truth_by_row(spec: TrainSpec) -> Tensor:
    """Return the class of every training and validation picture, by its row in the catalog."""
    parts = (spec.train, spec.validation)
    truth = torch.zeros(1 + int(max(part.rows.max(initial=0) for part in parts)), dtype=torch.int64)
    for part in parts:
        truth[torch.from_numpy(part.rows)] = torch.from_numpy(part.truth)
    return truth
