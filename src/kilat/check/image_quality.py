"""What is odd in the pictures or in how many there are: unreadable, tiny, blurred, dark, turned, unlike the others.

A picture is odd when it is both far from the rest of its set (in robust standard deviations: the median, and the median
distance from it) and bad by itself. So a set that is dark, grey or tiny as a whole raises nothing, nor does one in
which all pictures are much alike.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.check.finding import Finding, Severity
from kilat.check.orientation import turned
from kilat.data.image_stats import QUANTILES
from kilat.locale import _

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Odd = tuple[Integers, list[str]]
"""Places of odd pictures among the used ones, the oddest first, and a caption for each."""


@dataclass(frozen=True)
class Words:
    """How a kind of oddity is spoken of: of one picture, of many, and what to do."""

    kind: str
    severity: Severity
    one: str
    many: str
    advice: str


FAR = 3.5
"""Robust standard deviations from the median (Iglewicz and Hoaglin 1993)."""

TINY = 64
"""Pixels of the shorter side; besides a third of the set's median."""

FLAT = 0.12
"""Nearly all pixels lie within this range of luminance (0 to 1): almost uniform."""

BLURRED = 0.12
"""``focus`` in the facts of a picture that is out of focus all over."""

DARK, LIGHT = 0.4, 0.6
"""Luminance that 99% of an under-exposed picture stay below, and of an over-exposed one above."""

LONG = 3.0
"""Longer side over the shorter."""

GREY = 2.0
"""Less colourfulness is a grey picture."""

UNEVEN = 10
"""The largest class over the smallest."""

FEW = 20
"""Pictures in a class that are few to learn from, and to be measured on."""


_FLAT_WORDS = Words(
    "uniform",
    "look",
    _("One picture is almost of one tone: there is next to nothing to see on it."),
    _("{n} pictures are almost of one tone: there is next to nothing to see on them."),
    _("Take them out unless that is what the class looks like."),
)
_BLURRED_WORDS = Words(
    "blurred",
    "look",
    _("One picture is out of focus all over, far more so than the rest."),
    _("{n} pictures are out of focus all over, far more so than the rest."),
    _("Replace them if the subject cannot be told; keep them if such pictures will be asked about later."),
)
_TINY_WORDS = Words(
    "tiny",
    "look",
    _("One picture is tiny beside the rest."),
    _("{n} pictures are tiny beside the rest."),
    _("They may be previews that came in by mistake: put the originals in their place."),
)
_DARK_WORDS = Words(
    "underexposed",
    "look",
    _("One picture is under-exposed: even its bright parts are dark."),
    _("{n} pictures are under-exposed: even their bright parts are dark."),
    _("Brighten or replace them if the subject cannot be told."),
)
_LIGHT_WORDS = Words(
    "overexposed",
    "look",
    _("One picture is over-exposed: even its dark parts are light."),
    _("{n} pictures are over-exposed: even their dark parts are light."),
    _("Replace them if the subject cannot be told."),
)
_LONG_WORDS = Words(
    "extreme_aspect",
    "look",
    _("One picture is very long or very tall beside the rest."),
    _("{n} pictures are very long or very tall beside the rest."),
    _("Cut them to the subject: the network sees a square, and loses much of them."),
)
_TURNED_WORDS = Words(
    "turned",
    "look",
    _("One picture seems to lie on its side or stand on its head."),
    _("{n} pictures seem to lie on their side or stand on their head."),
    _("Turn them by the angle given if they are wrong."),
)
_GREY_WORDS = Words(
    "grey",
    "note",
    _("One picture is grey among coloured ones."),
    _("{n} pictures are grey among coloured ones."),
    _("That is well if grey pictures will be asked about later; else replace them."),
)
_COLOURED_WORDS = Words(
    "coloured",
    "note",
    _("One picture is coloured among grey ones."),
    _("{n} pictures are coloured among grey ones."),
    _("Turn them to grey, or leave them if coloured pictures will be asked about later."),
)
_STORED_WORDS = Words(
    "stored_turned",
    "note",
    _("One picture is stored turned, and its EXIF data say so."),
    _("{n} pictures are stored turned, and their EXIF data say so."),
    _("kilat turns them upright; see that other programs that read them do the same."),
)
_OUTLYING_WORDS = Words(
    "outlier",
    "look",
    _("One picture is unlike all the others."),
    _("{n} pictures are unlike all the others."),
    _("Look whether they belong to the set at all."),
)


