"""What is plainly wrong with the layers of a training that was watched: as notes, from how they were in its epochs."""

from collections.abc import Sequence
from itertools import groupby
from statistics import median

from kilat.fit.train_state import LayerRow
from kilat.locale.notes import Note
from kilat.recipe.network_summary import KERNELS

FAR_APART = 1_000.0
"""By how much the relative gradient of the first layer may be smaller than that of the last.

With one rate for both, the first then changes by 1% of its weights while the last has changed ten times over. The
built-in networks stay between 0.18 and 9.5 times that of the last (two epochs on digits); eight sigmoids are at 66,000.
"""

HUGE = 1_000.0
"""How large a gradient may be beside the weights: from here on even a rate of 0.001 replaces them in one update.

The built-in networks stay below 9.
"""

WHOLE = 1.0
"""An update as large as the weights that it changes leaves nothing of what they had learned.

0.001 is usual; the built-in networks stay below 0.04, those that Muon trains at 0.12.
"""

MOST = 0.5
"""The share of a layer's units that are dead, or of its values that are saturated, from which on most of it is lost."""

_ENOUGH = 16
"""Pictures from which on a unit that none of them moves is called dead."""


def layer_notes(rows: Sequence[LayerRow], pictures: int) -> list[Note]:
    """Return what is plainly wrong, at most a note of each kind.

    Args:
        rows: of all layers in all epochs.
        pictures: for how many the layers' outputs were looked at.
    """
    if not rows:
        return []
    last_epoch = [row for row in rows if row["epoch"] == rows[-1]["epoch"]]
    notes = [_vanishing(rows), _exploding(rows), _too_large(rows), _saturated(last_epoch)]
    if pictures >= _ENOUGH:
        notes.append(_dead(last_epoch, pictures))
    return [note for note in notes if note]


def _vanishing(rows: Sequence[LayerRow]) -> Note | None:
    """Compare the relative gradients of the first and the last kernel, in the middle of all epochs."""
    ends: tuple[str, str] | None = None
    ratios = []
    for _epoch, group in groupby(rows, lambda row: row["epoch"]):
        kernels = [row for row in group if row["kind"] in KERNELS and row["relative_gradient"] is not None]
        if len(kernels) > 1 and kernels[-1]["relative_gradient"]:
            ends = kernels[0]["layer"], kernels[-1]["layer"]
            ratios.append(kernels[0]["relative_gradient"] / kernels[-1]["relative_gradient"])
    if ends is None:
        return None
    ratio, values = median(ratios), {"first": ends[0], "last": ends[1]}
    if ratio == 0:
        return Note("gradients_absent", values)
    return Note("gradients_vanish", {**values, "factor": round(1 / ratio)}) if ratio < 1 / FAR_APART else None


def _exploding(rows: Sequence[LayerRow]) -> Note | None:
    """Find the kernel whose gradient is largest beside it, in the middle of all epochs."""
    kernels: dict[str, list[float]] = {}
    for row in rows:
        if row["kind"] in KERNELS and row["relative_gradient"] is not None:
            kernels.setdefault(row["layer"], []).append(row["relative_gradient"])
    factors = {layer: median(values) for layer, values in kernels.items()}
    worst = max(factors, key=lambda layer: factors[layer], default="")
    if not worst or factors[worst] <= HUGE:
        return None
    return Note("gradients_explode", {"layer": worst, "factor": round(factors[worst])})


def _too_large(rows: Sequence[LayerRow]) -> Note | None:
    kernels = [row for row in rows if row["kind"] in KERNELS and (row["relative_update"] or 0.0) > WHOLE]
    if not kernels:
        return None
    worst = max(kernels, key=lambda row: row["relative_update"])
    return Note(
        "updates_too_large", {"layer": worst["layer"], "epoch": worst["epoch"], "ratio": worst["relative_update"]}
    )


def _dead(rows: Sequence[LayerRow], pictures: int) -> Note | None:
    return _worst("units_dead", "dead_share", rows, {"pictures": pictures})


def _saturated(rows: Sequence[LayerRow]) -> Note | None:
    return _worst("units_saturated", "saturated_share", rows, {})


def _worst(code: str, column: str, rows: Sequence[LayerRow], values: dict[str, int]) -> Note | None:
    """Return a note about the layers with most of a share, named after the one with the largest."""
    found = [row for row in rows if (row[column] or 0.0) > MOST]
    if not found:
        return None
    worst = max(found, key=lambda row: row[column])
    return Note(code, {"count": len(found), "layer": worst["layer"], "share": worst[column], **values})
