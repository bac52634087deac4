"""One training as ``learn`` runs it: from a network and its pictures to a trained network with its history."""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilat.fit import epoch_line
from kilat.fit.augment.preview import preview_sheet
from kilat.fit.checkpoint import Checkpoints
from kilat.fit.distributed.launch import start_group
from kilat.fit.inference import Inference
from kilat.fit.loader import Rows, Streaming
from kilat.fit.loop import Trainer
from kilat.fit.lr_finder import RangeTest, find_learning_rate
from kilat.fit.precise_batch_norm import are_settled, old_share, training_batch_norms
from kilat.fit.precision import PRECISIONS
from kilat.fit.train_state import LayerRow, Row, TrainSpec
from kilat.locale.notes import Note
from kilat.model.cpu.malloc import keep_freed_memory
from kilat.model.summary import Counts
from kilat.model.to_onnx import to_onnx
from kilat.recipe import Augment
from kilat.recipe.network_summary import Summary
from kilat.recipe.schedule_notes import unreached
from kilat.runtime.deadline import Deadline
from kilat.runtime.progress import Advance, Stage, unseen

_TIMED = 16
_VALIDATIONS = 3
"""At least: before training, where it decides about mirroring, both ways, and after an epoch."""


@dataclass(frozen=True)
class Trained:
    """A trained network: it computes logits, and can be exported.

    It pickles, without the processes that it was trained with, where the classes of its network can be imported; the
    pictures go along: their pixels, or where they are decoded from.

    Args:
        inference: the network with the weights that are kept, and the pictures.
        history: a row for every epoch.
        metrics: the section ``fit`` of ``metrics.json``.
        notes: what changes how far the result can be believed.
        augment: what was done to pictures in the last epoch.
    """

    inference: Inference
    history: list[Row]
    metrics: dict[str, Any]
    notes: list[Note]
    augment: Augment

    def to_onnx(self) -> bytes:
        """Return the network as ONNX, from ``pixels`` to ``logits``."""
        network = self.inference.network.cpu()
        try:
            return to_onnx(network, size=network.size)
        finally:
            network.to(self.inference.device)

    def close(self) -> None:
        """Let the processes end that trained with this one; from then on it computes logits alone."""
        self.inference.close()


@dataclass(frozen=True)
class TrainingRun:
    """A training before its first update.

    Args:
        spec: the training.
        counts: how large the network is.
        notes: about the network.
        summary: its layers, where the recipe has any.
    """

    spec: TrainSpec
    counts: Counts
    notes: list[Note]
    summary: Summary | None = None

    def train(
        self,
        folder: Path,
        *,
        deadline: Deadline | None = None,
        cache_share: float = 1.0,
        on_epoch: Callable[[Row], None] = lambda row: None,
        on_layers: Callable[[Sequence[LayerRow]], None] = lambda rows: None,
        stage: Stage = unseen,
    ) -> Trained:
        """Train to the end, from the newest checkpoint if there is one.

        Args:
            folder: of the checkpoints.
            deadline: when everything must be over.
            cache_share: of the time until then, the most that caching the activations of frozen stages may take.
            on_epoch: called with the row of every epoch.
            on_layers: called before that, where layers are watched, with the rows of all layers so far.
            stage: that shows how far it is, and a line for every epoch.

        Raises:
            KilatError: training was stopped, or cannot go on.
        """
        group = start_group(self.spec, is_timed=deadline is not None)

        def report(row: Row) -> None:
            if row["epoch"] == 1:
                stage.say(epoch_line.heading())
            stage.say(epoch_line.line(row, trainer.epochs))
            if trainer.state.layers:
                on_layers(trainer.state.layers)
            on_epoch(row)

        trainer = Trainer(self.spec, Checkpoints(folder), deadline, report, stage.advance, group, cache_share)
        with keep_freed_memory() if self.spec.device == "cpu" else contextlib.nullcontext():
            trainer.run()
        notes = [*self.notes, *trainer.state.notes, *_micro_batch_notes(trainer)]
        notes += unreached(trainer.fit, trainer.per_epoch)
        notes += _statistics_notes(trainer)
        if watch := trainer.train_step.watch:
            notes += watch.notes(trainer.state.layers)
        if isinstance(self.spec.pictures, Streaming):
            notes += self.spec.pictures.notes
        metrics = training_metrics(trainer) | self.counts._asdict()
        return Trained(trainer.inference, trainer.state.history, metrics, notes, trainer.train_step.augment)

    def answering_seconds(self, now: Callable[[], float]) -> float:
        """Return how long the network takes for what it must answer however short the training is, by a few pictures.

        Args:
            now: the clock.
        """
        spec, rows = self.spec, self.spec.validation.rows[:_TIMED]
        inference = Inference(spec.network, spec.pictures, len(spec.classes), spec.device)
        inference.outputs(rows)  # the first time with preparations
        began = now()
        inference.outputs(rows)
        pictures = spec.later_pictures + _VALIDATIONS * len(spec.validation.rows)
        return (now() - began) / max(1, len(rows)) * pictures

    def find_learning_rate(self, steps: int, folder: Path, advance: Advance) -> RangeTest:
        """Make a learning-rate range test; the network is of no use after it."""
        return find_learning_rate(Trainer(self.spec, Checkpoints(folder)), steps, advance)

    def preview(self, rows: Rows, augment: Augment) -> bytes | None:
        """Return what augmentation makes of some pictures, as PNG; None where nothing is augmented."""
        if not augment.is_active:
            return None
        (pixels,) = self.spec.pictures.batches([rows])
        file = io.BytesIO()
        preview_sheet(pixels.cpu().numpy(), augment, seed=self.spec.recipe.runtime.seed).save(file, "PNG")
        return file.getvalue()