def find(table: pd.DataFrame, facts: NDArray[np.void], distances: NDArray[np.floating] | None = None) -> list[Finding]:
    """Everything odd.

    Args:
        table: the catalog's.
        facts: ``kilat.data.image_stats.IMAGE_STATS``, one record a row of the table.
        distances: of each row to its nearest neighbours in the space of the features; NaN where unknown.

    Returns:
        One finding for each kind of oddity, the pictures in it from the oddest on.
    """
    rows = np.flatnonzero(table["status"] == "used")
    used = facts[rows]
    found = [*_refused(table), *_counts(table)]
    if len(rows):
        flat = _flat(used)
        found += [
            *_single(rows, flat, _FLAT_WORDS),
            *_turned(table, rows, used),
            *_single(rows, _blurred(used, flat), _BLURRED_WORDS),
            *_single(rows, _tiny(used), _TINY_WORDS),
            *_single(rows, _dark(used, flat), _DARK_WORDS),
            *_single(rows, _light(used, flat), _LIGHT_WORDS),
            *_single(rows, _long(used), _LONG_WORDS),
            *_grey(rows, used),
            *_stored_turned(rows, used),
        ]
        if distances is not None:
            found += _single(rows, _outlying(distances[rows]), _OUTLYING_WORDS)
    return found


def _refused(table: pd.DataFrame) -> list[Finding]:
    """The refused pictures, those with the same reason together."""
    status = table["status"]
    rows = np.flatnonzero(status != "used")
    if not len(rows):
        return []
    reasons: dict[str, list[int]] = {}
    for row, reason in zip(rows.tolist(), status.iloc[rows].str.removeprefix("refused: "), strict=True):
        reasons.setdefault(re.sub(r"\d+", "…", reason), []).append(row)
    ranked = sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    title = (
        _("One picture of {n} cannot be used.")
        if len(rows) == 1
        else _("{refused:,} pictures of {n:,} cannot be used.")
    )
    return [
        Finding(
            "refused",
            "look",
            title.format(refused=len(rows), n=len(table)),
            _("Replace or delete them; they take part in nothing."),
            tuple(tuple(rows) for _reason, rows in ranked),
            tuple(reason for reason, _rows in ranked),
            {"reasons": {reason: len(rows) for reason, rows in ranked}},
        )
    ]


def _counts(table: pd.DataFrame) -> list[Finding]:
    """Classes of very different sizes, and classes with few pictures."""
    named = table[(table["status"] == "used") & (table["label"] != "")]
    counts = named["label"].value_counts().sort_index().sort_values(kind="stable")
    found = []
    if len(counts) > 1 and counts.iloc[-1] >= UNEVEN * counts.iloc[0]:
        title = _("“{large}” has {most:,} pictures, “{small}” {least:,}: {times:.0f} times as many.").format(
            large=counts.index[-1],
            most=counts.iloc[-1],
            small=counts.index[0],
            least=counts.iloc[0],
            times=counts.iloc[-1] / counts.iloc[0],
        )
        advice = _(
            "Collect more of the small classes, and go by balanced accuracy, in which every class counts the same."
        )
        found.append(Finding("imbalance", "look", title, advice, facts={"counts": _as_numbers(counts)}))
    few = counts[counts < FEW]
    if len(few):
        names = _listed([f"“{label}” ({count})" for label, count in few.items()])
        title = (
            _("One class has fewer than {few} pictures: {names}.")
            if len(few) == 1
            else _("{n:,} classes have fewer than {few} pictures: {names}.")
        ).format(n=len(few), few=FEW, names=names)
        advice = _("Collect more: that is little to learn from, and what is measured on it says next to nothing.")
        found.append(Finding("few_pictures", "look", title, advice, facts={"counts": _as_numbers(few)}))
    return found


def _as_numbers(counts: "pd.Series[int]") -> dict[str, int]:
    return {str(label): int(count) for label, count in counts.items()}


def _listed(names: Sequence[str]) -> str:
    if len(names) <= 5:
        return ", ".join(names)
    return _("{shown} and {n:,} more").format(shown=", ".join(names[:5]), n=len(names) - 5)


def _single(rows: Integers, odd: Odd, words: Words) -> list[Finding]:
    """A finding of single pictures, or none."""
    at, captions = odd
    if not len(at):
        return []
    title = words.one if len(at) == 1 else words.many.format(n=f"{len(at):,}")
    groups = tuple((int(row),) for row in rows[at])
    return [Finding(words.kind, words.severity, title, words.advice, groups, tuple(captions))]


def robust(values: NDArray[np.floating]) -> Floats:
    """Distances from the median in robust standard deviations; infinite beside values that are all the same.

    The usual distance is the larger of 1.4826 times the median one and 0.741 times the range of the middle half.
    """
    values = np.asarray(values, np.float64)
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
    usual = max(1.4826 * float(np.nanmedian(np.abs(values - middle))), 0.7413 * (high - low))
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (values - middle) / usual
    return np.where(values == middle, 0.0, far)


def _below(values: Floats, share: float = 0.5) -> NDArray[np.bool_]:
    """Less than a share of what is usual: in a set of pictures much alike, far from the rest is not yet different."""
    below: NDArray[np.bool_] = values < np.median(values) * share
    return below


