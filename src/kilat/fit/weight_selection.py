"""Which weights a training keeps: those of the best epoch or of the last one, or the mean of the last epochs."""

import math
from collections.abc import Callable

from kilat.fit import stopping
from kilat.fit.train_state import TrainState
from kilat.fit.weight_averaging import Tensors, Weights, interpolate
from kilat.locale.notes import Note
from kilat.recipe.fit import Fit


class WeightSelection:
    """Decides after every epoch, and in the end, which weights are kept.

    Args:
        fit: the recipe's section.
        weights: of the network.
        validate: returns loss and accuracy on the validation pictures with the network's weights.
    """

    def __init__(self, fit: Fit, weights: Weights, validate: Callable[[], tuple[float, float]]) -> None:
        self.fit, self.weights, self.validate = fit, weights, validate
        self.initial = weights.copy_all() if fit.weight_interpolation < 1 else {}
        rule = fit.early_stopping
        self.monitor: str = rule.monitor if rule else getattr(fit.schedule, "monitor", "loss")
        self.min_delta = rule.min_delta if rule else 0.0

    def finish_epoch(self, state: TrainState) -> None:
        """Keep the weights of the epoch that was just finished, if they are the best so far."""
        state.best_epoch = len(state.history) - 1
        if self.fit.keep == "best":
            values = [row[f"validation_{self.monitor}"] for row in state.history]
            best = stopping.best_epoch(values, monitor=self.monitor, min_delta=self.min_delta)
            if best == state.best_epoch:
                self.weights.keep_as_best()
            state.best_epoch = best

    def average_epoch(self, state: TrainState, per_epoch: int, *, is_last: bool) -> None:
        """Take an epoch of the last phase into the mean of the last epochs; after the last one, try that mean.

        Args:
            state: after the epoch.
            per_epoch: updates an epoch.
            is_last: whether training ends with it.
        """
        weights = self.weights
        if math.ceil((state.planned_steps - state.step) / per_epoch) < self.fit.swa_epochs:
            weights.update_swa()
        else:  # also where a time limit now leaves time for more epochs than it seemed to
            weights.reset_swa()
        if is_last and not weights.swa_epochs:
            state.notes.append(Note("stopped_before_averaging"))
        elif is_last:
            self._try_mean(state)

    def _try_mean(self, state: TrainState) -> None:
        """Give the network the mean of the last epochs, and take it back where other weights are better."""
        weights = self.weights
        last = {name: value.clone() for name, value in weights.current().items()}
        weights.load(weights.swa)
        weights.swa = {}
        if not self._is_better(state, *self.validate()):
            weights.reset_swa()
            weights.load(last)
        elif self.fit.keep == "best":
            weights.keep_as_best()

    def _is_better(self, state: TrainState, loss: float, accuracy: float) -> bool:
        """Return whether weights with this validation replace those that would be kept without them."""
        if self.fit.keep == "last" or not math.isfinite(loss):
            return math.isfinite(loss)
        best = state.history[state.best_epoch][f"validation_{self.monitor}"]
        values = [best, loss if self.monitor == "loss" else accuracy]
        return stopping.improvements(values, monitor=self.monitor, min_delta=self.min_delta)[1]

    def final(self) -> Tensors:
        """Return the weights that are kept in the end."""
        kept = self.weights.best if self.fit.keep == "best" else self.weights.evaluated()
        return interpolate(self.initial, kept, self.fit.weight_interpolation) if self.initial else kept