def training_metrics(trainer: Trainer) -> dict[str, Any]:
    """Return what ``metrics.json`` says of a finished training."""
    state, fit, spec = trainer.state, trainer.fit, trainer.spec
    watched = {"watched": watched_section(trainer)} if fit.watch else {}
    return {
        "epochs": len(state.history),
        "best_epoch": state.best_epoch + 1,
        "stop_reason": state.stop_reason,
        "optimizer": fit.optimizer.name,
        "schedule": fit.schedule.name,
        "batch": fit.batch,
        "micro_batch": state.micro_batch or _pictures_per_process(trainer),
        "precision": next(name for name, dtype in PRECISIONS.items() if dtype == trainer.train_step.dtype),
        "device": spec.device,
        "devices": spec.recipe.runtime.devices,
        "rollbacks": state.rollbacks,
        "averaged": trainer.weights.swa_epochs,
        "horizontal_flip": bool(trainer.train_step.augment.horizontal_flip),
        "precise_batch_norm": state.precise_batch_norm,
        **watched,
    }


def watched_section(trainer: Trainer) -> dict[str, Any]:
    """Return what ``metrics.json`` says of layers that were watched: how they were in the last epoch."""
    rows, watch = trainer.state.layers, trainer.train_step.watch
    last = [{key: row[key] for key in row if key != "epoch"} for row in rows if row["epoch"] == rows[-1]["epoch"]]
    return {"pictures": len(watch.rows) if watch else 0, "layers": last}


def _pictures_per_process(trainer: Trainer) -> int:
    return -(-trainer.fit.batch // trainer.spec.recipe.runtime.devices)


def _micro_batch_notes(trainer: Trainer) -> list[Note]:
    """Return a note where memory did not suffice for a whole batch."""
    size, batch = trainer.state.micro_batch, _pictures_per_process(trainer)
    if not size:
        return []
    code = "micro_batches_batch_norm" if trainer.train_step.trains_statistics else "micro_batches"
    return [Note(code, {"batch": batch, "parts": -(-batch // size), "micro_batch": size})]


def _statistics_notes(trainer: Trainer) -> list[Note]:
    """Return a note where batch norms' running statistics still are in part what they began with."""
    norms, updates = training_batch_norms(trainer.network), trainer.state.global_step
    if trainer.fit.precise_batch_norm or are_settled(norms, updates):
        return []
    return [Note("batch_norm_unsettled", {"count": updates, "share": old_share(norms, updates)})]
