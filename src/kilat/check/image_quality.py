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
    uniform = _uniform(stats)
    rare_colour, outliers_of_colour = _rare_colour(stats)
    found: list[tuple[str, Severity, Outliers]] = [
        ("uniform", "warning", uniform),
        ("rotated", "warning", _rotated(table["digest"].iloc[rows], stats)),
        ("blurred", "warning", _blurred(stats, uniform)),
        ("tiny", "warning", _tiny(stats)),
        ("underexposed", "warning", _underexposed(stats, uniform)),
        ("overexposed", "warning", _overexposed(stats, uniform)),
        ("extreme_aspect", "warning", _extreme_aspect(stats)),
        (rare_colour, "note", outliers_of_colour),
        ("exif_rotated", "note", _exif_rotated(stats)),
    ]
    if distances is not None:
        found.append(("outlier", "warning", _far_from_neighbours(distances[rows])))
    findings = []
    for kind, severity, (positions, captions) in found:
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
    """Less than a share of the median: in a set of pictures much alike, far from the rest is not yet different."""
    below: Flags = values < np.median(values) * share
    return below


def _worst_first(mask: Flags, badness: NDArray[Any], captions: Sequence[Mapping[str, Any]]) -> Outliers:
    positions = np.flatnonzero(mask)
    positions = positions[np.argsort(-badness[positions], kind="stable")]
    return positions, [captions[i] for i in positions.tolist()]


def _named(name: str, values: Doubles) -> list[dict[str, float]]:
    """The values of a caption with one number in it."""
    return [{name: value} for value in values.tolist()]


def _sizes(stats: NDArray[np.void]) -> list[dict[str, int]]:
    return [
        {"width": width, "height": height}
        for width, height in zip(stats["width"].tolist(), stats["height"].tolist(), strict=True)
    ]


def _quantile(stats: NDArray[np.void], share: float) -> Doubles:
    """A quantile of the luminance within every picture."""
    return np.asarray(stats["quantiles"][:, QUANTILES.index(share)], np.float64)


def _uniform(stats: NDArray[np.void]) -> Outliers:
    spread = _quantile(stats, 0.99) - _quantile(stats, 0.01)
    mask = (spread < FLAT) & _below_median(spread) & (robust_z(np.log(spread + 0.01)) < -FAR)
    return _worst_first(mask, -spread, _named("share", spread))


def _blurred(stats: NDArray[np.void], uniform: Outliers) -> Outliers:
    sharpness = np.asarray(stats["peak_sharpness"], np.float64)
    mask = (sharpness < BLURRED) & _below_median(sharpness, 0.25) & (robust_z(np.log(sharpness + 1e-3)) < -FAR / 1.5)
    mask[uniform[0]] = False
    median = max(float(np.median(sharpness)), 1e-9)
    return _worst_first(mask, -sharpness, _named("share", sharpness / median))


def _tiny(stats: NDArray[np.void]) -> Outliers:
    side = np.minimum(stats["width"], stats["height"]).astype(np.int64)
    return _worst_first((side < TINY) & (side < np.median(side) / 3), -side, _sizes(stats))


def _underexposed(stats: NDArray[np.void], uniform: Outliers) -> Outliers:
    bright = _quantile(stats, 0.99)
    strongest = stats["colour_grid"].max(axis=(1, 2, 3)) / 255  # a red rose has little luminance and is not dark
    mask = (bright < DARK) & (strongest < DARK) & _below_median(bright) & (robust_z(bright) < -FAR)
    mask[uniform[0]] = False
    return _worst_first(mask, -bright, _named("brightness", bright))


def _overexposed(stats: NDArray[np.void], uniform: Outliers) -> Outliers:
    dark = _quantile(stats, 0.01)
    mask = (dark > LIGHT) & _below_median(1 - dark) & (robust_z(dark) > FAR)
    mask[uniform[0]] = False
    return _worst_first(mask, dark, _named("brightness", dark))


def _extreme_aspect(stats: NDArray[np.void]) -> Outliers:
    aspect = np.log(np.maximum(stats["width"], 1) / np.maximum(stats["height"], 1))
    long = np.abs(aspect) >= np.log(LONG)
    return _worst_first(long & (np.abs(robust_z(aspect)) > FAR), np.abs(aspect), _sizes(stats))


def _far_from_neighbours(distances: NDArray[np.floating]) -> Outliers:
    known = np.isfinite(distances)
    if known.sum() < FEW:
        return np.zeros(0, np.int64), []
    values = np.where(known, distances, np.nan).astype(np.float64)
    z = robust_z(np.log(np.maximum(values, 1e-9)))
    median = float(np.nanmedian(values))
    ratio = values / median if median else np.zeros_like(values)
    return _worst_first(known & (z > FAR), np.nan_to_num(z), _named("ratio", ratio))


def _rare_colour(stats: NDArray[np.void]) -> tuple[str, Outliers]:
    """Whichever is rarer, grey or coloured pictures; none where only one of both occurs."""
    grey = np.asarray(stats["colourfulness"], np.float64) < GREY
    kind, mask = ("grey", grey) if grey.mean() <= 0.5 else ("coloured", ~grey)
    return kind, (np.flatnonzero(mask), [])


def _exif_rotated(stats: NDArray[np.void]) -> Outliers:
    positions = np.flatnonzero(stats["orientation"] > 1)
    return positions, [{"orientation": value} for value in stats["orientation"][positions].tolist()]


def _rotated(digests: "pd.Series[str]", stats: NDArray[np.void]) -> Outliers:
    """Pictures that are not upright; of byte-identical ones only the first takes part."""
    first = np.flatnonzero(~digests.duplicated() | (digests == ""))
    positions, degrees = find_rotated(stats[first])[:2]
    return first[positions], [{"degrees": value} for value in degrees.tolist()]
