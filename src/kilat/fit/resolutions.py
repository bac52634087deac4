"""Progressive resizing: training on smaller pictures first and larger ones later."""

from collections.abc import Callable, Sequence
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional

from kilat.errors import RecipeError
from kilat.locale import _
from kilat.locale.notes import Note


def in_pixels(sides: Sequence[float], size: int) -> list[int]:
    """Return sides in pixels: whole numbers above 1 are, others are shares of the size of the network's input."""
    return [side if isinstance(side, int) and side > 1 else max(1, round(side * size)) for side in sides]


def side_of_epoch(sides: Sequence[int], epoch: int, epochs: int) -> int:
    """Return the side in pixels of an epoch's pictures: one after the other, in equal shares of the epochs.

    Args:
        sides: of the pictures, at least one.
        epoch: which epoch of the phase, from 0.
        epochs: how many the phase has.
    """
    return sides[min(epoch * len(sides) // epochs, len(sides) - 1)]


def relative_cost(sides: Sequence[int], epoch: int, epochs: int) -> float:
    """Return how many times as long as in this epoch an update takes on average from now on, by the pictures' area."""
    remaining = [side_of_epoch(sides, each, epochs) for each in range(epoch, max(epochs, epoch + 1))]
    return fmean(side**2 for side in remaining) / remaining[0] ** 2


def resize(planes: Tensor, side: int) -> Tensor:
    """Return planes ``[n, channels, side, side]``, antialiased; the same tensor where it has that size."""
    if planes.shape[-1] == side:
        return planes
    return functional.interpolate(planes, (side, side), mode="bilinear", align_corners=False, antialias=True)


def check_sides(logits: Callable[[Tensor], Tensor], sides: Sequence[int], device: str) -> None:
    """Check that a network takes pictures of every size.

    Args:
        logits: of the network in inference mode: float planes ``[n, 3, side, side]`` to logits.
        sides: in pixels.
        device: where the network is.

    Raises:
        RecipeError: it cannot take one of them.
    """
    for side in sides:
        try:
            with torch.no_grad():
                logits(torch.zeros(1, 3, side, side, device=device))
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RecipeError(
                _("fit.resolution: {side}: the network does not take pictures of {side} pixels ({reason}).").format(
                    side=side, reason=reason
                ),
                hint=_(
                    "Leave fit.resolution empty, choose other sizes, or end the network's map with global_avg_pool "
                    "instead of flatten."
                ),
            ) from error


def enlarged_notes(sides: Sequence[int], size: int) -> list[Note]:
    """Return a note where training enlarges pictures beyond the size at which they are read."""
    largest = max(sides, default=0)
    return [Note("resolution_enlarged", {"size": size, "largest": largest})] if largest > size else []