def _worst(mask: NDArray[np.bool_], badness: NDArray[Any], captions: Sequence[str]) -> Odd:
    at = np.flatnonzero(mask)
    at = at[np.argsort(-badness[at], kind="stable")]
    return at, [captions[i] for i in at.tolist()]


def _quantile(used: NDArray[np.void], share: float) -> Floats:
    """A quantile of the luminance within every picture."""
    return np.asarray(used["quantiles"][:, QUANTILES.index(share)], np.float64)


def _flat(used: NDArray[np.void]) -> Odd:
    spread = _quantile(used, 0.99) - _quantile(used, 0.01)
    mask = (spread < FLAT) & _below(spread) & (robust(np.log(spread + 0.01)) < -FAR)
    return _worst(mask, -spread, [_("{share:.0%} of the range of tones").format(share=s) for s in spread])


def _blurred(used: NDArray[np.void], flat: Odd) -> Odd:
    sharpness = np.asarray(used["peak_sharpness"], np.float64)
    mask = (sharpness < BLURRED) & _below(sharpness, 0.25) & (robust(np.log(sharpness + 1e-3)) < -FAR / 1.5)
    mask[flat[0]] = False
    usual = max(float(np.median(sharpness)), 1e-9)
    return _worst(mask, -sharpness, [_("sharpness {s:.1%} of the usual").format(s=s / usual) for s in sharpness])


def _tiny(used: NDArray[np.void]) -> Odd:
    side = np.minimum(used["width"], used["height"]).astype(np.int64)
    captions = [f"{width}×{height}" for width, height in zip(used["width"], used["height"], strict=True)]
    return _worst((side < TINY) & (side < np.median(side) / 3), -side, captions)


def _dark(used: NDArray[np.void], flat: Odd) -> Odd:
    bright = _quantile(used, 0.99)
    strongest = used["colour_grid"].max(axis=(1, 2, 3)) / 255  # a red rose has little luminance and is not dark
    mask = (bright < DARK) & (strongest < DARK) & _below(bright) & (robust(bright) < -FAR)
    mask[flat[0]] = False
    return _worst(mask, -bright, [_("99% of it below brightness {b:.0%}").format(b=b) for b in bright])


def _light(used: NDArray[np.void], flat: Odd) -> Odd:
    dark = _quantile(used, 0.01)
    mask = (dark > LIGHT) & _below(1 - dark) & (robust(dark) > FAR)
    mask[flat[0]] = False
    return _worst(mask, dark, [_("99% of it above brightness {b:.0%}").format(b=b) for b in dark])


def _long(used: NDArray[np.void]) -> Odd:
    aspect = np.log(np.maximum(used["width"], 1) / np.maximum(used["height"], 1))
    long = np.abs(aspect) >= np.log(LONG)
    captions = [f"{width}×{height}" for width, height in zip(used["width"], used["height"], strict=True)]
    return _worst(long & (np.abs(robust(aspect)) > FAR), np.abs(aspect), captions)


def _outlying(distances: NDArray[np.floating]) -> Odd:
    known = np.isfinite(distances)
    if known.sum() < FEW:
        return np.zeros(0, np.int64), []
    values = np.where(known, distances, np.nan)
    far = robust(np.log(np.maximum(values, 1e-9)))
    usual = float(np.nanmedian(values))
    captions = [_("{times:.1f} times the usual distance").format(times=d / usual if usual else 0) for d in values]
    return _worst(known & (far > FAR), np.nan_to_num(far), captions)


def _grey(rows: Integers, used: NDArray[np.void]) -> list[Finding]:
    """Whichever is rarer, grey or coloured pictures, where both occur."""
    colourfulness = np.asarray(used["colourfulness"], np.float64)
    grey = colourfulness < GREY
    words, mask = (_GREY_WORDS, grey) if grey.mean() <= 0.5 else (_COLOURED_WORDS, ~grey)
    at = np.flatnonzero(mask)
    return _single(rows, (at, [""] * len(at)), words)


def _stored_turned(rows: Integers, used: NDArray[np.void]) -> list[Finding]:
    at = np.flatnonzero(used["orientation"] > 1)
    captions = [_("EXIF orientation {o}").format(o=o) for o in used["orientation"][at]]
    return _single(rows, (at, captions), _STORED_WORDS)


def _turned(table: pd.DataFrame, rows: Integers, used: NDArray[np.void]) -> list[Finding]:
    """Pictures that are not upright; of byte-identical twins only the first is asked about."""
    first = np.flatnonzero(~table["digest"].iloc[rows].duplicated() | (table["digest"].iloc[rows] == ""))
    at, degrees, _share = turned(used[first])
    captions = [_("turn it by {degrees}° counter-clockwise").format(degrees=d) for d in degrees]
    return _single(rows, (first[at], captions), _TURNED_WORDS)
