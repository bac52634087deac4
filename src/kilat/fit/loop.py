"""Gradient training: the loop over phases, epochs and batches, exact wherever it is resumed.

Nothing random is remembered between steps: the order of the pictures follows from (seed, epoch), and augmentation and
dropout follow from (seed, epoch, batch). So a checkpoint is weights, their averages, the optimizer and a few numbers,
and a run that resumes from it ends with the same bytes as one that never stopped.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Generator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kilat.fit import resolutions, schedules, stopping
from kilat.fit.activation_cache import SplitNetwork
from kilat.fit.checkpoint import Checkpoints
from kilat.fit.deadline import UpdatePlanner
from kilat.fit.distributed.group import ALONE, SingleProcess
from kilat.fit.layer_watch import watched_updates
from kilat.fit.loader import epoch_batches
from kilat.fit.results import NotFiniteError, PendingResults
from kilat.fit.saver import Saver
from kilat.fit.train_state import Row, Sample, TrainSpec, TrainState
from kilat.fit.train_step import TrainStep
from kilat.fit.weight_selection import WeightSelection
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.model.cuda_graph import Graph
from kilat.recipe.fit import Phase
from kilat.runtime.deadline import Deadline
from kilat.runtime.progress import Advance, ignore
from kilat.runtime.signals import DeferredSignals, Stopped

_PLAN_EVERY = 20
_PROBES = 4


class Trainer:
    """One training from its first update, or from its newest checkpoint, to its end.

    Args:
        spec: the training.
        checkpoints: where it saves, and what it resumes from; None in other processes than the first.
        deadline: when everything must be over, or None; its clock is the one that training is timed by.
        on_epoch: called with the row of every finished epoch; after resuming, with the earlier ones first.
        advance: called with how far it is.
        group: the processes that train together; all of them do the same, and the first one saves.
        cache_share: of the time until the deadline, the most that caching activations may take.
        make_graph: makes what updates are recorded in; None for what the device has.
    """

    def __init__(
        self,
        spec: TrainSpec,
        checkpoints: Checkpoints | None,
        deadline: Deadline | None = None,
        on_epoch: Callable[[Row], None] = lambda row: None,
        advance: Advance = ignore,
        group: SingleProcess = ALONE,
        cache_share: float = 1.0,
        make_graph: Callable[[], Graph] | None = None,
    ) -> None:
        self.spec, self.on_epoch, self.advance, self.group = spec, on_epoch, advance, group
        self.cache_share, self.now = cache_share, deadline.now if deadline else time.perf_counter
        self.fit, self.seed = spec.recipe.fit, spec.recipe.runtime.seed
        self.state = TrainState()
        self.signals = DeferredSignals()
        self.train_step = TrainStep(spec, group, make_graph)
        self.network, self.inference = self.train_step.network, self.train_step.inference
        self.weights = self.train_step.weights
        self.selection = WeightSelection(self.fit, self.weights, self._validate_average)
        self.results = PendingResults(spec.device, self.now, is_alone=group.size == 1)
        self.saver = Saver(self.train_step, group.checkpoints(checkpoints), self.now)
        self.sides = resolutions.in_pixels(self.fit.resolution, self.network.size)
        if self.sides:
            resolutions.check_sides(self.network.eval().logits, self.sides, spec.device)
        self.per_epoch = len(self._batches(0))
        self._watched = watched_updates(self.per_epoch) if self.fit.watch else set()
        self.epochs = sum(self.fit.epochs_of(phase, self.per_epoch) for phase in self.fit.all_phases)
        self.planner = None
        if deadline is not None:
            validation = len(spec.validation.rows)
            self.planner = UpdatePlanner(
                deadline,
                batch=self.fit.batch,
                per_epoch=self.per_epoch,
                validation_pictures=validation,
                later_pictures=spec.later_pictures + (validation if self.fit.swa_epochs else 0),
            )
        self._cached_phase = -1

    def run(self) -> None:
        """Train to the end; the network then has the weights that are kept, and is in inference mode.

        Raises:
            Stopped: by Ctrl-C or SIGTERM; a checkpoint was saved.
            RunError: the loss is not finite however low the rate, a checkpoint cannot be written, or those that are
                there are of another training.
        """
        with self.signals, self.group, self._preserved_generators():
            self._start_or_resume()
            while not self.state.stop_reason:
                try:
                    self._epoch()
                except NotFiniteError:
                    self.state = self.saver.roll_back(self.state)
                    self._choose_side()
                    self._save_epoch_start()
        self.train_step.drop_cache()
        self.weights.load(self.selection.final())
        if self.fit.weight_interpolation < 1:
            self.train_step.estimate_statistics()
        self.network.eval()

    def losses_at(self, rates: Sequence[float]) -> Generator[float, None, None]:
        """Yield the loss at one update after another, each made at its own rate; ends where a loss is not finite."""
        with self._preserved_generators():
            self._enter_phase(0)
            batches = self._batches(0)
            chosen = [batches[i % len(batches)] for i in range(len(rates))]
            for rate, rows, batch in zip(rates, chosen, self.train_step.batches(chosen), strict=True):
                self._update(rows, batch, rate)
                (result,), _seconds = self.results.read()
                if not result.is_finite:
                    return
                yield result.loss

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of an update of this phase."""
        schedule, state = self.fit.schedule, self.state
        base = self._phase.learning_rate or self.fit.optimizer.rate
        monitored = state.monitored(getattr(schedule, "monitor", "loss"))
        total = max(state.planned_steps, 1)
        wanted = self._wanted_steps(self._phase)
        lengths = {"per_epoch": self.per_epoch, "total": total, "wanted": wanted}
        rate = schedules.rate(schedule, base, step, **lengths, monitored=monitored)
        return state.lr_scale * rate

    def _preserved_generators(self) -> contextlib.AbstractContextManager[None]:
        """Leave torch's own random generators as they were before the block."""
        return torch.random.fork_rng([torch.cuda.current_device()] if self.spec.device == "cuda" else [])

    # An epoch and its updates

    def _epoch(self) -> None:
        self._choose_flips()
        self._cache_activations()
        self._choose_side()
        self.train_step.inputs.epoch = len(self.state.history)
        remaining = self._batches(self.train_step.inputs.epoch)[self.state.batch :]
        with contextlib.closing(self.train_step.batches(remaining)) as arriving:
            for rows in remaining:
                if self.state.step >= self.state.planned_steps:
                    break
                self.results.begin()
                self._update(rows, next(arriving))
                if self.results.are_due:
                    self._record_updates()
                is_due = self.signals.received or int(self.saver.is_due())
                if rows is not remaining[-1] and self.group.max(is_due):
                    self._save()
        self._record_updates()
        self._finish_epoch()

    def _choose_flips(self) -> None:
        """Find out, before an epoch begins, whether mirroring does harm, where the recipe leaves open if it is done."""
        state, step = self.state, self.train_step
        is_trained = bool(state.history) or isinstance(self.network, SplitNetwork)  # whose head was fitted
        if not (step.has_open_flips and is_trained and state.batch == 0):
            return
        test = step.test_mirroring()
        state.horizontal_flip = test.is_harmless(len(state.history))
        step.choose_flips(state.horizontal_flip)
        if state.horizontal_flip is False:
            found = {"epoch": len(state.history) + 1, "plain": test.accuracy, "mirrored": test.mirrored_accuracy}
            if (note := Note("flips_off_validation", found)) not in state.notes:
                state.notes.append(note)

    def _update(self, rows: NDArray[np.int64], batch: Tensor, rate: float | None = None) -> None:
        """Make one update, at the schedule's rate or at another; its results are pending then."""
        state = self.state
        if not self.network.training:
            self.network.train()
        generator = _generator(self.seed, len(state.history), state.batch)
        rate = self.learning_rate(state.step) if rate is None else rate
        sample: Sample | None = [] if state.batch in self._watched else None
        values = self.train_step.update(rows, batch, rate, generator=generator, first=state.step == 0, sample=sample)
        if sample is not None:
            state.watched.append(sample)
        self.results.add(values, len(rows))
        state.advance()

    def _record_updates(self) -> None:
        """Record the updates whose results are pending, once they are there.

        Raises:
            NotFiniteError: a loss is not finite; those after it were made in vain.
        """
        state, count = self.state, len(self.results)
        if not count:
            return
        results, seconds = self.results.read()
        state.seconds += seconds
        for number, result in enumerate(results):
            if not result.is_finite:
                state.global_step -= count - number
                raise NotFiniteError
            state.count(result)
        self._show_progress()
        if self.planner:
            self.planner.record_updates(seconds * self._relative_cost(), count)
            if state.step // _PLAN_EVERY > (state.step - count) // _PLAN_EVERY:
                self._plan()

    def _show_progress(self) -> None:
        state = self.state
        note = _("epoch {epoch}/{epochs}").format(epoch=len(state.history) + 1, epochs=self.epochs)
        if state.pictures:
            note += _(", loss {loss:.3f}").format(loss=state.loss / state.pictures)
        self.advance(state.step * self.fit.batch, state.planned_steps * self.fit.batch, note)

    def _finish_epoch(self) -> None:
        state = self.state
        began = self.now()
        with self.weights.with_ema():
            state.precise_batch_norm = self.train_step.estimate_statistics(state.batch)
        loss, accuracy = self.train_step.validate()
        if not math.isfinite(loss):
            raise NotFiniteError
        state.layers += self.train_step.watched_layers(len(state.history) + 1, state.watched)
        seconds = self.now() - began
        if self.planner:
            self.planner.record_validation(seconds)
        rate = self.learning_rate(max(state.step - 1, 0))
        state.finish_epoch(validation=(loss, accuracy), learning_rate=rate, validation_seconds=seconds)
        self.selection.finish_epoch(state)
        self.on_epoch(state.history[-1])
        self._finish_phase_if_over()
        self._save_epoch_start()

    def _validate_average(self) -> tuple[float, float]:
        """Return loss and accuracy with the mean of several epochs' weights, which needs statistics of its own."""
        self.train_step.estimate_statistics()
        return self.train_step.validate()

    def _finish_phase_if_over(self) -> None:
        state, rule = self.state, self.fit.early_stopping
        self._plan()
        reason = ""
        if state.step >= self._wanted_steps(self._phase):
            reason = "all_epochs"
        elif state.step >= state.planned_steps:
            reason = "time_limit"
        if rule and stopping.should_stop([*state.start_values(rule.monitor), *state.monitored(rule.monitor)], rule):
            reason = "early_stopping"
        is_last_phase = state.phase + 1 == len(self.fit.all_phases)
        if is_last_phase and self.fit.swa_epochs:
            self.selection.average_epoch(state, self.per_epoch, is_last=bool(reason))
        if is_last_phase:
            state.stop_reason = reason
        elif reason:
            if self.fit.keep == "best":
                self.weights.load(self.weights.best)
            self._enter_phase(state.phase + 1)

    # Phases and the time limit

    def _start_or_resume(self) -> None:
        resumed = self.saver.restore_newest()
        if resumed is None:
            if self.saver.checkpoints.damaged:
                self.state.notes.append(Note("all_checkpoints_damaged"))
            self.state.notes += resolutions.enlarged_notes(self.sides, self.network.size)
            self._enter_phase(0)
            if self.fit.early_stopping and self.fit.early_stopping.from_start:
                self.state.start = dict(zip(("loss", "accuracy"), self.train_step.validate(), strict=True))
            self._save_epoch_start()
            return
        self.state = resumed
        self._choose_side()
        for row in self.state.history:
            self.on_epoch(row)
        if not self.state.stop_reason:
            self._measure_updates()
            self._plan()

    def _enter_phase(self, number: int) -> None:
        self.state.phase, self.state.epoch, self.state.step = number, 0, 0
        self.train_step.start_phase(self._phase)
        self.state.planned_steps = self._wanted_steps(self._phase)
        self._choose_side()
        self._measure_updates()
        self._plan()

    def _cache_activations(self) -> None:
        """Cache the activations of frozen stages, once a phase; a single epoch would gain nothing by it."""
        if self._cached_phase == self.state.phase:
            return
        self._cached_phase = self.state.phase
        self.train_step.drop_cache()
        if self._phase.epochs == 1:
            return
        seconds = self.planner.deadline.share(self.cache_share) if self.planner else None
        note = self.train_step.cache_activations(self._advance_caching, seconds, self.now)
        if note and note not in self.state.notes:
            self.state.notes.append(note)
        if self.planner:
            self.planner.later_extra = self.train_step.cached_seconds

    def _advance_caching(self, done: int, total: int, note: str = "") -> None:
        self.advance(done, total, note or _("activations of frozen stages"))
        self._stop_if_told()

    def _measure_updates(self) -> None:
        """Make a few updates and take them back; the first one, with its preparations, does not count."""
        if not self.planner:
            return
        statistics = self.train_step.statistics_pictures(self.per_epoch)
        self.planner.validation_pictures = len(self.spec.validation.rows) + statistics
        self._cache_activations()
        before = self.saver.snapshot(self.state)
        before.tensors = {name: value.clone() for name, value in before.tensors.items()}
        batches = self._batches(0)
        chosen = [batches[i % len(batches)] for i in range(_PROBES)]
        for number, (rows, batch) in enumerate(zip(chosen, self.train_step.batches(chosen), strict=True)):
            self.results.begin()
            self._update(rows, batch)
            _results, seconds = self.results.read()
            if number:
                self.planner.record_updates(seconds * self._relative_cost(), 1)
        self.state = self.saver.restore(before)
        self._choose_side()

    def _plan(self) -> None:
        """Fit what is left of all phases into the time that is left."""
        if self.planner:
            state = self.state
            later = self._wanted_steps(*self.fit.all_phases[state.phase + 1 :])
            plan = functools.partial(self.planner.plan, state.step, self._wanted_steps(self._phase), later)
            state.planned_steps = self.group.on_first(plan)

    def _choose_side(self) -> None:
        """Set the size of the epoch's pictures; a time limit changes it between epochs only."""
        if self.sides:
            self.train_step.inputs.side = resolutions.side_of_epoch(self.sides, self.state.epoch, self._planned_epochs)

    def _relative_cost(self) -> float:
        if not self.sides:
            return 1.0
        return resolutions.relative_cost(self.sides, self.state.epoch, self._planned_epochs)

    @property
    def _planned_epochs(self) -> int:
        return max(1, math.ceil(self.state.planned_steps / self.per_epoch))

    @property
    def _phase(self) -> Phase:
        return self.fit.all_phases[self.state.phase]

    def _wanted_steps(self, *phases: Phase) -> int:
        """Return how many updates phases have by the recipe."""
        return sum(self.fit.epochs_of(phase, self.per_epoch) for phase in phases) * self.per_epoch

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        return epoch_batches(self.spec.train.rows, self.fit.batch, seed=self.seed, epoch=epoch)

    # Saving

    def _save_epoch_start(self) -> None:
        """Save the start of an epoch, or the end of everything."""
        self.state.rollback_step = self.state.global_step
        self._save()

    def _save(self) -> None:
        self._record_updates()
        self.saver.save(self.state)
        if self.planner:
            self.planner.record_checkpoint(self.saver.seconds)
        self._stop_if_told()

    def _stop_if_told(self) -> None:
        if number := self.group.max(self.signals.received):
            raise Stopped(number)


def _generator(*key: int) -> torch.Generator:
    """Return a random generator that follows from a key alone, independent for every key."""
    state = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)
