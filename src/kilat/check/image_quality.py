"""Pictures that stand out: uniform, blurred, tiny, dark, light, very long, rotated, grey, or unlike the others.

A picture stands out when it is both far from the rest of its set (in robust standard deviations: the median, and the
median distance from it) and bad by itself. So a set that is dark, grey or tiny as a whole raises nothing, nor does one
in which all pictures are much alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.check.finding import Finding, Severity
from kilat.check.orientation import find_rotated
from kilat.data.image_stats import QUANTILES
from kilat.runtime.array_types import Doubles, Flags, Ints

Outliers = tuple[Ints, Sequence[Mapping[str, Any]]]
"""Positions of pictures among the used ones, the worst first, and what the caption of each names."""

FAR = 3.5
"""Robust standard deviations from the median (Iglewicz and Hoaglin 1993)."""

TINY = 64
"""Pixels of the shorter side; besides a third of the set's median."""

FLAT = 0.12
"""Nearly all pixels lie within this range of luminance (0 to 1): almost uniform."""

BLURRED = 0.12
"""``peak_sharpness`` of a picture that is out of focus all over."""

DARK, LIGHT = 0.4, 0.6
"""Luminance that 99% of an underexposed picture stay below, and of an overexposed one above."""

LONG = 3.0
"""Longer side over the shorter."""

GREY = 2.0
"""A picture with less colourfulness is grey."""

FEW = 20
"""Of fewer pictures, none is an outlier."""

_SEVERITIES: dict[str, Severity] = {
    "uniform": "warning",
    "rotated": "warning",
    "blurred": "warning",
    "tiny": "warning",
    "underexposed": "warning",
    "overexposed": "warning",
    "extreme_aspect": "warning",
    "grey": "note",
    "coloured": "note",
    "exif_rotated": "note",
    "outlier": "warning",
}
"""The ways in which pictures stand out, in the order of the findings."""


def find(
    table: pd.DataFrame, image_stats: NDArray[np.void], distances: NDArray[np.floating] | None = None
) -> list[Finding]:
    """Return one finding for each way in which pictures stand out, the worst picture of each first.

    Args:
        table: the catalog's.
        image_stats: ``kilat.data.image_stats.IMAGE_STATS``, one record a row of the table.
        distances: of each row to its nearest neighbours in the space of the features; NaN where unknown.
    """
    rows = np.flatnonzero(table["status"] == "used")
    if not len(rows):
        return []
    stats = image_stats[rows]
    found = _by_tones(stats) | _by_size(stats) | _by_rotation(table["digest"].iloc[rows], stats)
    grey = np.asarray(stats["colourfulness"], np.float64) < GREY
    rare_colour, rare = ("grey", grey) if grey.mean() <= 0.5 else ("coloured", ~grey)
    found[rare_colour] = np.flatnonzero(rare), []
    if distances is not None:
        found["outlier"] = _far_from_neighbours(distances[rows])
    findings = []
    for kind, severity in _SEVERITIES.items():
        positions, captions = found.get(kind, ((), ()))
        if len(positions):
            worst = rows[positions]
            values = {"count": len(worst), "path": str(table["path"].iloc[worst[0]])}
            findings.append(Finding(kind, severity, values, tuple((row,) for row in worst.tolist()), tuple(captions)))
    return findings


def robust_z(values: NDArray[np.floating]) -> Doubles:
    """Return distances from the median in robust standard deviations; infinite beside values that are all the same.

    The standard deviation is the larger of 1.4826 times the median distance and 0.741 times the range of the middle
    half.
    """
    values = np.asarray(values, np.float64)
    low, median, high = np.nanquantile(values, [0.25, 0.5, 0.75])
    deviation = max(1.4826 * float(np.nanmedian(np.abs(values - median))), 0.7413 * (high - low))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (values - median) / deviation
    return np.where(values == median, 0.0, z)


def _below_median(values: Doubles, share: float = 0.5) -> Flags:
    """Return which values are less than a share of the median.

    In a set of pictures that are much alike, far from the rest is not yet different.
    """
    below: Flags = values < np.median(values) * share
    return below


