"""Training that looks at smaller pictures first and larger ones later (progressive resizing)."""

from collections.abc import Callable, Sequence
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional

from kilat.errors import RecipeError
from kilat.locale import _


def side_of(sides: Sequence[int], epoch: int, epochs: int) -> int:
    """The side in pixels at which an epoch looks: one after the other, in equal shares of the epochs.

    Args:
        sides: of the pictures, at least one.
        epoch: which epoch of the phase, from 0.
        epochs: how many the phase has.
    """
    return sides[min(epoch * len(sides) // epochs, len(sides) - 1)]


def dearer(sides: Sequence[int], epoch: int, epochs: int) -> float:
    """How many times as long as in this epoch an update takes on average from now on, by the area of the pictures."""
    left = [side_of(sides, each, epochs) for each in range(epoch, max(epochs, epoch + 1))]
    return fmean(side**2 for side in left) / left[0] ** 2


def resized(planes: Tensor, side: int) -> Tensor:
    """Planes ``[n, channels, side, side]``, antialiased; the same ones where they have that size."""
    if planes.shape[-1] == side:
        return planes
    return functional.interpolate(planes, (side, side), mode="bilinear", align_corners=False, antialias=True)


def require(see: Callable[[Tensor], Tensor], sides: Sequence[int], device: str) -> None:
    """Lets a network, in inference mode, look at an empty picture of every size, once.

    Args:
        see: float planes ``[n, 3, side, side]`` to logits.
        sides: in pixels.
        device: where the network is.

    Raises:
        RecipeError: it cannot take one of them.
    """
    for side in sides:
        try:
            with torch.no_grad():
                see(torch.zeros(1, 3, side, side, device=device))
        except Exception as error:
            message = _("fit.resolution: {side}: the network cannot look at pictures of {side} pixels ({reason}).")
            hint = _(
                "Leave fit.resolution empty, take sizes that it can, or end the network's map with global_avg_pool "
                "instead of flatten."
            )
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RecipeError(message.format(side=side, reason=reason), hint=hint) from error


def notes(sides: Sequence[int], held: int) -> list[str]:
    """A sentence where training looks at larger pictures than there are."""
    if max(sides, default=0) <= held:
        return []
    sentence = _("fit.resolution: pictures are held at {held} pixels; at {side} they are enlarged and show no more.")
    return [sentence.format(held=held, side=max(sides))]
