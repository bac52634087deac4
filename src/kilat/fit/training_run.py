"""One training as the pipeline asks for it: network built, pixels normalised, trained, ready to be written."""

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kilat.data.catalog import Source
from kilat.features.pixels import MAX_OOD_REFERENCE, PixelDataset
from kilat.fit.augment.preview import sheet
from kilat.fit.checkpoint import Checkpoints
from kilat.fit.distributed import group as parallel
from kilat.fit.loader import InMemory, Normaliser, Pictures, Streaming, fit_normaliser
from kilat.fit.loop import Trainer
from kilat.fit.lr_finder import Finding, find_rate
from kilat.fit.train_state import Row, TrainSpec
from kilat.fit.train_step import PRECISIONS
from kilat.locale import _
from kilat.model.cpu.fold_batch_norm import fuse
from kilat.model.cpu.malloc import keep_freed_memory
from kilat.model.drop_path import set_drop_path, without_blocks
from kilat.model.image_model import PixelNetwork
from kilat.model.layers import LayerNetwork, build
from kilat.model.modules import BatchNorm
from kilat.model.summary import Counts, count, summarise
from kilat.model.to_onnx import to_onnx
from kilat.probe import Head
from kilat.recipe import Recipe
from kilat.recipe.network_summary import Summary
from kilat.runtime.progress import Advance, ignore

if TYPE_CHECKING:
    from kilat.model.feature_extractor import FeatureExtractor

_LEFT = 0.05
_PIXELS_AT_ONCE = 64


