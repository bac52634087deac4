"""Gradient training: the loop over phases, epochs and batches, exact wherever it is taken up again.

Nothing random is remembered between steps: the order of the pictures follows from (seed, epoch), and augmentation and
dropout follow from (seed, epoch, batch). So a checkpoint is weights, their mean, optimizer and a few numbers, and a run
that goes on from it ends with the same bytes as one that never stopped.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kilat.errors import RunError
from kilat.fit import clipping, losses, optimizers, schedules, stopping
from kilat.fit.augment import Augmenter
from kilat.fit.checkpoint import Checkpoints, Snapshot
from kilat.fit.pace import Pace
from kilat.fit.pictures import order
from kilat.fit.place import Place, Row, Task
from kilat.fit.regularizers import Regularizer
from kilat.fit.signals import Listening, Stopped
from kilat.locale import _
from kilat.model.backbone_layer import BackboneStep
from kilat.recipe.fit import Phase

ROLLBACKS = 3
"""How often a loss that is no number may send training back to the start of its epoch, each time at half the rate."""

_ANSWER_BATCH = 256
_PLAN_EVERY = 20
_PROBES = 4
_SAVING_SHARE = 0.05
"""Checkpoints within an epoch may take this share of the time."""


class Progress(Protocol):
    """Told how far training is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` pictures, and how it goes."""
        ...


def silent(done: int, total: int, note: str = "") -> None:
    """Tells nobody."""


class _NotFinite(Exception):
    """A loss is no number."""


class Training:
    """One training from its first step, or from its newest checkpoint, to its end.

    Args:
        task: what is to be learnt.
        checkpoints: where it saves, and what it goes on from.
        deadline: the ``time.perf_counter`` at which everything must be over, or None.
        on_epoch: called with the row of every epoch that is done; after going on, with the earlier ones first.
        progress: told how far it is.
    """

    def __init__(
        self,
        task: Task,
        checkpoints: Checkpoints,
        deadline: float | None = None,
        on_epoch: Callable[[Row], None] = lambda row: None,
        progress: Progress = silent,
    ) -> None:
        self.task, self.checkpoints, self.on_epoch, self.progress = task, checkpoints, on_epoch, progress
        self.fit, self.seed = task.recipe.fit, task.recipe.runtime.seed
        self.network = task.network.to(task.device)
        self.see: Callable[[Tensor], Tensor] = self.network.see
        if task.recipe.runtime.compile:
            self.see = torch.compile(self.network.see)
        self.dtype = precision(task.recipe.runtime.precision, task.device)
        counts = np.bincount(task.training.truth, minlength=len(task.classes)).tolist()
        weights = losses.class_weights(self.fit.class_weight, task.classes, counts)
        weights = weights if weights is None else weights.to(task.device)
        self.loss = losses.Loss(self.fit.loss, len(task.classes), weights)
        self.plain_loss = losses.Loss(self.fit.loss, len(task.classes), None)  # validation weighs classes as they come
        self.augmenter = Augmenter(task.recipe.augment) if task.recipe.augment.is_any else None
        self.truth = _truth_by_row(task)
        self.per_epoch = len(order(task.training.rows, self.fit.batch, seed=self.seed, epoch=0))
        self.pace = None
        if deadline is not None:
            self.pace = Pace(deadline, self.fit.batch, len(task.validation.rows), task.asked_later)
        self.place = Place()
        self.learnt: set[str] = set()
        self.best: dict[str, Tensor] = {}
        self.mean: dict[str, Tensor] = {}
        self.saved_at, self.saving = time.perf_counter(), 0.0
        self.listening = Listening()

    def run(self) -> None:
        """Trains to the end; the network then has the weights that are kept, and only answers.

        Raises:
            Stopped: by Ctrl-C or SIGTERM; a checkpoint was saved.
            RunError: the loss stays no number however slow the rate, or a checkpoint cannot be written.
        """
        gpus = range(torch.cuda.device_count()) if self.task.device == "cuda" else ()
        with self.listening, torch.random.fork_rng(devices=gpus):
            self._begin()
            while not self.place.ended:
                try:
                    self._epoch()
                except _NotFinite:
                    self._roll_back()
        self._load(self.best if self.fit.keep == "best" else self._weights())
        self.network.eval()

    def answer(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of some pictures in float32 ``[n, classes]``; those of one sigmoid unit are 0 and its logit."""
        logits = self._logits(rows)
        if logits.shape[1] == 1:  # the softmax of 0 and a logit is the logit's sigmoid
            logits = functional.pad(logits, (1, 0))
        return np.asarray(logits.cpu().numpy(), np.float32)

    def _logits(self, rows: NDArray[np.int64]) -> Tensor:
        """Float32, whatever training computes in: what is measured is what the model file will answer."""
        self.network.eval()
        batches = [rows[start : start + _ANSWER_BATCH] for start in range(0, len(rows), _ANSWER_BATCH)]
        found = [torch.zeros(0, len(self.task.classes), device=self.task.device)]
        with torch.inference_mode():
            found = [self.network(pixels) for pixels in self.task.pictures.batches(batches)] or found
            return torch.cat(found)

    def probe(self, rates: Sequence[float]) -> Iterator[float]:
        """The loss at one step after another, each made at a rate of its own; it ends where a loss is no number."""
        gpus = range(torch.cuda.device_count()) if self.task.device == "cuda" else ()
        with torch.random.fork_rng(devices=gpus):
            self._enter_phase(0)
            self.network.train()
            batches = order(self.task.training.rows, self.fit.batch, seed=self.seed, epoch=0)
            chosen = [batches[i % len(batches)] for i in range(len(rates))]
            for rate, rows, pixels in zip(rates, chosen, self.task.pictures.batches(chosen), strict=True):
                try:
                    yield self._step(rows, pixels, rate)
                except _NotFinite:
                    return

    # An epoch and its steps

    def _epoch(self) -> None:
        place = self.place
        epoch = len(place.history)
        batches = order(self.task.training.rows, self.fit.batch, seed=self.seed, epoch=epoch)
        left = batches[place.batch : place.batch + max(0, place.planned - place.step)]
        self.network.train()
        with contextlib.closing(self.task.pictures.batches(left)) as arriving:
            for rows in left:
                began = time.perf_counter()
                self._step(rows, next(arriving))
                seconds = time.perf_counter() - began
                place.seconds += seconds
                self._show()
                if self.pace:
                    self.pace.updated(seconds)
                    if place.step % _PLAN_EVERY == 0:
                        self._plan()
                if place.step >= place.planned:
                    break
                if place.batch < len(batches):
                    self._save_if_due()
        self._close_epoch()

    def _step(self, rows: NDArray[np.int64], pixels: Tensor, rate: float | None = None) -> float:
        """One update, at the schedule's rate or at another; gives the loss before it."""
        place = self.place
        draws = _generator(self.seed, len(place.history), place.batch)
        torch.manual_seed(int(torch.randint(2**62, (), generator=draws)))  # for dropout and its like
        targets = self._targets(rows)
        if self.augmenter:
            planes, targets = self.augmenter(pixels, targets, draws)
        else:
            planes = pixels.permute(0, 3, 1, 2).float()
        with torch.autocast(self.task.device, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.see(planes)
        loss = self.loss(logits.float(), targets)
        value = loss.item() + self.regularizer.penalty()
        if not math.isfinite(value):
            raise _NotFinite
        for parameter in self.parameters.values():
            parameter.grad = None
        torch.autograd.backward(loss)
        self.regularizer.add_gradients()
        clipping.clip(self.parameters.values(), self.fit.clip)
        self.optimizer.step(self._rate(place.step) if rate is None else rate)
        self.regularizer.constrain()
        self._average()
        right = losses.probabilities(logits.detach().float()).argmax(1) == targets.argmax(1)
        place.right += int(right.sum())
        place.loss += value * len(rows)
        place.seen += len(rows)
        place.batch, place.step, place.moves = place.batch + 1, place.step + 1, place.moves + 1
        return value

    def _close_epoch(self) -> None:
        place = self.place
        began = time.perf_counter()
        loss, accuracy = self._validate()
        if not math.isfinite(loss):
            raise _NotFinite
        seconds = time.perf_counter() - began
        if self.pace:
            self.pace.answered(len(self.task.validation.rows), seconds)
        row: Row = {
            "epoch": len(place.history) + 1,
            "loss": place.loss / max(place.seen, 1),
            "accuracy": place.right / max(place.seen, 1),
            "validation_loss": loss,
            "validation_accuracy": accuracy,
            "learning_rate": self._rate(max(place.step - 1, 0)),
            "seconds": round(place.seconds + seconds, 3),
            "pictures_per_second": round(place.seen / max(place.seconds, 1e-9), 1),
        }
        place.history.append(row)
        place.epoch += 1
        place.clear_epoch()
        self._keep_best()
        self.on_epoch(row)
        self._end_or_go_on()
        self._save_base()

    def _end_or_go_on(self) -> None:
        """Decides whether the phase, or all of training, is over."""
        place, rule = self.place, self.fit.early_stopping
        if self.pace:
            self._plan()
        in_full = place.step >= self._updates(self._phase)
        reason = "all epochs" if in_full else "time limit" if place.step >= place.planned else ""
        if rule and stopping.should_stop(place.monitored(rule.monitor), rule):
            reason = "early stopping"
        if reason and place.phase + 1 < len(self.fit.parts):
            if self.fit.keep == "best":
                self._load(self.best)
            self._enter_phase(place.phase + 1)
        else:
            place.ended = reason

    def _validate(self) -> tuple[float, float]:
        """Loss and accuracy on the validation pictures, in float32, by the weights that would be kept."""
        rows = self.task.validation.rows
        targets = self._targets(rows)
        with self._averaged():
            logits = self._logits(rows)
            penalty = self.regularizer.penalty()
        right = losses.probabilities(logits).argmax(1) == targets.argmax(1)
        return float(self.plain_loss(logits, targets)) + penalty, float(right.double().mean())

    def _targets(self, rows: NDArray[np.int64]) -> Tensor:
        truth = self.truth[torch.from_numpy(rows)].to(self.task.device)
        return functional.one_hot(truth, len(self.task.classes)).float()

    # Phases and rates

    def _begin(self) -> None:
        found = self.checkpoints.newest()
        if found is None:
            self._enter_phase(0)
            self._save_base()
            return
        _number, snapshot, notes = found
        self._take_up(snapshot)
        self.place.notes += notes
        for row in self.place.history:
            self.on_epoch(row)
        if self.pace and not self.place.ended:
            self._measure_pace()
            self._plan()

    def _enter_phase(self, number: int) -> None:
        place = self.place
        place.phase, place.epoch, place.step = number, 0, 0
        self._prepare(number)
        self.mean = {name: value.detach().clone() for name, value in self.parameters.items()} if self.fit.ema else {}
        place.planned = self._updates(self._phase)
        if self.pace:
            self._measure_pace()
            self._plan()

    def _prepare(self, number: int) -> None:
        """What follows from the phase alone: which weights learn, and a fresh optimizer."""
        phase = self.fit.parts[number]
        backbone = next((part for part in self.network.modules() if isinstance(part, BackboneStep)), None)
        if backbone is not None and self.fit.phases:
            backbone.unfreeze(phase.unfreeze)
        self.parameters = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        self.learnt |= set(self.parameters)
        # All of them: Muon looks at where a kernel stands, and what has no gradient is passed over.
        self.optimizer = optimizers.create(self.fit.optimizer, dict(self.network.named_parameters()))
        assert self.task.recipe.model is not None
        self.regularizer = Regularizer(self.network, self.task.recipe.model)

    def _rate(self, step: int) -> float:
        schedule, place = self.fit.schedule, self.place
        base = self._phase.learning_rate or self.fit.optimizer.rate
        monitored = place.monitored(getattr(schedule, "monitor", "loss"))
        rate = schedules.rate(
            schedule, base, step, per_epoch=self.per_epoch, total=max(place.planned, 1), monitored=monitored
        )
        return place.slower * rate

    @property
    def _phase(self) -> Phase:
        return self.fit.parts[self.place.phase]

    def _updates(self, phase: Phase) -> int:
        return phase.epochs * self.per_epoch

    # The time limit

    def _measure_pace(self) -> None:
        """Tries a few steps and takes them back, the first of which, with all its preparations, does not count."""
        assert self.pace is not None
        before = self._snapshot(copy=True)
        batches = order(self.task.training.rows, self.fit.batch, seed=self.seed, epoch=0)
        chosen = [batches[i % len(batches)] for i in range(_PROBES)]
        self.network.train()
        for number, (rows, pixels) in enumerate(zip(chosen, self.task.pictures.batches(chosen), strict=True)):
            began = time.perf_counter()
            with contextlib.suppress(_NotFinite):
                self._step(rows, pixels)
            if number:
                self.pace.updated(time.perf_counter() - began)
        self._take_up(before)

    def _plan(self) -> None:
        """Fits what is left of all phases into the time that is left."""
        assert self.pace is not None
        place = self.place
        here = self._updates(self._phase) - place.step
        wanted = here + sum(self._updates(phase) for phase in self.fit.parts[place.phase + 1 :])
        share = min(1.0, self.pace.affordable(self.per_epoch) / max(wanted, 1))
        place.planned = max(place.step + int(here * share), 1)  # at least one step: there must be a model in the end

    # Weights, their mean, and the best ones

    def _average(self) -> None:
        if self.mean and self.fit.ema:
            means = list(self.mean.values())
            values = [self.parameters[name].detach() for name in self.mean]
            torch._foreach_lerp_(means, values, 1 - self.fit.ema)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The network with the mean of its weights, where there is one."""
        kept = {name: self.parameters[name].detach().clone() for name in self.mean}
        self._put(self.mean)
        try:
            yield
        finally:
            self._put(kept)

    def _put(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self.parameters[name].copy_(value)

    def _weights(self, *, averaged: bool = True) -> dict[str, Tensor]:
        """What training changes: weights and running statistics; what stays frozen is left out."""
        frozen = {name for name, _value in self.network.named_parameters()} - self.learnt
        state = {name: value.detach() for name, value in self.network.state_dict().items() if name not in frozen}
        return state | (self.mean if averaged else {})

    def _load(self, weights: dict[str, Tensor]) -> None:
        self.network.load_state_dict(weights, strict=False)

    def _keep_best(self) -> None:
        if self.fit.keep == "last":
            self.place.best = len(self.place.history) - 1
            return
        rule = self.fit.early_stopping
        monitor = rule.monitor if rule else getattr(self.fit.schedule, "monitor", "loss")
        values = [row[f"validation_{monitor}"] for row in self.place.history]
        best = stopping.best_epoch(values, monitor=monitor, min_delta=rule.min_delta if rule else 0.0)
        if best == len(values) - 1:
            self.place.best = best
            self.best = {name: value.clone() for name, value in self._weights().items()}

    # Saving, going on, rolling back

    def _snapshot(self, *, copy: bool = False) -> Snapshot:
        parts = {
            "weights": self._weights(averaged=False),
            "mean": self.mean,
            "optimizer": self.optimizer.state(),
            "best": self.best,
        }
        tensors = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        if copy:
            tensors = {name: value.clone() for name, value in tensors.items()}
        return Snapshot(tensors, {"place": asdict(self.place)})

    def _take_up(self, snapshot: Snapshot) -> None:
        self.place = Place(**snapshot.document["place"])
        for number in range(self.place.phase + 1):
            self._prepare(number)
        parts: dict[str, dict[str, Tensor]] = {"weights": {}, "mean": {}, "optimizer": {}, "best": {}}
        for name, value in snapshot.tensors.items():
            part, _slash, own = name.partition("/")
            parts[part][own] = value.to(self.task.device)
        self._load(parts["weights"])
        self.optimizer.restore(parts["optimizer"])
        self.mean, self.best = parts["mean"], parts["best"]

    def _save_base(self) -> None:
        """Saves the start of an epoch, or the end of everything."""
        self.place.base = self.place.moves
        self._save()

    def _save_if_due(self) -> None:
        if self.listening.number:
            self._save()
        since = time.perf_counter() - self.saved_at
        if since >= max(self.fit.checkpoint, self.saving / _SAVING_SHARE if self.fit.checkpoint else 0.0):
            self._save()

    def _save(self) -> None:
        began = time.perf_counter()
        self.checkpoints.save(self.place.moves, self._snapshot(), base=self.place.base)
        self.saved_at = time.perf_counter()
        self.saving = self.saved_at - began
        if self.listening.number:
            raise Stopped(self.listening.number)

    def _roll_back(self) -> None:
        """Back to the start of the epoch, with half the rate."""
        place = self.place
        if place.rollbacks == ROLLBACKS:
            raise RunError(
                _(
                    "The loss is no number in epoch {epoch}, even after {times} returns to its start at half the rate."
                ).format(epoch=len(place.history) + 1, times=ROLLBACKS),
                mend=_("Take a lower fit.optimizer.learning_rate, or clip gradients with fit.clip.global_norm=1."),
            )
        moves, slower, rollbacks = place.moves, place.slower / 2, place.rollbacks + 1
        snapshot = self.checkpoints.at(place.base)
        assert snapshot is not None, "the start of an epoch is always kept"
        self._take_up(snapshot)
        place = self.place
        # One further: the number of a checkpoint must rise, and none of these updates counts.
        place.moves, place.slower, place.rollbacks = moves + 1, slower, rollbacks
        sentence = _("The loss was no number in epoch {epoch}: taken back to its start, with half the rate.")
        place.notes.append(sentence.format(epoch=len(place.history) + 1))
        self._save_base()

    def _show(self) -> None:
        place = self.place
        epochs = sum(phase.epochs for phase in self.fit.parts)
        note = _("epoch {epoch} of {epochs}").format(epoch=len(place.history) + 1, epochs=epochs)
        if place.seen:
            note += _(", loss {loss:.3f}").format(loss=place.loss / place.seen)
        if place.history:
            note += _(", validation {accuracy:.1%}").format(accuracy=place.history[-1]["validation_accuracy"])
        self.progress(place.step * self.fit.batch, place.planned * self.fit.batch, note)


def precision(wanted: str, device: str) -> torch.dtype:
    """In which numbers training computes: bfloat16 only where the processor itself has it."""
    if wanted == "fp32":
        return torch.float32
    if device == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        has = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return torch.bfloat16 if has or wanted == "bf16" else torch.float32


def _truth_by_row(task: Task) -> Tensor:
    """The class of every row of the catalog that is learnt from or measured on."""
    truth = torch.zeros(
        1 + int(max(part.rows.max(initial=0) for part in (task.training, task.validation))), dtype=torch.int64
    )
    for part in (task.training, task.validation):
        truth[torch.from_numpy(part.rows)] = torch.from_numpy(part.truth)
    return truth


def _generator(*key: int) -> torch.Generator:
    """Draws that follow from a key alone, independent for every key."""
    state = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)
