"""Saving a training, resuming it, and going back to the start of an epoch."""

from collections.abc import Callable
from dataclasses import replace

import torch

from kilat.errors import RunError
from kilat.fit.checkpoint import Checkpoints, Snapshot
from kilat.fit.distributed.group import SharedCheckpoints
from kilat.fit.train_state import TrainState
from kilat.fit.train_step import TrainStep
from kilat.locale import _, ngettext
from kilat.locale.notes import Note

ROLLBACKS = 3
"""How often a loss that is not finite may send training back to the start of its epoch, each time at half the rate."""

_SAVING_SHARE = 0.05
"""Checkpoints within an epoch may take this share of the time."""


class Saver:
    """Saves what a training needs to resume exactly.

    ``seconds`` is how long the last checkpoint took.

    Args:
        train_step: the network with everything that changes it.
        checkpoints: where it is saved.
        now: the clock.
    """

    def __init__(
        self, train_step: TrainStep, checkpoints: Checkpoints | SharedCheckpoints, now: Callable[[], float]
    ) -> None:
        self.train_step, self.checkpoints, self.now = train_step, checkpoints, now
        self.fit = train_step.fit
        self.saved_at, self.seconds = now(), 0.0

    def snapshot(self, state: TrainState) -> Snapshot:
        """Return everything that a checkpoint holds. The weights are not copied."""
        state.micro_batch = self.train_step.micro_batch.size
        state.inference_batch = self.train_step.inference.micro_batch.size
        document = {"state": state.document(), "fingerprint": self.train_step.spec.fingerprint}
        return Snapshot(self.train_step.tensors(), document)

    def restore(self, snapshot: Snapshot) -> TrainState:
        """Return the state of a snapshot, and set the network and everything that changes it to it."""
        state = TrainState.from_document(snapshot.document["state"])
        self.train_step.micro_batch.size = state.micro_batch
        self.train_step.inference.micro_batch.size = state.inference_batch
        self.train_step.choose_flips(state.horizontal_flip)
        for phase in self.fit.all_phases[: state.phase + 1]:
            self.train_step.start_phase(phase)
        self.train_step.restore(snapshot.tensors)
        return state

    def restore_newest(self) -> TrainState | None:
        """Resume from the newest sound checkpoint; None where there is none.

        Raises:
            RunError: it is of other pictures, of another recipe, or of another version of kilat.
        """
        found = self.checkpoints.newest()
        if found is None:
            return None
        step, snapshot, notes = found
        try:
            self._require_same(snapshot.document["fingerprint"])
            state = self.restore(snapshot)
        except torch.OutOfMemoryError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise RunError(
                _("The checkpoint of step {step:,} was not written by this version of kilat.").format(step=step),
                hint=_("Go on with the version that wrote it, or start a new run without --resume."),
            ) from error
        state.notes += notes
        if self.checkpoints.at(state.rollback_step) is None:  # it is damaged; this is the next best to roll back to
            state.rollback_step = step
        return state

    def _require_same(self, begun: dict[str, str]) -> None:
        now = self.train_step.spec.fingerprint
        hint = _("Restore what it was started with, or start a new run without --resume.")
        if begun["pictures"] != now["pictures"]:
            message = _("Training cannot be resumed: its pictures, or how they are split, have changed since it began.")
            raise RunError(message, hint=hint)
        if begun["recipe"] != now["recipe"]:
            raise RunError(_("Training cannot be resumed: its recipe has changed since it began."), hint=hint)

    def is_due(self) -> bool:
        """Return whether it is time for a checkpoint within an epoch."""
        interval = max(self.fit.checkpoint, self.seconds / _SAVING_SHARE if self.fit.checkpoint else 0.0)
        return self.now() - self.saved_at >= interval

    def save(self, state: TrainState) -> None:
        """Save a checkpoint."""
        began = self.now()
        self.checkpoints.save(state.global_step, self.snapshot(state), base=state.rollback_step)
        self.saved_at = self.now()
        self.seconds = self.saved_at - began

    def roll_back(self, state: TrainState) -> TrainState:
        """Go back to the start of the epoch, with half the learning rate.

        Raises:
            RunError: it was done too often, or the checkpoint is damaged.
        """
        epoch = len(state.history) + 1
        snapshot = self.checkpoints.at(state.rollback_step)
        if state.rollbacks == ROLLBACKS or snapshot is None:
            message = ngettext(
                "The loss is not finite in epoch {epoch}, even after {count} return to its start with half the "
                "learning rate.",
                "The loss is not finite in epoch {epoch}, even after {count} returns to its start, each with half the "
                "learning rate.",
                state.rollbacks,
            )
            raise RunError(
                message.format(epoch=epoch, count=state.rollbacks),
                hint=_("Use a lower fit.optimizer.learning_rate, or clip gradients with fit.clip.global_norm=1."),
            )
        return replace(
            self.restore(snapshot),
            notes=[*state.notes, Note("loss_not_finite", {"epoch": epoch})],  # those of this epoch as well
            global_step=state.global_step + 1,  # the number of a checkpoint must rise, although no update counts
            lr_scale=state.lr_scale / 2,
            rollbacks=state.rollbacks + 1,
        )
