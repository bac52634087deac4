"""Normalisation of a network's input: means and standard deviations of the training pictures' pixels."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from kilat.fit.loader import Pictures, Rows
from kilat.model.image_model import LUMA

_BATCH = 64
_LUMA = [round(1000 * weight) for weight in LUMA]


@dataclass(frozen=True)
class Normaliser:
    """What is subtracted from pixels of 0 to 255, and what they are then divided by: one value, or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def is_near(self, other: "Normaliser") -> bool:
        """Return whether pixels come out alike: deviations within a factor of two, means within a deviation."""
        values = np.broadcast_arrays(self.mean, self.std, other.mean, other.std)
        return all(
            other_std / 2 <= std <= 2 * other_std and abs(mean - other_mean) <= other_std
            for mean, std, other_mean, other_std in zip(*values, strict=True)
        )


def fit_normaliser(
    kind: Literal["scale", "zscore", "channel_zscore", "none"],
    pictures: Pictures,
    rows: Rows,
    *,
    colour: Literal["rgb", "grey"],
    batch: int = _BATCH,
) -> Normaliser:
    """Return means and (population) standard deviations of the pixels of some pictures.

    Sums are of whole numbers, so the result does not depend, to the bit, on the order of the pictures or on how they
    are loaded. A constant channel has a standard deviation of 1.

    Args:
        kind: ``scale`` to 0..1; ``zscore`` by one mean and standard deviation of all values; ``channel_zscore`` by
            those of each channel; ``none`` for pixels as they are.
        pictures: that are loaded.
        rows: the training pictures, ``[n]``.
        colour: ``grey`` for statistics of the one channel that ``kilat.fit.augment.colour.grey`` gives.
        batch: how many pictures are read together.
    """
    if kind in ("scale", "none"):
        return Normaliser((0.0,), (255.0 if kind == "scale" else 1.0,))
    moments = _moments(pictures, np.sort(rows), colour == "grey", batch)
    if kind == "zscore":
        moments = [(sum(m[0] for m in moments), sum(m[1] for m in moments), sum(m[2] for m in moments))]
    mean, std = zip(*(_mean_and_std(*moment, 1000 if colour == "grey" else 1) for moment in moments), strict=True)
    return Normaliser(mean, std)


def _moments(pictures: Pictures, rows: Rows, grey: bool, batch: int) -> list[tuple[int, int, int]]:
    """Return count, sum and sum of squares of each channel; grey is counted in thousandths."""
    totals = np.zeros((1 if grey else 3, 3), object)  # Python's own integers: 64 bits are enough for a batch only
    for pixels in pictures.batches([rows[start : start + batch] for start in range(0, len(rows), batch)]):
        values = pixels.flatten(0, -2).long()
        if grey:
            values = (values * torch.tensor(_LUMA, device=values.device)).sum(1, keepdim=True)
        sums = torch.stack([torch.full_like(values[0], len(values)), values.sum(0), (values * values).sum(0)], 1)
        totals += sums.cpu().numpy().astype(object)
    return [(int(count), int(first), int(second)) for count, first, second in totals]


def _mean_and_std(count: int, total: int, squares: int, unit: int) -> tuple[float, float]:
    variance = (count * squares - total * total) / (count * count)
    return total / (count * unit), math.sqrt(variance) / unit if variance else 1.0
