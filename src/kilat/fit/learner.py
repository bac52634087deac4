"""A network that learns: one update, one look at validation, one answer."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kilat.fit import clipping, losses, optimizers
from kilat.fit.augment import Augmenter
from kilat.fit.place import Task
from kilat.fit.regularizers import Regularizer
from kilat.fit.weights import Tensors, Weights, under
from kilat.model.backbone_layer import BackboneStep
from kilat.recipe.fit import Phase

_ANSWER_BATCH = 256


class NotFiniteError(Exception):
    """A loss is no number."""


class Learner:
    """A network with everything that changes it; ``begin`` comes before all else.

    Args:
        task: what is to be learnt.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.fit = task, task.recipe.fit
        self.network = task.network.to(task.device)
        self.dtype = precision(self.fit.precision, task.device, self.network)
        self.weights = Weights(self.network, self.fit.ema)
        self._see: Callable[[Tensor], Tensor] = self.network.see
        if self.fit.compile:
            self._see = torch.compile(self.network.see)
        self._augmenter = Augmenter(task.recipe.augment) if task.recipe.augment.is_any else None
        counts = np.bincount(task.training.truth, minlength=len(task.classes)).tolist()
        weights = losses.class_weights(self.fit.class_weight, task.classes, counts)
        self._loss = losses.Loss(self.fit.loss, len(task.classes), weights)
        self._plain_loss = losses.Loss(self.fit.loss, len(task.classes), None)  # validation weighs all pictures alike
        self._truth = _truth_by_row(task)

    def begin(self, phase: Phase) -> None:
        """What follows from a phase alone: which weights learn, a fresh optimizer, a fresh mean."""
        backbone = next((part for part in self.network.modules() if isinstance(part, BackboneStep)), None)
        if backbone is not None and self.fit.phases:
            backbone.unfreeze(phase.unfreeze)
        self.weights.choose()
        # All of them: Muon looks at where a kernel stands, and what has no gradient is passed over.
        self._optimizer = optimizers.create(self.fit.optimizer, dict(self.network.named_parameters()))
        assert self.task.recipe.model is not None
        self._regularizer = Regularizer(self.network, self.task.recipe.model)
        self.weights.begin_mean()

    def update(
        self, rows: NDArray[np.int64], pixels: Tensor, rate: float, *, draws: torch.Generator, first: bool
    ) -> tuple[float, int]:
        """One update.

        Args:
            rows: the pictures, ``[n]``.
            pixels: theirs, uint8 ``[n, size, size, 3]``.
            rate: of learning.
            draws: what augmentation and dropout draw from. Dropout draws from torch's own generator, which is seeded
                from it.
            first: whether it is the first of its phase.

        Returns:
            The loss before it, and how many pictures were answered rightly.

        Raises:
            NotFiniteError: the loss is no number; no weight was changed.
        """
        _seed(self.task.device, int(torch.randint(2**62, (), generator=draws)))
        targets = self._targets(rows)
        if self._augmenter:
            planes, targets = self._augmenter(pixels, targets, draws)
        else:
            planes = pixels.permute(0, 3, 1, 2).float()
        with torch.autocast(self.task.device, self.dtype, enabled=self.dtype != torch.float32):
            logits = self._see(planes)
        loss = self._loss(logits.float(), targets)
        value = loss.item() + self._regularizer.penalty()
        if not math.isfinite(value):
            raise NotFiniteError
        self._descend(loss, rate)
        self.weights.average(first=first)
        return value, _right(logits.detach(), targets)

    def _descend(self, loss: Tensor, rate: float) -> None:
        self.network.zero_grad()
        torch.autograd.backward(loss)
        self._regularizer.add_gradients()
        clipping.clip(self.weights.learning.values(), self.fit.clip)
        self._optimizer.step(rate)
        self._regularizer.constrain()

    def validate(self) -> tuple[float, float]:
        """Loss and accuracy on the validation pictures, by the weights that would be kept."""
        rows = self.task.validation.rows
        targets = self._targets(rows)
        with self.weights.averaged():
            logits = self.logits(rows)
            penalty = self._regularizer.penalty()
        return float(self._plain_loss(logits, targets)) + penalty, _right(logits, targets) / len(rows)

    def logits(self, rows: NDArray[np.int64]) -> Tensor:
        """Float32 ``[n, classes]`` or ``[n, 1]``, whatever training computes in: what the model file will answer."""
        self.network.eval()
        batches = [rows[start : start + _ANSWER_BATCH] for start in range(0, len(rows), _ANSWER_BATCH)]
        found = [torch.zeros(0, len(self.task.classes), device=self.task.device)]
        with torch.inference_mode():
            found = [self.network(pixels) for pixels in self.task.pictures.batches(batches)] or found
            return torch.cat(found)

    def tensors(self) -> Tensors:
        """Everything that training changes, as it goes into a checkpoint. The weights are not copied."""
        return self.weights.tensors() | {f"optimizer/{name}": held for name, held in self._optimizer.state().items()}

    def restore(self, tensors: Tensors) -> None:
        """Goes on from what ``tensors`` gave, once the same phases were begun."""
        here = {name: value.to(self.task.device) for name, value in tensors.items()}
        self.weights.restore(here)
        self._optimizer.restore(under("optimizer", here))

    def _targets(self, rows: NDArray[np.int64]) -> Tensor:
        truth = self._truth[torch.from_numpy(rows)].to(self.task.device)
        return functional.one_hot(truth, len(self.task.classes)).float()


def precision(wanted: str, device: str, network: nn.Module) -> torch.dtype:
    """In which numbers training computes.

    ``auto`` is bfloat16 where the processor itself has it and it pays: measured on a CPU with AMX it is 1.4 to 1.8
    times as fast as float32 for convolutions, and 0.6 times for a small dense network, which converts more than it
    computes.
    """
    if wanted != "auto":
        return {"bf16": torch.bfloat16, "fp32": torch.float32}[wanted]
    if device == "cuda":
        pays = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        has = abilities.get("avx512_bf16") or abilities.get("amx_bf16")
        pays = bool(has) and any(isinstance(part, nn.Conv2d) for part in network.modules())
    return torch.bfloat16 if pays else torch.float32


def _right(logits: Tensor, targets: Tensor) -> int:
    return int((losses.probabilities(logits).argmax(1) == targets.argmax(1)).sum())


def _seed(device: str, value: int) -> None:
    """Seeds torch's own generator where the network is, and nowhere else."""
    if device == "cuda":
        torch.cuda.manual_seed(value)
    else:
        torch.default_generator.manual_seed(value)


def _truth_by_row(task: Task) -> Tensor:
    """The class of every row of the catalog that is learnt from or measured on."""
    parts = (task.training, task.validation)
    truth = torch.zeros(1 + int(max(part.rows.max(initial=0) for part in parts)), dtype=torch.int64)
    for part in parts:
        truth[torch.from_numpy(part.rows)] = torch.from_numpy(part.truth)
    return truth
