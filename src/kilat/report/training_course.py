"""The course of a training by gradient in a few numbers, and how its curves read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from kilat.locale import _
from kilat.report.curves import column
from kilat.report.template import percent

_FLAT = 0.02
"""Losses that differ by no more than this share are called equal."""

_ANNEALED = 0.15
"""A loss that fell by less than this share in the last fifth of the epochs had nearly come to rest."""


@dataclass(frozen=True)
class Course:
    """What a training's history comes to; validation losses, and accuracies in the epoch that was kept.

    Args:
        epochs: the number of the last epoch.
        best: the one that was kept.
        first_loss: after the first epoch.
        best_loss: in the epoch that was kept.
        last_loss: after the last epoch.
        worst_loss: the highest.
        recent_fall: the share by which the loss fell in the last fifth of the epochs.
        training_accuracy: None where it was not measured.
        validation_accuracy: None where it was not measured.
    """

    epochs: int
    best: int
    first_loss: float
    best_loss: float
    last_loss: float
    worst_loss: float
    recent_fall: float
    training_accuracy: float | None
    validation_accuracy: float | None

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, float]], best: int | None = None) -> Self | None:
        """Return the course of a history; None without validation losses.

        Args:
            rows: one an epoch (``kilat.report.curves.history``).
            best: the epoch that was kept; without it, the one with the lowest validation loss.
        """
        epochs, losses = column(rows, "validation_loss")
        if not len(epochs):
            return None
        kept = int(losses.argmin()) if best is None or best not in epochs else epochs.tolist().index(best)
        before = losses[-1 - min(max(1, len(losses) // 5), len(losses) - 1)]
        at_best = next(row for row in rows if row["epoch"] == epochs[kept])
        shares = {key: values[1].tolist() for key in ("accuracy", "validation_accuracy")
                  if len((values := column([at_best], key))[1])}  # fmt: skip
        return cls(
            epochs=int(epochs[-1]),
            best=int(epochs[kept]),
            first_loss=float(losses[0]),
            best_loss=float(losses[kept]),
            last_loss=float(losses[-1]),
            worst_loss=float(losses.max()),
            recent_fall=float((before - losses[-1]) / before) if before > 0 else 0.0,
            training_accuracy=next(iter(shares.get("accuracy", [])), None),
            validation_accuracy=next(iter(shares.get("validation_accuracy", [])), None),
        )

    @property
    def is_falling(self) -> bool:
        """Whether the validation loss was still falling clearly when training ended."""
        return self.epochs >= 3 and self.best == self.epochs and self.recent_fall > _ANNEALED

    @property
    def jumped(self) -> bool:
        """Whether the validation loss was at some time far higher than after the first epoch."""
        return self.worst_loss > 5 * self.first_loss

    @property
    def rose(self) -> bool:
        """Whether the validation loss rose again after the epoch that was kept."""
        return self.best < self.epochs and self.last_loss > self.best_loss * (1 + _FLAT)

    def sentences(self) -> list[str]:
        """Return how the curves read."""
        if self.epochs == 1:
            return []
        if self.jumped:
            text = _(
                "The validation loss jumped, from {first:.3g} after the first epoch to {worst:.3g}, which a lower "
                "learning rate avoids; it was {best:.3g} in epoch {epoch}, whose weights were kept."
            )
        elif self.rose:
            text = _(
                "The validation loss went from {first:.3g} to {best:.3g} in epoch {epoch} and rose again to {last:.3g} "
                "by epoch {epochs}: from there on the network learned what holds for the training pictures alone. The "
                "weights of epoch {epoch} were kept."
            )
        elif self.is_falling:
            text = _(
                "The validation loss went from {first:.3g} to {best:.3g} and was still falling in epoch {epoch}, the "
                "last: more epochs are likely to help."
            )
        else:
            text = _(
                "The validation loss went from {first:.3g} to {best:.3g} in epoch {epoch} of {epochs} and had come to "
                "rest by then."
            )
        losses = {"first": self.first_loss, "best": self.best_loss, "last": self.last_loss, "worst": self.worst_loss}
        sentences = [text.format(epoch=self.best, epochs=self.epochs, **losses)]
        if self.training_accuracy is not None and self.validation_accuracy is not None:
            both = _(
                "In that epoch {training} of training pictures and {validation} of validation pictures were right."
            )
            sentences.append(
                both.format(training=percent(self.training_accuracy), validation=percent(self.validation_accuracy))
            )
        return sentences