@dataclass(frozen=True)
class Trained:
    """A network with the weights that are kept.

    Args:
        training: which answers for it.
        facts: for ``metrics.json``.
        notes: sentences worth saying.
    """

    training: Trainer
    facts: dict[str, Any]
    notes: list[str]

    @property
    def history(self) -> list[Row]:
        """A row for every epoch."""
        return self.training.place.history

    def answer(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of some pictures, float32 ``[n, classes]``."""
        return self.training.answer(rows)

    def pixels(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Some pictures as the network sees them, batch by batch, uint8 ``[n, size, size, 3]``."""
        parts = np.array_split(rows, max(1, -(-len(rows) // _PIXELS_AT_ONCE)))
        for batch in self.training.task.pictures.batches(parts):
            yield batch.cpu().numpy()

    def close(self) -> None:
        """Lets the processes go that trained with this one; from then on it answers alone."""
        self.training.close()

    def graph(self) -> bytes:
        """The network as ONNX, from ``pixels`` to ``logits``."""
        network = self.training.network.cpu()
        graph = to_onnx(network, size=network.size)
        network.to(self.training.task.device)
        return graph


@dataclass(frozen=True)
class Job:
    """A training that can begin.

    Args:
        task: what is to be learnt.
        counts: how large the network is.
        notes: sentences about it.
        summary: its layers, where the recipe has any.
    """

    task: TrainSpec
    counts: Counts
    notes: list[str]
    summary: Summary | None = None

    def train(
        self,
        folder: Path,
        *,
        deadline: float | None = None,
        on_epoch: Callable[[Row], None] = lambda row: None,
        advance: Advance = ignore,
    ) -> Trained:
        """Trains to the end, from the newest checkpoint where there is one.

        Args:
            folder: of the checkpoints.
            deadline: the ``time.perf_counter`` at which everything must be over.
            on_epoch: called with the row of every epoch.
            advance: told how far it is.
        """
        group = parallel.gather(self.task, is_timed=deadline is not None)
        training = Trainer(self.task, Checkpoints(folder), deadline, on_epoch, advance, group)
        with keep_freed_memory() if self.task.device == "cpu" else contextlib.nullcontext():
            training.run()
        facts = _facts(training) | self.counts._asdict()
        unsettled = _unsettled(self.task.network, training.place.global_step)
        return Trained(training, facts, [*self.notes, *training.place.notes, *_divided(training), *unsettled])

    def find_rate(self, steps: int, folder: Path, advance: Advance) -> Finding:
        """A learning-rate range test; the network is spoilt by it."""
        return find_rate(Trainer(self.task, Checkpoints(folder)), steps, advance)

    def preview(self, rows: NDArray[np.int64]) -> bytes | None:
        """What augmentation makes of some pictures, as PNG; None where there is no augmentation."""
        recipe = self.task.recipe
        if not recipe.augment.is_active:
            return None
        (pixels,) = self.task.pictures.batches([rows])
        file = io.BytesIO()
        sheet(pixels.cpu().numpy(), recipe.augment, seed=recipe.runtime.seed).save(file, "PNG")
        return file.getvalue()


def begin(
    source: Source, seen: PixelDataset, recipe: Recipe, *, device: str, name: str, network: nn.Module | None = None
) -> Job:
    """Builds the network of a recipe and fits the normalisation of its pixels on the training pictures.

    Args:
        source: where the pictures are.
        seen: the pictures, and who is asked what.
        recipe: with a section ``model``.
        device: ``cpu`` or ``cuda``.
        name: of the network.
        network: takes the place of the recipe's layers: normalised planes ``[n, channels, size, size]`` to logits.

    Raises:
        KilatError: the network cannot be built.
    """
    layers = network if network is not None else layered(recipe, seen.size, len(seen.classes))
    pictures: Pictures = Streaming(source, seen.size, recipe.input.resize, device)
    if seen.pixels is not None:
        pictures = InMemory(seen.pixels, device)
    normaliser = _normaliser(recipe, layers, pictures, seen.train.rows)
    sighted = PixelNetwork(layers, seen.size, normaliser.mean, normaliser.std, recipe.input.colour)
    summary = summarise(layers, name=name, channels=channels(recipe), size=seen.size)
    task = TrainSpec(
        sighted, pictures, seen.train, seen.validation, seen.classes, recipe, device, _asked_later(seen)
    )
    counts = Counts(summary.total, summary.trainable, summary.macs)
    return Job(task, counts, list(cast(list[str], getattr(layers, "notes", []))), summary)


def open_backbone(source: Source, seen: PixelDataset, recipe: Recipe, head: Head, *, device: str) -> Job:
    """A frozen backbone with its fitted head as a network that can be trained further.

    Args:
        source: where the pictures are.
        seen: the pictures, and who is asked what.
        recipe: which backbone, and what of it is opened.
        head: fitted on what the backbone saw of pictures other than those of the validation.
        device: ``cpu`` or ``cuda``.

    Raises:
        KilatError: the backbone cannot be had.
    """
    from kilat.model import finetuned  # brings timm, which takes seconds

    wanted, fit = recipe.features, recipe.fit
    eyes = [_eye(name, seen.size, recipe, device) for name in wanted.backbones]
    network = finetuned.FineTuned(
        eyes, head, flip_average=wanted.flip_average, train_batch_norms=fit.batch_norm == "train"
    )
    pictures: Pictures = Streaming(source, seen.size, wanted.resize, device)
    if seen.pixels is not None:
        pictures = InMemory(seen.pixels, device)
    network.unfreeze(max((phase.unfreeze for phase in fit.all_phases), key=_count))
    task = TrainSpec(
        network, pictures, seen.train, seen.validation, seen.classes, recipe, device, _asked_later(seen)
    )
    return Job(task, count(network, network.logits, seen.size), [])


def _asked_later(seen: PixelDataset) -> int:
    """How many pictures are looked at after training: all that are held out, most of them twice, and some others."""
    twice = len(seen.test.rows) + len(seen.calibration.rows)
    return len(seen.validation.rows) + 2 * twice + min(len(seen.train.rows), MAX_OOD_REFERENCE)


def _eye(name: str, size: int, recipe: Recipe, device: str) -> "FeatureExtractor":
    """A backbone as it trains best: with stochastic depth where that is asked for, and fast on a CPU."""
    from kilat.model import feature_extractor

    eye = feature_extractor.create(name, size, recipe.features.weights)
    if recipe.fit.drop_path and not set_drop_path(eye.network, recipe.fit.drop_path):
        raise without_blocks(name)
    if device == "cpu":
        fuse(eye.network, torch.zeros(1, 3, size, size))
    return eye


def _count(stages: int | Literal["all"]) -> float:
    return math.inf if stages == "all" else stages


def layered(recipe: Recipe, size: int, classes: int) -> LayerNetwork:
    """The network of a recipe, with its first weights."""
    assert recipe.model is not None
    network = build(recipe.model, channels=channels(recipe), size=size, classes=classes, seed=recipe.runtime.seed)
    if network.backbone is not None:
        is_random = recipe.model.weights == "none"
        network.backbone.train_batch_norms = {"auto": is_random, "train": True, "frozen": False}[recipe.fit.batch_norm]
        network.backbone.train()
    return network


def channels(recipe: Recipe) -> int:
    """How many channels a network's input has."""
    return 1 if recipe.input.colour == "grey" else 3


def _normaliser(recipe: Recipe, network: nn.Module, pictures: Pictures, rows: NDArray[np.int64]) -> Normaliser:
    backbone = network.backbone if isinstance(network, LayerNetwork) else None
    kind = recipe.input.normalise
    if kind == "backbone" or (kind == "auto" and backbone is not None):
        assert backbone is not None, "the recipe was checked"
        from kilat.model import timm_networks

        return Normaliser(*timm_networks.normalisation(backbone.network))
    return fit_normaliser("channel_zscore" if kind == "auto" else kind, pictures, rows, colour=recipe.input.colour)


def _unsettled(network: nn.Module, updates: int) -> list[str]:
    """A sentence where batch norm's running statistics still hold much of what they began with."""
    momenta = [part.momentum for part in network.modules() if isinstance(part, BatchNorm) and part.trainable]
    left = max(momenta, default=0.0) ** updates
    if left < _LEFT:
        return []
    sentence = _(
        "Batch norm had only {updates} updates to learn its running statistics, which are {share:.0%} what they began "
        "with: answers may be far worse than training was. Train for more epochs, take smaller batches, or give "
        "batch_norm a momentum of 0.9."
    )
    return [sentence.format(updates=updates, share=left)]


def _divided(training: Trainer) -> list[str]:
    """A sentence where memory did not suffice for a whole batch."""
    part, batch = training.place.micro_batch, _share(training)
    if not part:
        return []
    text = _(
        "Memory did not suffice for batches of {batch}: they are computed in {parts} parts of {part}, which gives the "
        "same updates."
    )
    if training.learner.learns_statistics:
        text = _(
            "Memory did not suffice for batches of {batch}: they are computed in {parts} parts of {part}, which gives "
            "the same updates but for batch norms, which see each part by itself."
        )
    return [text.format(batch=batch, parts=-(-batch // part), part=part)]


def _share(training: Trainer) -> int:
    """How many pictures of a batch one process learns from."""
    return -(-training.fit.batch // training.task.recipe.runtime.devices)


def _facts(training: Trainer) -> dict[str, Any]:
    place, fit = training.place, training.fit
    return {
        "epochs": len(place.history),
        "best_epoch": place.best + 1,
        "stop_reason": place.stop_reason,
        "optimizer": fit.optimizer.name,
        "schedule": fit.schedule.name,
        "batch": fit.batch,
        "micro_batch": place.micro_batch or _share(training),
        "precision": next(name for name, dtype in PRECISIONS.items() if dtype == training.dtype),
        "device": training.task.device,
        "devices": training.task.recipe.runtime.devices,
        "rollbacks": place.rollbacks,
        "averaged": training.weights.averaged_epochs,
    }
