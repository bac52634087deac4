"""Gradient training: the loop over phases, epochs and batches, exact wherever it is taken up again.

Nothing random is remembered between steps: the order of the pictures follows from (seed, epoch), and augmentation and
dropout follow from (seed, epoch, batch). So a checkpoint is weights, their mean, optimizer and a few numbers, and a run
that goes on from it ends with the same bytes as one that never stopped.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from kilat.errors import RunError
from kilat.fit import resolutions, schedules, stopping
from kilat.fit.checkpoint import Checkpoints, Snapshot
from kilat.fit.deadline import Deadline
from kilat.fit.distributed.group import ALONE, SingleProcess
from kilat.fit.loader import order
from kilat.fit.signals import Listening, Stopped
from kilat.fit.train_state import Row, TrainSpec, TrainState
from kilat.fit.train_step import NotFiniteError, TrainStep
from kilat.fit.weight_averaging import blended
from kilat.locale import _
from kilat.recipe.fit import Phase
from kilat.runtime.progress import Advance, ignore

ROLLBACKS = 3
"""How often a loss that is no number may send training back to the start of its epoch, each time at half the rate."""

_PLAN_EVERY = 20
_PROBES = 4
_SAVING_SHARE = 0.05
"""Checkpoints within an epoch may take this share of the time."""


class Trainer:
    """One training from its first step, or from its newest checkpoint, to its end.

    Args:
        task: what is to be learnt.
        checkpoints: where it saves, and what it goes on from.
        deadline: the ``time.perf_counter`` at which everything must be over, or None.
        on_epoch: called with the row of every epoch that is done; after going on, with the earlier ones first.
        advance: told how far it is.
        group: who trains together; all of them do the same, and the first one saves.
    """

    def __init__(
        self,
        task: TrainSpec,
        checkpoints: Checkpoints | None,
        deadline: float | None = None,
        on_epoch: Callable[[Row], None] = lambda row: None,
        advance: Advance = ignore,
        group: SingleProcess = ALONE,
    ) -> None:
        self.task, self.on_epoch, self.advance = task, on_epoch, advance
        self.group, self.checkpoints = group, group.checkpoints(checkpoints)
        self.fit, self.seed = task.recipe.fit, task.recipe.runtime.seed
        self.learner = TrainStep(task, group)
        self.network, self.dtype, self.weights = self.learner.network, self.learner.dtype, self.learner.weights
        self.first = self.weights.copied() if self.fit.weight_interpolation < 1 else {}
        if self.fit.resolution:
            resolutions.require(self.network.eval().logits, self.fit.resolution, task.device)
        self.per_epoch = len(self._order(0))
        self.pace = None
        if deadline is not None:
            self.pace = Deadline(
                deadline,
                batch=self.fit.batch,
                per_epoch=self.per_epoch,
                validation=len(task.validation.rows),
                later=task.answered_later + (len(task.validation.rows) if self.fit.swa_epochs else 0),
            )
        self.place = TrainState()
        self.saved_at, self.saving = time.perf_counter(), 0.0
        self.listening = Listening()
        self._prepared = -1

    def run(self) -> None:
        """Trains to the end; the network then has the weights that are kept, and only answers.

        Raises:
            Stopped: by Ctrl-C or SIGTERM; a checkpoint was saved.
            RunError: the loss stays no number however slow the rate, a checkpoint cannot be written, or those that are
                there are of another training.
        """
        with self.listening, self.group, self._own_draws():
            self._begin()
            while not self.place.stop_reason:
                try:
                    self._epoch()
                except NotFiniteError:
                    self._roll_back()
        self.learner.forget()
        kept = self.weights.best if self.fit.keep == "best" else self.weights.kept()
        self.weights.put(blended(self.first, kept, self.fit.weight_interpolation) if self.first else kept)
        self.network.eval()

    def answer(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of some pictures in float32 ``[n, classes]``; those of one sigmoid unit are 0 and its logit."""
        with self.group:
            self.group.ask(rows)
            logits = self.learner.logits(rows)
        if logits.shape[1] == 1:  # the softmax of 0 and a logit is the logit's sigmoid
            logits = functional.pad(logits, (1, 0))
        return np.asarray(logits.cpu().numpy(), np.float32)

    def close(self) -> None:
        """Lets the other processes go; from then on this one answers alone."""
        self.group.close()
        self.group = self.learner.group = ALONE

    def probe(self, rates: Sequence[float]) -> Generator[float, None, None]:
        """The loss at one step after another, each made at a rate of its own; it ends where a loss is no number."""
        with self._own_draws():
            self._enter_phase(0)
            batches = self._order(0)
            chosen = [batches[i % len(batches)] for i in range(len(rates))]
            for rate, rows, pixels in zip(rates, chosen, self.learner.batches(chosen), strict=True):
                try:
                    yield self._step(rows, pixels, rate)
                except NotFiniteError:
                    return

    def _own_draws(self) -> contextlib.AbstractContextManager[None]:
        """Whatever is drawn meanwhile, torch's generators are afterwards as they were before."""
        return torch.random.fork_rng([torch.cuda.current_device()] if self.task.device == "cuda" else [])

    # An epoch and its steps

    def _epoch(self) -> None:
        self._prepare()
        self._choose_side()
        left = self._order(len(self.place.history))[self.place.batch :]
        with contextlib.closing(self.learner.batches(left)) as arriving:
            for rows in left:
                if self.place.step >= self.place.planned:
                    break
                began = time.perf_counter()
                self._step(rows, next(arriving))
                self._took(time.perf_counter() - began)
                if rows is not left[-1]:
                    self._save_if_due()
        self._close_epoch()

    def _step(self, rows: NDArray[np.int64], pixels: Tensor, rate: float | None = None) -> float:
        """One update, at the schedule's rate or at another; gives the loss before it."""
        place = self.place
        if not self.network.training:
            self.network.train()
        draws = _generator(self.seed, len(place.history), place.batch)
        rate = self._rate(place.step) if rate is None else rate
        loss, right = self.learner.update(rows, pixels, rate, draws=draws, first=place.step == 0)
        place.count(loss, right, len(rows))
        return loss

    def _took(self, seconds: float) -> None:
        self.place.seconds += seconds
        self._show()
        if self.pace:
            self.pace.updated(seconds * self._dearer())
            if self.place.step % _PLAN_EVERY == 0:
                self._plan()

    def _close_epoch(self) -> None:
        place = self.place
        began = time.perf_counter()
        loss, accuracy = self.learner.validate()
        seconds = time.perf_counter() - began
        if not math.isfinite(loss):
            raise NotFiniteError
        if self.pace:
            self.pace.validated(seconds)
        rate = self._rate(max(place.step - 1, 0))
        place.close_epoch(validation=(loss, accuracy), rate=rate, validation_seconds=seconds)
        self._keep_best()
        self.on_epoch(place.history[-1])
        self._end_or_go_on()
        self._save_base()

    def _end_or_go_on(self) -> None:
        """Decides whether the phase, or all of training, is over."""
        place, rule = self.place, self.fit.early_stopping
        self._plan()
        in_full = place.step >= self._updates(self._phase)
        reason = "all epochs" if in_full else "time limit" if place.step >= place.planned else ""
        if rule and stopping.should_stop(place.monitored(rule.monitor), rule):
            reason = "early stopping"
        self._average(reason)
        if reason and place.phase + 1 < len(self.fit.all_phases):
            if self.fit.keep == "best":
                self.weights.put(self.weights.best)
            self._enter_phase(place.phase + 1)
        else:
            place.stop_reason = reason

    def _keep_best(self) -> None:
        place = self.place
        best = len(place.history) - 1
        if self.fit.keep == "best":
            monitor, min_delta = self._progress
            values = [row[f"validation_{monitor}"] for row in place.history]
            best = stopping.best_epoch(values, monitor=monitor, min_delta=min_delta)
            if best == len(values) - 1:
                self.weights.keep_as_best()
        place.best = best

    @property
    def _progress(self) -> tuple[str, float]:
        """What of validation decides which weights are better, and by how much more."""
        rule = self.fit.early_stopping
        monitor = rule.monitor if rule else getattr(self.fit.schedule, "monitor", "loss")
        return monitor, rule.min_delta if rule else 0.0

    # The average of the last epochs

    def _average(self, ended: str) -> None:
        """Takes this epoch into the average if it is one of the last, and in the end decides about it."""
        place, weights = self.place, self.weights
        if not self.fit.swa_epochs or place.phase + 1 < len(self.fit.all_phases):
            return
        if math.ceil((place.planned - place.step) / self.per_epoch) < self.fit.swa_epochs:
            weights.take_into_average()
        else:  # also where a time limit now leaves room for more epochs than it seemed to
            weights.forget_average()
        if ended and not weights.averaged_epochs:
            place.notes.append(_("Early stopping came before the epochs that fit.swa_epochs would have averaged."))
        elif ended:
            self._try_average()

    def _try_average(self) -> None:
        """Gives the network the average, and takes it back where it is not what is kept."""
        weights = self.weights
        last = {name: value.clone() for name, value in weights.now().items()}
        weights.put(weights.average)
        weights.average = {}
        if not self._is_kept(*self.learner.validate()):
            weights.forget_average()
            weights.put(last)
        elif self.fit.keep == "best":
            weights.keep_as_best()

    def _is_kept(self, loss: float, accuracy: float) -> bool:
        """Whether weights with this validation take the place of those that would be kept without them."""
        if self.fit.keep == "last":
            return math.isfinite(loss)
        monitor, min_delta = self._progress
        values = [self.place.history[self.place.best][f"validation_{monitor}"], loss if monitor == "loss" else accuracy]
        return math.isfinite(loss) and stopping.progress(values, monitor=monitor, min_delta=min_delta)[1]

    # Phases, rates, and the time limit

    def _enter_phase(self, number: int) -> None:
        self.place.phase, self.place.epoch, self.place.step = number, 0, 0
        self.learner.begin(self._phase)
        self.place.planned = self._updates(self._phase)
        self._choose_side()
        self._measure_pace()
        self._plan()

    def _prepare(self) -> None:
        """Has what stays the same in the phase computed once; where it is but one epoch, that would gain nothing."""
        if self._prepared == self.place.phase:
            return
        self._prepared = self.place.phase
        self.learner.forget()
        if self._phase.epochs == 1:
            return
        seconds = self.pace.deadline - self.pace.now() if self.pace else None
        note = self.learner.prepare(self._show_prepared, seconds)
        if note and note not in self.place.notes:
            self.place.notes.append(note)
        if self.pace:
            self.pace.extra = self.learner.spared

    def _show_prepared(self, done: int, total: int, note: str = "") -> None:
        self.advance(done, total, note or _("what frozen stages see"))
        if number := self.group.largest(self.listening.number):
            raise Stopped(number)

    def _rate(self, step: int) -> float:
        schedule, place = self.fit.schedule, self.place
        base = self._phase.learning_rate or self.fit.optimizer.rate
        monitored = place.monitored(getattr(schedule, "monitor", "loss"))
        total = max(place.planned, 1)
        # A time limit shortens every length of a schedule alike, so that a warm-up does not outlast what is planned.
        per_epoch = self.per_epoch * min(1.0, total / self._updates(self._phase))
        rate = schedules.rate(schedule, base, step, per_epoch=per_epoch, total=total, monitored=monitored)
        return place.lr_scale * rate

    def _choose_side(self) -> None:
        """The size at which the epoch looks; a time limit changes it between epochs only."""
        if self.fit.resolution:
            self.learner.side = resolutions.side_of(self.fit.resolution, self.place.epoch, self._planned_epochs)

    def _dearer(self) -> float:
        if not self.fit.resolution:
            return 1.0
        return resolutions.dearer(self.fit.resolution, self.place.epoch, self._planned_epochs)

    @property
    def _planned_epochs(self) -> int:
        return max(1, math.ceil(self.place.planned / self.per_epoch))

    @property
    def _phase(self) -> Phase:
        return self.fit.all_phases[self.place.phase]

    def _updates(self, *phases: Phase) -> int:
        return sum(phase.epochs for phase in phases) * self.per_epoch

    def _order(self, epoch: int) -> list[NDArray[np.int64]]:
        return order(self.task.training.rows, self.fit.batch, seed=self.seed, epoch=epoch)

    def _measure_pace(self) -> None:
        """Tries a few steps and takes them back, the first of which, with all its preparations, does not count."""
        if not self.pace:
            return
        self._prepare()
        before = self._snapshot()
        before.tensors = {name: value.clone() for name, value in before.tensors.items()}
        batches = self._order(0)
        chosen = [batches[i % len(batches)] for i in range(_PROBES)]
        arriving = self.learner.batches(chosen)
        for number, (rows, pixels) in enumerate(zip(chosen, arriving, strict=True)):
            began = time.perf_counter()
            with contextlib.suppress(NotFiniteError):
                self._step(rows, pixels)
            if number:
                self.pace.updated((time.perf_counter() - began) * self._dearer())
        self._take_up(before)

    def _plan(self) -> None:
        """Fits what is left of all phases into the time that is left."""
        if self.pace:
            place = self.place
            later = self._updates(*self.fit.all_phases[place.phase + 1 :])
            plan = functools.partial(self.pace.plan, place.step, self._updates(self._phase), later)
            place.planned = self.group.once(plan)

    # Saving, going on, rolling back

    def _begin(self) -> None:
        found = self.checkpoints.newest()
        if found is None:
            if self.checkpoints.damaged:
                self.place.notes.append(_("All checkpoints were damaged, so training began anew."))
            self.place.notes += resolutions.notes(self.fit.resolution, self.network.size)
            self._enter_phase(0)
            self._save_base()
            return
        number, snapshot, notes = found
        self._require_same(snapshot)
        self._take_up(snapshot)
        self.place.notes += notes
        if self.checkpoints.at(self.place.base) is None:  # it was damaged; this is the next best to roll back to
            self.place.base = number
        for row in self.place.history:
            self.on_epoch(row)
        if not self.place.stop_reason:
            self._measure_pace()
            self._plan()

    def _require_same(self, snapshot: Snapshot) -> None:
        """Refuses to go on with other pictures, or by another recipe, than training began with."""
        begun, now = snapshot.document["task"], self.task.fingerprint
        hint = _("Bring back what it began with, or start anew without --resume.")
        if begun["pictures"] != now["pictures"]:
            message = _("Training cannot go on: its pictures, or how they are split, were changed since it began.")
            raise RunError(message, hint=hint)
        if begun["recipe"] != now["recipe"]:
            raise RunError(_("Training cannot go on: its recipe was changed since it began."), hint=hint)

    def _snapshot(self) -> Snapshot:
        self.place.micro_batch, self.place.answer_batch = self.learner.portions
        return Snapshot(self.learner.tensors(), {"place": asdict(self.place), "task": self.task.fingerprint})

    def _take_up(self, snapshot: Snapshot) -> None:
        self.place = TrainState(**snapshot.document["place"])
        self.learner.portions = self.place.micro_batch, self.place.answer_batch
        for phase in self.fit.all_phases[: self.place.phase + 1]:
            self.learner.begin(phase)
        self.learner.restore(snapshot.tensors)
        self._choose_side()

    def _save_base(self) -> None:
        """Saves the start of an epoch, or the end of everything."""
        self.place.base = self.place.global_step
        self._save()

    def _save_if_due(self) -> None:
        since = time.perf_counter() - self.saved_at
        least = max(self.fit.checkpoint, self.saving / _SAVING_SHARE if self.fit.checkpoint else 0.0)
        if self.group.largest(self.listening.number or int(since >= least)):
            self._save()

    def _save(self) -> None:
        began = time.perf_counter()
        self.checkpoints.save(self.place.global_step, self._snapshot(), base=self.place.base)
        self.saved_at = time.perf_counter()
        self.saving = self.saved_at - began
        if self.pace:
            self.pace.saved(self.saving)
        if number := self.group.largest(self.listening.number):
            raise Stopped(number)

    def _roll_back(self) -> None:
        """Back to the start of the epoch, with half the rate."""
        place = self.place
        snapshot = self.checkpoints.at(place.base)
        if place.rollbacks == ROLLBACKS or snapshot is None:
            raise RunError(
                _(
                    "The loss is no number in epoch {epoch}, even after {times} returns to the start at half the rate."
                ).format(epoch=len(place.history) + 1, times=place.rollbacks),
                hint=_("Take a lower fit.optimizer.learning_rate, or clip gradients with fit.clip.global_norm=1."),
            )
        self._take_up(snapshot)
        self.place.notes = place.notes  # those of this epoch too
        # One further: the number of a checkpoint must rise, and none of these updates counts.
        self.place.global_step, self.place.lr_scale, self.place.rollbacks = (
            place.global_step + 1,
            place.lr_scale / 2,
            place.rollbacks + 1,
        )
        sentence = _("The loss was no number in epoch {epoch}: taken back to its start, with half the rate.")
        self.place.notes.append(sentence.format(epoch=len(place.history) + 1))
        self._save_base()

    def _show(self) -> None:
        place = self.place
        epochs = sum(phase.epochs for phase in self.fit.all_phases)
        note = _("epoch {epoch} of {epochs}").format(epoch=len(place.history) + 1, epochs=epochs)
        if place.seen:
            note += _(", loss {loss:.3f}").format(loss=place.loss / place.seen)
        if place.history:
            note += _(", validation {accuracy:.1%}").format(accuracy=place.history[-1]["validation_accuracy"])
        self.advance(place.step * self.fit.batch, place.planned * self.fit.batch, note)


def _generator(*key: int) -> torch.Generator:
    """Draws that follow from a key alone, independent for every key."""
    state = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)
