"""A network with everything that changes it: one update, one validation."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kilat.errors import RecipeError
from kilat.fit import clipping, losses, optimizer_groups
from kilat.fit.activation_cache import NotCachedError, SplitNetwork, compute_activations
from kilat.fit.augment.random import Draws
from kilat.fit.captured_step import CapturedStep, StepRecorder, foreign_part
from kilat.fit.distributed.group import ALONE, SingleProcess
from kilat.fit.inference import Inference
from kilat.fit.inputs import TrainingInputs
from kilat.fit.layer_watch import LayerWatch
from kilat.fit.loader import epoch_batches
from kilat.fit.microbatch import MicroBatch
from kilat.fit.mirror_test import PICTURES as MIRRORED
from kilat.fit.mirror_test import Mirrored, MirrorTest
from kilat.fit.precise_batch_norm import PICTURES, are_settled, estimate_statistics, training_batch_norms
from kilat.fit.precision import choose_precision
from kilat.fit.regularizers import Regularizer
from kilat.fit.scaler import Scaler
from kilat.fit.stages import find_staged, parameter_depths
from kilat.fit.train_state import LayerRow, Sample, TrainSpec
from kilat.fit.weight_averaging import Tensors, Weights, with_prefix
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.model.cpu.kernel_gradient import IndependentKernelGradients
from kilat.model.cuda_graph import Graph, graph_maker
from kilat.model.image_model import ImageModel
from kilat.recipe import Network
from kilat.recipe.fit import Phase
from kilat.runtime.progress import Advance

_UNREGULARIZED = Network(module="a backbone and its head")


class TrainStep:
    """A network with everything that changes it; ``start_phase`` comes before all else.

    ``trains_statistics`` is whether batch norms train: then what a picture gives depends on the others in its batch.

    Args:
        spec: the training.
        group: the processes that train together.
        make_graph: makes what updates are recorded in; None for what the device has.
    """

    def __init__(
        self, spec: TrainSpec, group: SingleProcess = ALONE, make_graph: Callable[[], Graph] | None = None
    ) -> None:
        self.spec, self.fit, self.group = spec, spec.recipe.fit, group
        self._recorder = StepRecorder(make_graph or graph_maker(spec.device))
        self.network = spec.network.to(spec.device)
        if spec.device == "cuda":  # on an NVIDIA GPU, convolutions are fastest with channels last
            self.network.to(memory_format=torch.channels_last)
        self.dtype = choose_precision(self.fit.precision, spec.device, self.network)
        in_bf16 = spec.device == "cpu" and self.dtype == torch.bfloat16
        self._convolutions = IndependentKernelGradients() if in_bf16 else contextlib.nullcontext()
        self.weights = Weights(self.network, self.fit.ema)
        self.inference = Inference(self.network, spec.pictures, len(spec.classes), spec.device, group)
        self.watch = LayerWatch(spec, self.inference) if self.fit.watch else None
        self.inputs = TrainingInputs(spec)
        self.micro_batch = MicroBatch()
        self.trains_statistics = False
        self._logits = self._logits_of_pixels = self._compiled(self.network.logits)
        self.choose_flips(None)
        counts = np.bincount(spec.train.truth, minlength=len(spec.classes)).tolist()
        class_weights = losses.class_weights(self.fit.class_weight, spec.classes, counts)
        self._loss = losses.Loss(self.fit.loss, len(spec.classes), class_weights)
        self._validation_loss = losses.Loss(self.fit.loss, len(spec.classes), None)
        self._batch_norms: list[Any] = []

    def start_phase(self, phase: Phase) -> None:
        """Set up what follows from a phase alone: what is trained, a fresh optimizer, fresh averages.

        Raises:
            RecipeError: stages are to be unfrozen, and there are none.
        """
        found = find_staged(self.network)
        if found is not None and (self.fit.unfreezes or self.fit.phases):
            found[1].unfreeze(phase.unfreeze)
        elif phase.unfreeze:
            raise RecipeError(
                _("fit: unfreeze {stages}: the network has no backbone to unfreeze.").format(stages=phase.unfreeze),
                hint=_("Leave unfreeze out."),
            )
        decay = self.fit.layer_decay
        factors = {name: decay**depth for name, depth in parameter_depths(self.network).items()} if decay != 1 else None
        # All parameters: Muon goes by where a kernel is in the network, and what has no gradient is left out.
        half = torch.bfloat16 if self.dtype == torch.bfloat16 else torch.float32  # whose range fp16 does not have
        self._optimizer = optimizer_groups.create(self.fit, dict(self.network.named_parameters()), factors, half)
        self._scaler = Scaler(self.spec.device, self.dtype)
        self._regularizer = Regularizer(self.network, self.spec.recipe.model or _UNREGULARIZED)
        self._batch_norms = [
            module for module in self.network.modules() if getattr(module, "running_mean", None) is not None
        ]
        self.weights.start_phase()
        if self.watch:
            self.watch.start_phase()
        self._recorder.drop()

    def choose_flips(self, flips: bool | None) -> None:
        """Set whether pictures are mirrored, where the recipe leaves that open; None for not as long as it is unknown.

        ``augment`` then is what is done to pictures now, and ``has_open_flips`` whether it is unknown.
        """
        self.augment = self.spec.recipe.augment
        self.has_open_flips = self.augment.horizontal_flip == "auto" and flips is None
        if self.augment.horizontal_flip == "auto":
            self.augment = self.augment.model_copy(update={"horizontal_flip": bool(flips)})
        if self.spec.recipe.model is not None:
            average = self.spec.recipe.model.flip_average
            self.network.flip_average = bool(self.augment.horizontal_flip if average == "auto" else average)
        self.inputs.augment(self.augment)
        self._recorder.drop()

    def cache_activations(
        self, advance: Advance, seconds: float | None = None, now: Callable[[], float] = time.perf_counter
    ) -> Note | None:
        """Compute the activations of frozen stages once, where they are the same in every epoch of the phase.

        Args:
            advance: called with how many pictures of how many are done.
            seconds: that this may take, or None.
            now: the clock.

        Returns:
            Why they are computed in every epoch, where they could have been cached.
        """
        self.drop_cache()
        changes = self.spec.recipe.augment.is_active or bool(self.fit.resolution)
        if changes or not isinstance(self.network, SplitNetwork) or not self.network.is_split:
            return None
        self.network.eval()
        try:
            self.inference.cache = compute_activations(self.spec, self.network, self.group, advance, seconds, now)
        except NotCachedError as reason:
            return reason.note
        self._logits = self._compiled(self.network.logits_upper)
        self._recorder.drop()
        return None

    def drop_cache(self) -> None:
        """Go back to training on pixels."""
        self.inference.cache, self._logits = None, self._logits_of_pixels
        self._recorder.drop()

    @property
    def cached_seconds(self) -> float:
        """How many seconds a picture of the validation is quicker than another, since its activations are cached."""
        return self.inference.cache.seconds_per_picture if self.inference.cache else 0.0

    def _compiled(self, logits: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return torch.compile(logits) if self.fit.compile else logits

    def batches(self, order: Sequence[NDArray[np.int64]]) -> Generator[Tensor, None, None]:
        """Return what ``update`` gets of training pictures: their pixels, or their activations."""
        if self.inference.cache:
            return self.inference.cache.train.batches(order)
        return self.group.batches(self.spec.pictures, order)

    def update(
        self,
        rows: NDArray[np.int64],
        batch: Tensor,
        rate: float,
        *,
        generator: torch.Generator,
        first: bool,
        sample: Sample | None = None,
    ) -> Tensor:
        """Make one update.

        Args:
            rows: the pictures, ``[n]``.
            batch: theirs, from ``batches``.
            rate: the learning rate.
            generator: what augmentation and dropout draw from; torch's own generator, of dropout, is seeded from it.
            first: whether it is the first of its phase.
            sample: gets what is to be seen of the layers; None where they are not looked at. An update that is looked
                at is made as it is, though others be repeated as a graph.

        Returns:
            The loss before it, the penalty, and how many pictures were classified correctly: float ``[3]``. A GPU may
            not have computed them yet. Where the loss is not finite, the weights are not, either.
        """
        seed = int(torch.randint(2**62, (), generator=generator)) + self.group.rank
        self.trains_statistics = any(norm.training for norm in self._batch_norms)
        captured = None if first or sample is not None else self._captured_step(batch)
        if captured is None:
            return self._plain_update(rows, batch, rate, generator, seed, first=first, sample=sample)
        if captured.is_recorded:
            return self._captured_update(captured, rows, batch, self._optimizer.prepare(rate), generator, seed)
        state, statistics, numbers = generator.get_state(), self._statistics(), self._optimizer.prepare(rate)
        before = [buffer.clone() for buffer in statistics]
        try:
            return self._captured_update(captured, rows, batch, numbers, generator, seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, the update can be made without a graph
            self._recorder.object(str(error))
        generator.set_state(state)
        torch._foreach_copy_(statistics, before)
        return self._plain_update(rows, batch, rate, generator, seed, numbers=numbers)

    def _plain_update(
        self,
        rows: NDArray[np.int64],
        batch: Tensor,
        rate: float,
        generator: torch.Generator,
        seed: int,
        *,
        first: bool = False,
        sample: Sample | None = None,
        numbers: Sequence[float] | None = None,
    ) -> Tensor:
        """Make one update as it is, in parts where memory requires it; ``numbers`` are the optimizer's, if known."""
        inputs, targets = self.inputs(batch, generator, *self.inputs.labels(rows))
        share = self.group.share(len(rows))
        inputs, targets = self.inputs.resized(inputs[share.rows]), targets[share.rows]
        results = self._backward(inputs, targets, share.weight, seed)
        penalty = self._regularizer.penalty().to(results)
        self.group.all_reduce([value.grad for value in self.weights.trainable.values() if value.grad is not None])
        self._scaler.unscale(self._optimizer)
        if self.watch and sample is not None:
            self.watch.begin_update()
        self._complete_gradients()
        if numbers is None:
            self._scaler.step(self._optimizer, rate)
        else:
            self._optimizer.apply(numbers)
        self._regularizer.constrain()
        if self.watch and sample is not None:
            sample += self.watch.end_update()
        self.weights.update_ema(first=first)
        return torch.stack([results[0], penalty, results[1]])

    def _captured_step(self, batch: Tensor) -> CapturedStep | None:
        """Return what makes an update as one of many that are alike; None where that cannot be, or they are few."""
        if len(batch) != min(self.fit.batch, len(self.spec.train.rows)) or self.micro_batch.size:
            return None
        step = self._step_of_batch if self.inputs.are_repeatable else self._step_of_inputs
        return self._recorder.step((batch.shape, self.inputs.side), step, self._objection)

    def _objection(self) -> str:
        """Return why updates cannot be recorded as a graph; nothing where they can."""
        if self.group.size > 1:
            return "several processes train together"
        if self.dtype == torch.float16:
            return "in float16, updates are left out where gradients overflow"
        if self.fit.compile:
            return "the network is compiled"
        part = foreign_part(self.network)
        return f"{part} may compute something else each time" if part else ""

    def _captured_update(
        self,
        captured: CapturedStep,
        rows: NDArray[np.int64],
        batch: Tensor,
        numbers: Sequence[float],
        generator: torch.Generator,
        seed: int,
    ) -> Tensor:
        """Make one update by a graph, with the optimizer's numbers; it has the shape of those before."""
        resident, travelling = [batch], [torch.tensor(numbers), *self.inputs.labels(rows)]
        if not self.inputs.are_repeatable:
            resident, travelling = [*self.inputs(batch, generator, *travelling[1:])], travelling[:1]
        _seed(self.spec.device, seed)
        return captured(resident, travelling, generator)

    def _step_of_batch(self, resident: Sequence[Tensor], travelling: Sequence[Tensor], draws: Draws) -> Tensor:
        """Make an update from a batch, the optimizer's numbers, classes, and which pictures are mirrored."""
        (batch,), (numbers, *labels) = resident, travelling
        return self._step_of_inputs(self.inputs(batch, draws, *labels), [numbers], draws)

    def _step_of_inputs(self, resident: Sequence[Tensor], travelling: Sequence[Tensor], _draws: Draws) -> Tensor:
        """Make an update from augmented pictures, their targets and the optimizer's numbers."""
        (inputs, targets), (numbers,) = resident, travelling
        self.network.zero_grad()
        loss, correct = self._backward_part(self.inputs.resized(inputs), targets, 1.0)
        penalty = self._regularizer.penalty()
        self._complete_gradients()
        self._optimizer.apply(numbers.unbind())
        self._regularizer.constrain()
        self.weights.update_ema(first=False)
        return torch.stack([loss, penalty, correct])

    def _complete_gradients(self) -> None:
        """Add the penalty's to the gradients, and clip them."""
        self._regularizer.add_gradients()
        clipping.clip(self.weights.trainable.values(), self.fit.clip)

    def _statistics(self) -> list[Tensor]:
        """Return the running statistics that training changes."""
        if not self.trains_statistics:
            return []
        return [buffer for norm in self._batch_norms for buffer in (norm.running_mean, norm.running_var)]

    def _backward(self, inputs: Tensor, targets: Tensor, weight: float, seed: int) -> Tensor:
        """Compute this process's gradients; return loss and number of correct pictures of all processes, ``[2]``."""
        statistics = self._statistics()
        before = [buffer.clone() for buffer in statistics]

        def compute(at_once: int) -> Tensor:
            if before:  # what an attempt without enough memory has changed
                torch._foreach_copy_(statistics, before)
            _seed(self.spec.device, seed)
            self.network.zero_grad()
            with self.group.sync_batch_norms(weight) if self.trains_statistics else contextlib.nullcontext():
                parts = zip(torch.split(inputs, at_once), torch.split(targets, at_once), strict=True)
                results = [self._backward_part(*part, weight * (len(part[0]) / len(inputs))) for part in parts]
            return sum(results[1:], results[0])

        # Batch norms of several processes wait for each other: none of them can start again alone.
        is_divisible = not (self.trains_statistics and self.group.size > 1)
        results = self.micro_batch.compute(compute, len(inputs), divisible=is_divisible)
        self.micro_batch.size = self.group.min_nonzero(self.micro_batch.size)
        return self.group.sum(results)

    def _backward_part(self, inputs: Tensor, targets: Tensor, weight: float) -> Tensor:
        """Add some pictures to the gradients by their weight; return their part of the loss, and the correct ones."""
        # Without the cache of autocast, which a graph must not share with what is not in it.
        is_mixed = self.dtype != torch.float32
        with torch.autocast(self.spec.device, self.dtype, enabled=is_mixed, cache_enabled=False), self._convolutions:
            logits = self._logits(inputs)
        loss = self._loss(logits.float(), targets) * weight
        torch.autograd.backward(self._scaler.scale(loss))
        correct = _are_correct(logits.detach(), targets).sum() * bool(weight)
        return torch.stack([loss.detach(), correct.float()])

    def statistics_pictures(self, updates: int) -> int:
        """Return on how many pictures running statistics are estimated after so many updates; 0 where they stay."""
        choice, norms = self.fit.precise_batch_norm, training_batch_norms(self.network)
        averages = self.fit.ema is not None  # whose statistics the updates have not followed
        if not norms or not choice or (choice == "auto" and not averages and are_settled(norms, updates)):
            return 0
        return min(PICTURES, len(self.spec.train.rows))

    def estimate_statistics(self, updates: int = 0) -> int:
        """Estimate batch norms' running statistics anew, if the recipe says so; return on how many pictures.

        Args:
            updates: how many they have followed the weights that the network now has; 0 for averaged weights.
        """
        if not (count := self.statistics_pictures(updates)):
            return 0
        # The same pictures every time, of all classes in every batch.
        seed, size = self.spec.recipe.runtime.seed, self.inference.batch
        order = epoch_batches(self.spec.train.rows, size, seed=seed, epoch=0)[: -(-count // size)]
        own, cache = order[self.group.rank :: self.group.size], self.inference.cache
        batches = cache.train.batches(own) if cache else self.spec.pictures.batches(own)
        forward = cache.network.logits_upper if cache else self._logits_of_plain_pixels
        estimate_statistics(training_batch_norms(self.network), forward, batches, self.group)
        return count

    def _logits_of_plain_pixels(self, pixels: Tensor) -> Tensor:
        return self.network.logits(pixels.permute(0, 3, 1, 2).float())

    def test_mirroring(self) -> MirrorTest:
        """Classify some validation pictures as they are and mirrored, with the weights that would be kept."""
        spec = self.spec
        rows = epoch_batches(spec.validation.rows, MIRRORED, seed=spec.recipe.runtime.seed, epoch=0)[0]
        targets = self.inputs.targets(rows)
        mirrored = Inference(self.network, Mirrored(spec.pictures), len(spec.classes), spec.device, self.group)
        with self.weights.with_ema(), _without_flip_average(self.network):
            plain, flipped = (
                _are_correct(each.outputs(rows), targets).cpu().numpy() for each in (self.inference, mirrored)
            )
        return MirrorTest.of(plain, flipped, targets.argmax(1).cpu().numpy())

    def validate(self) -> tuple[float, float]:
        """Return loss and accuracy on the validation pictures, with the weights that would be kept."""
        rows = self.spec.validation.rows
        targets = self.inputs.targets(rows)
        with self.weights.with_ema():
            logits = self.inference.outputs(rows)
            penalty = float(self._regularizer.penalty())
        return float(self._validation_loss(logits, targets)) + penalty, _count_correct(logits, targets) / len(rows)

    def watched_layers(self, epoch: int, samples: Sequence[Sample]) -> list[LayerRow]:
        """Return a row for each layer after an epoch, with the weights that would be kept; none if none are watched.

        Args:
            epoch: its number, from 1.
            samples: what was looked at in it.
        """
        if self.watch is None:
            return []
        with self.weights.with_ema():
            return self.watch.finish_epoch(epoch, samples)

    def tensors(self) -> Tensors:
        """Return everything that training changes, as it is saved in a checkpoint. The weights are not copied."""
        parts = {"optimizer": self._optimizer.state(), "scaler": self._scaler.state()}
        return self.weights.tensors() | {f"{part}/{key}": value for part in parts for key, value in parts[part].items()}

    def restore(self, tensors: Tensors) -> None:
        """Resume from what ``tensors`` gave, once the same phases were started."""
        here = {name: value.to(self.spec.device) for name, value in tensors.items()}
        self.weights.restore(here)
        self._optimizer.restore(with_prefix("optimizer", here))
        self._scaler.restore(with_prefix("scaler", here))
        self._recorder.drop()


@contextlib.contextmanager
def _without_flip_average(network: ImageModel) -> Iterator[None]:
    """Let a network answer to pictures one way round inside the block."""
    average, network.flip_average = network.flip_average, False
    try:
        yield
    finally:
        network.flip_average = average


def _count_correct(logits: Tensor, targets: Tensor) -> int:
    return int(_are_correct(logits, targets).sum())


def _are_correct(logits: Tensor, targets: Tensor) -> Tensor:
    return losses.probabilities(logits).argmax(1) == targets.argmax(1)


def _seed(device: str, value: int) -> None:
    """Seed torch's own generator where the network is, and no other."""
    if device == "cuda":
        torch.cuda.manual_seed(value)
    elif device == "mps":
        torch.mps.manual_seed(value)
    elif device == "xla":
        import torch_xla  # type: ignore[import-not-found,unused-ignore]

        torch_xla.manual_seed(value)
    else:
        torch.default_generator.manual_seed(value)
