"""A network that learns: one update, one look at validation, one answer."""

import contextlib
import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from kilat.errors import RecipeError
from kilat.fit import clipping, losses, optimizers, resolutions
from kilat.fit.activation_cache import GivenUpError, Prepared, SplitNetwork, prepare
from kilat.fit.augment.augmenter import Augmenter
from kilat.fit.distributed.group import ALONE, SingleProcess
from kilat.fit.microbatch import Portions
from kilat.fit.regularizers import Regularizer
from kilat.fit.scaler import Scaler
from kilat.fit.stages import depths, staged
from kilat.fit.train_state import TrainSpec
from kilat.fit.weight_averaging import Tensors, Weights, under
from kilat.locale import _
from kilat.model.image_model import ImageModel
from kilat.recipe import Network
from kilat.recipe.fit import Phase
from kilat.runtime.progress import Advance

_ANSWER_BATCH = 256
_ANSWER_PIXELS = 256 * 96 * 96
"""Larger pictures are answered fewer at a time, so that answering needs no more memory than training."""
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_UNPENALISED = Network(module="a backbone and its head")

Arriving = Callable[[Sequence[NDArray[np.int64]]], Generator[Tensor, None, None]]


class NotFiniteError(Exception):
    """A loss is no number."""


class TrainStep:
    """A network with everything that changes it; ``begin`` comes before all else.

    ``side`` is that of the pictures from which it learns, in pixels; it answers at the network's own.
    ``learns_statistics`` is whether batch norms learn: then what a picture comes to depends on those beside it.

    Args:
        task: what is to be learnt.
        group: who learns it together.
    """

    def __init__(self, task: TrainSpec, group: SingleProcess = ALONE) -> None:
        self.task, self.fit, self.group = task, task.recipe.fit, group
        self.network = _brought(task.network, task.device)
        self.dtype = precision(self.fit.precision, task.device, self.network)
        self.weights = Weights(self.network, self.fit.ema)
        self.side = self.network.size
        self._see = self._see_planes = self._compiled(self.network.logits)
        self._prepared: Prepared | None = None
        self._augmenter = Augmenter(task.recipe.augment) if task.recipe.augment.is_active else None
        counts = np.bincount(task.training.truth, minlength=len(task.classes)).tolist()
        weights = losses.class_weights(self.fit.class_weight, task.classes, counts)
        self._loss = losses.Loss(self.fit.loss, len(task.classes), weights)
        self._plain_loss = losses.Loss(self.fit.loss, len(task.classes), None)  # validation weighs all pictures alike
        self._truth = _truth_by_row(task)
        self._parts, self._answer_parts = Portions(), Portions()
        self._norms: list[Any] = []
        self.learns_statistics = False

    def begin(self, phase: Phase) -> None:
        """What follows from a phase alone: which weights learn, a fresh optimizer, a fresh mean."""
        self._open(phase)
        self.weights.choose()
        decay = self.fit.layer_decay
        factors = {name: decay**depth for name, depth in depths(self.network).items()} if decay != 1 else None
        # All of them: Muon looks at where a kernel stands, and what has no gradient is passed over.
        self._optimizer = optimizers.create(self.fit.optimizer, dict(self.network.named_parameters()), factors)
        self._scaler = Scaler(self.task.device, self.dtype)
        self._regularizer = Regularizer(self.network, self.task.recipe.model or _UNPENALISED)
        self._norms = [part for part in self.network.modules() if getattr(part, "running_mean", None) is not None]
        self.weights.begin_mean()

    def _open(self, phase: Phase) -> None:
        found = staged(self.network)
        if found is not None and (self.fit.unfreezes or self.fit.phases):
            found[1].unfreeze(phase.unfreeze)
        elif phase.unfreeze:
            raise RecipeError(
                _("fit: unfreeze {stages}: the network has no backbone to unfreeze.").format(stages=phase.unfreeze),
                hint=_("Leave unfreeze out."),
            )

    def prepare(self, advance: Advance, seconds: float | None = None) -> str:
        """Has what is the same in every epoch of the phase computed once and held: what frozen stages give.

        Args:
            advance: told how many pictures of how many are done.
            seconds: that are left for this and for training, or None.

        Returns:
            Why it is not held, in a sentence for the user; nothing where it is, or where nothing stays the same.
        """
        self.forget()
        changes = self._augmenter is not None or bool(self.fit.resolution)
        if changes or not isinstance(self.network, SplitNetwork) or not self.network.is_split:
            return ""
        self.network.eval()
        try:
            self._prepared = prepare(self.task, self.network, self.group, advance, seconds)
        except GivenUpError as reason:
            return str(reason)
        self._see = self._compiled(self.network.logits_upper)
        return ""

    def forget(self) -> None:
        """Goes back to the pixels of all pictures."""
        self._prepared, self._see = None, self._see_planes

    @property
    def spared(self) -> float:
        """How many seconds the answer to a picture of the validation takes less than that to any other."""
        return self._prepared.seconds_each if self._prepared else 0.0

    def _compiled(self, see: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return torch.compile(see) if self.fit.compile else see

    def batches(self, order: Sequence[NDArray[np.int64]]) -> Generator[Tensor, None, None]:
        """What ``update`` takes of pictures to learn from: their pixels, or what is held of them."""
        if self._prepared:
            return self._prepared.training.batches(order)
        return self.group.batches(self.task.pictures, order)

    def update(
        self, rows: NDArray[np.int64], pixels: Tensor, rate: float, *, draws: torch.Generator, first: bool
    ) -> tuple[float, int]:
        """One update.

        Args:
            rows: the pictures, ``[n]``.
            pixels: theirs, as ``batches`` gives them.
            rate: of learning.
            draws: what augmentation and dropout draw from. Dropout draws from torch's own generator, which is seeded
                from it.
            first: whether it is the first of its phase.

        Returns:
            The loss before it, and how many pictures were answered rightly.

        Raises:
            NotFiniteError: the loss is no number; no weight was changed.
        """
        seed = int(torch.randint(2**62, (), generator=draws)) + self.group.rank
        targets = self._targets(rows)
        # What is drawn is drawn for the whole batch, however it is then divided: so it does not change with that.
        if self._augmenter:
            seen, targets = self._augmenter(pixels, targets, draws)
        else:
            seen = pixels if self._prepared else pixels.permute(0, 3, 1, 2).float()
        share = self.group.share(len(rows))
        seen, targets = seen[share.where], targets[share.where]
        if not self._prepared:
            seen = resolutions.resized(seen, self.side)
        loss, right = self._gradients(seen, targets, share.weight, seed)
        value = loss + self._regularizer.penalty()
        if not math.isfinite(value):
            raise NotFiniteError
        self._descend(rate)
        self.weights.take_into_mean(first=first)
        return value, right

    def _gradients(self, planes: Tensor, targets: Tensor, weight: float, seed: int) -> tuple[float, int]:
        """The loss and how many were right, of everybody's share; leaves this process's gradients of the loss."""
        learns = self.learns_statistics = any(norm.training for norm in self._norms)
        statistics = [buffer for norm in self._norms for buffer in (norm.running_mean, norm.running_var)]
        before = [buffer.clone() for buffer in statistics] if learns else []

        def compute(at_once: int) -> tuple[float, int]:
            if before:  # what an attempt without enough memory has changed
                torch._foreach_copy_(statistics, before)
            _seed(self.task.device, seed)
            self.network.zero_grad()
            with self.group.norms_together(weight) if learns else contextlib.nullcontext():
                parts = zip(torch.split(planes, at_once), torch.split(targets, at_once), strict=True)
                found = [self._part(some, truth, weight * (len(some) / len(planes))) for some, truth in parts]
            return sum(loss for loss, _right in found), sum(right for _loss, right in found)

        # Batch norms of several processes wait for each other: none of them can begin again alone.
        found = self._parts.compute(compute, len(planes), divisible=not (learns and self.group.size > 1))
        self._parts.most = self.group.smallest(self._parts.most)
        loss, right = self.group.total(*found)
        return loss, int(right)

    def _part(self, planes: Tensor, targets: Tensor, weight: float) -> tuple[float, int]:
        """Adds some pictures to the gradients by their weight; gives their part of the loss and how many were right."""
        with torch.autocast(self.task.device, self.dtype, enabled=self.dtype != torch.float32):
            logits = self._see(planes)
        loss = self._loss(logits.float(), targets) * weight
        torch.autograd.backward(self._scaler.scale(loss))
        return loss.item(), _right(logits.detach(), targets) if weight else 0

    @property
    def portions(self) -> tuple[int, int]:
        """How many pictures are learnt from and answered at once; 0 where all of a batch are."""
        return self._parts.most, self._answer_parts.most

    @portions.setter
    def portions(self, most: tuple[int, int]) -> None:
        self._parts.most, self._answer_parts.most = most

    def _descend(self, rate: float) -> None:
        """A step down the gradients."""
        self.group.add_up([value.grad for value in self.weights.learning.values() if value.grad is not None])
        self._scaler.unscale(self._optimizer)
        self._regularizer.add_gradients()
        clipping.clip(self.weights.learning.values(), self.fit.clip)
        self._scaler.step(self._optimizer, rate)
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
        own = rows[self.group.share(len(rows)).where]
        count = max(1, min(_ANSWER_BATCH, _ANSWER_PIXELS // self.network.size**2))
        batches = [own[start : start + count] for start in range(0, len(own), count)]
        arriving, answer = self._way_to_answer(rows)
        found = [torch.zeros(0, len(self.task.classes), device=self.task.device)]
        with torch.inference_mode():
            found = [self._answers(answer, pixels) for pixels in arriving(batches)] or found
            return self.group.joined(torch.cat(found), len(rows))

    def _way_to_answer(self, rows: NDArray[np.int64]) -> tuple[Arriving, Callable[[Tensor], Tensor]]:
        """How to get at pictures that are to be answered, and what answers what arrives."""
        held = self._prepared
        if held and held.validation.holds(rows):
            return held.validation.batches, held.network.forward_upper
        return self.task.pictures.batches, self.network

    def _answers(self, answer: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        def compute(at_once: int) -> Tensor:
            return torch.cat([answer(part) for part in torch.split(pixels, at_once)])

        return self._answer_parts.compute(compute, len(pixels))

    def tensors(self) -> Tensors:
        """Everything that training changes, as it goes into a checkpoint. The weights are not copied."""
        parts = {"optimizer": self._optimizer.state(), "scaler": self._scaler.state()}
        return self.weights.tensors() | {f"{part}/{key}": held for part in parts for key, held in parts[part].items()}

    def restore(self, tensors: Tensors) -> None:
        """Goes on from what ``tensors`` gave, once the same phases were begun."""
        here = {name: value.to(self.task.device) for name, value in tensors.items()}
        self.weights.restore(here)
        self._optimizer.restore(under("optimizer", here))
        self._scaler.restore(under("scaler", here))

    def _targets(self, rows: NDArray[np.int64]) -> Tensor:
        truth = self._truth[torch.from_numpy(rows)].to(self.task.device)
        return functional.one_hot(truth, len(self.task.classes)).float()


def precision(wanted: str, device: str, network: nn.Module) -> torch.dtype:
    """In which numbers training computes.

    ``auto`` is bfloat16 where the processor itself has it and it pays: measured on a CPU with AMX it is 1.4 to 1.8
    times as fast as float32 for convolutions, and 0.6 times for a small dense network, which converts more than it
    computes. A GPU without it computes in float16.

    Raises:
        RecipeError: float16 is wanted of a CPU.
    """
    if wanted == "fp16" and device == "cpu":
        raise RecipeError(
            _("fit.precision: fp16 is for GPUs; a CPU would be slower with it."),
            hint=_("Leave it at auto, or take bf16 or fp32."),
        )
    if wanted != "auto":
        return PRECISIONS[wanted]
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device != "cpu":
        return torch.float32
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
    elif device == "mps":
        torch.mps.manual_seed(value)
    elif device == "xla":
        _seed_xla(value)
    else:
        torch.default_generator.manual_seed(value)


def _seed_xla(value: int) -> None:
    import torch_xla  # type: ignore[import-not-found,unused-ignore]

    torch_xla.manual_seed(value)


def _brought(network: ImageModel, device: str) -> ImageModel:
    """A network where it learns; on an NVIDIA GPU kernels are laid out channels last, as convolutions are fastest."""
    network = network.to(device)
    return network.to(memory_format=torch.channels_last) if device == "cuda" else network


def _truth_by_row(task: TrainSpec) -> Tensor:
    """The class of every row of the catalog that is learnt from or measured on."""
    parts = (task.training, task.validation)
    truth = torch.zeros(1 + int(max(part.rows.max(initial=0) for part in parts)), dtype=torch.int64)
    for part in parts:
        truth[torch.from_numpy(part.rows)] = torch.from_numpy(part.truth)
    return truth