def _worst_first(mask: Flags, badness: NDArray[Any], captions: Sequence[Mapping[str, Any]]) -> Outliers:
    positions = np.flatnonzero(mask)
    positions = positions[np.argsort(-badness[positions], kind="stable")]
    return positions, [captions[i] for i in positions.tolist()]


def _named(name: str, values: Doubles) -> list[dict[str, float]]:
    """Return the values of captions with one number in them."""
    return [{name: value} for value in values.tolist()]


def _quantile(stats: NDArray[np.void], share: float) -> Doubles:
    """Return a quantile of the luminance within every picture."""
    return np.asarray(stats["quantiles"][:, QUANTILES.index(share)], np.float64)


def _by_tones(stats: NDArray[np.void]) -> dict[str, Outliers]:
    """Return the pictures that are uniform, and of the others those that are blurred, underexposed or overexposed."""
    dark, bright = _quantile(stats, 0.01), _quantile(stats, 0.99)
    spread = bright - dark
    uniform = (spread < FLAT) & _below_median(spread) & (robust_z(np.log(spread + 0.01)) < -FAR)

    sharpness = np.asarray(stats["peak_sharpness"], np.float64)
    z = robust_z(np.log(sharpness + 1e-3))
    blurred = (sharpness < BLURRED) & _below_median(sharpness, 0.25) & (z < -FAR / 1.5) & ~uniform
    median = max(float(np.median(sharpness)), 1e-9)

    strongest = stats["colour_grid"].max(axis=(1, 2, 3)) / 255  # a red rose has little luminance and is not dark
    is_dark = (bright < DARK) & (strongest < DARK)
    underexposed = is_dark & _below_median(bright) & (robust_z(bright) < -FAR) & ~uniform
    overexposed = (dark > LIGHT) & _below_median(1 - dark) & (robust_z(dark) > FAR) & ~uniform
    return {
        "uniform": _worst_first(uniform, -spread, _named("share", spread)),
        "blurred": _worst_first(blurred, -sharpness, _named("share", sharpness / median)),
        "underexposed": _worst_first(underexposed, -bright, _named("brightness", bright)),
        "overexposed": _worst_first(overexposed, dark, _named("brightness", dark)),
    }


def _by_size(stats: NDArray[np.void]) -> dict[str, Outliers]:
    """Return the pictures that are tiny, and those that are very long or very tall."""
    width, height = stats["width"], stats["height"]
    sizes = [{"width": w, "height": h} for w, h in zip(width.tolist(), height.tolist(), strict=True)]
    side = np.minimum(width, height).astype(np.int64)
    aspect = np.log(np.maximum(width, 1) / np.maximum(height, 1))
    extreme = (np.abs(aspect) >= np.log(LONG)) & (np.abs(robust_z(aspect)) > FAR)
    return {
        "tiny": _worst_first((side < TINY) & (side < np.median(side) / 3), -side, sizes),
        "extreme_aspect": _worst_first(extreme, np.abs(aspect), sizes),
    }


def _by_rotation(digests: "pd.Series[str]", stats: NDArray[np.void]) -> dict[str, Outliers]:
    """Return the pictures that are not upright, and those that EXIF data rotate."""
    first = np.flatnonzero(~digests.duplicated() | (digests == ""))  # of byte-identical pictures one takes part
    rotated, degrees, _share = find_rotated(stats[first])
    exif_rotated = np.flatnonzero(stats["orientation"] > 1)
    return {
        "rotated": (first[rotated], [{"degrees": value} for value in degrees.tolist()]),
        "exif_rotated": (exif_rotated, [{"orientation": n} for n in stats["orientation"][exif_rotated].tolist()]),
    }


def _far_from_neighbours(distances: NDArray[np.floating]) -> Outliers:
    known = np.isfinite(distances)
    if known.sum() < FEW:
        return np.zeros(0, np.int64), []
    values = np.where(known, distances, np.nan).astype(np.float64)
    z = robust_z(np.log(np.maximum(values, 1e-9)))
    median = float(np.nanmedian(values))
    ratio = values / median if median else np.zeros_like(values)
    return _worst_first(known & (z > FAR), np.nan_to_num(z), _named("ratio", ratio))
