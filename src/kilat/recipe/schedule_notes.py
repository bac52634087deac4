"""What a schedule asks for and its training is too short for: as notes, since nothing else would show it."""

from kilat.locale.notes import Note
from kilat.recipe.fit import Cosine, Fit, Linear, Performance, Piecewise


def unreached(fit: Fit, steps_per_epoch: int) -> list[Note]:
    """Return a note where a warm-up is never over, or where a rate is to fall and cannot.

    Args:
        fit: how the training goes.
        steps_per_epoch: updates an epoch, for a recipe with ``min_steps``.
    """
    lengths = [fit.epochs_of(phase, steps_per_epoch) for phase in fit.all_phases]
    match fit.schedule:
        case Cosine(warmup=warmup) | Linear(warmup=warmup) if warmup >= min(lengths):
            return [Note("schedule_warmup_unfinished", {"warmup": warmup, "epochs": min(lengths)})]
        # The first epoch always counts as progress, and a rate falls with the epoch after those without any.
        case Performance(patience=patience) if max(lengths) < max(1, patience) + 2:
            return [Note("schedule_cannot_fall", {"patience": patience, "epochs": max(lengths)})]
        case Piecewise(boundaries=boundaries) if boundaries and boundaries[-1] >= max(lengths):
            first = next(boundary for boundary in boundaries if boundary >= max(lengths))
            return [Note("schedule_boundary_unreached", {"boundary": first, "epochs": max(lengths)})]
        case _:
            return []
