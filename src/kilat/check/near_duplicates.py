"""Near-duplicates: pictures that were saved again, resized, cropped a little, mirrored or brightened, in groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.check.duplicate_pairs import PairFinder, Pairs, unique_pairs
from kilat.check.finding import Finding, Severity
from kilat.runtime.array_types import Ints, Pixels
from kilat.runtime.cores import single_threaded_blas

SERIOUS_LEAK = 0.01
"""Share of the test pictures with a near-duplicate in the training data, from which on accuracy is doubtful."""

_ROUNDS = 4
_FLATTEST = 16
"""Grey levels between the darkest and the lightest part of a picture, below which it is not compared."""

_BRIGHTER, _SMALLER = 0.04, 0.05
_MOST_SHARED = 32

_TRAINING_SPLITS = {"test": ("train", "", "validation", "calibration"), "validation": ("train", "")}
"""Of a split, the splits that its pictures must have no near-duplicates in."""

Stars = dict[int, dict[int, int]]
"""Groups of pictures by their centre; of each member, the number of its pair with the centre."""


@dataclass(frozen=True)
class NearDuplicates:
    """Groups of near-duplicates.

    Args:
        groups: rows of the catalog; first the one that all others of its group are similar to.
        correlation: of each group, that of its members with the first, 0 to 1.
        changes: of each group, what its members differ by: ``mirrored``, ``cropped``, ``brightness``.
    """

    groups: tuple[tuple[int, ...], ...]
    correlation: tuple[tuple[float, ...], ...]
    changes: tuple[tuple[str, ...], ...]


NO_NEAR_DUPLICATES = NearDuplicates((), (), ())


def find(image_stats: NDArray[np.void], used: Ints) -> NearDuplicates:
    """Find the near-duplicates among some pictures.

    Args:
        image_stats: ``kilat.data.image_stats.IMAGE_STATS`` of all rows of the catalog.
        used: the rows to compare, rising; of byte-identical pictures only one.

    Returns:
        Groups of two and more, by their first rows. Every member is similar to the first picture of its group, so that
        groups do not grow into chains.
    """
    thumbnails = image_stats["thumbnail"][used]
    rows = np.flatnonzero(np.ptp(thumbnails, axis=(1, 2)) >= _FLATTEST)
    if len(rows) < 2:
        return NO_NEAR_DUPLICATES
    with single_threaded_blas():
        finder = PairFinder(thumbnails[rows])
        pairs = finder.verify(finder.candidates(np.arange(len(rows))))
        pairs = pairs.concat(finder.verify(unique_pairs(*_pairs_with_a_common_copy(pairs), len(rows), pairs)))
        pairs = _merge_groups(finder, pairs)
    stars = _stars(pairs)
    centres = sorted(stars, key=lambda centre: min(centre, *stars[centre]))
    numbers = [np.array(list(stars[centre].values())) for centre in centres]
    return NearDuplicates(
        groups=tuple(tuple(used[rows[[centre, *stars[centre]]]].tolist()) for centre in centres),
        correlation=tuple(tuple(round(float(value), 4) for value in pairs.correlation[own]) for own in numbers),
        changes=tuple(_changes(pairs.select(own), finder.thumbnails) for own in numbers),
    )


def _pairs_with_a_common_copy(pairs: Pairs) -> tuple[Ints, Ints]:
    """Return pairs of pictures with a near-duplicate in common; of pictures with very many of them only some."""
    one, other = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for own in _neighbours(pairs).values():
        shared = np.sort(np.array(list(own)[:_MOST_SHARED]))
        left, right = np.triu_indices(len(shared), 1)
        one.append(shared[left])
        other.append(shared[right])
    return np.concatenate(one), np.concatenate(other)


def _merge_groups(finder: PairFinder, pairs: Pairs) -> Pairs:
    """Add pairs between groups whose centres are similar: a picture may have more copies than were asked for."""
    count = len(finder.thumbnails)
    for _round in range(_ROUNDS):
        stars = _stars(pairs)
        centres = np.array(sorted(stars), np.int64)
        if len(centres) < 2:
            break
        similar = finder.verify(unique_pairs(*finder.candidates(centres), count, pairs))
        if not len(similar.left):
            break
        one, other = [similar.left], [similar.right]
        for left, right in zip(similar.left.tolist(), similar.right.tolist(), strict=True):
            for centre, members in ((left, stars[right]), (right, stars[left])):
                one.append(np.full(len(members), centre))
                other.append(np.array(list(members), np.int64))
        known = pairs.concat(similar)
        pairs = known.concat(finder.verify(unique_pairs(np.concatenate(one), np.concatenate(other), count, known)))
    return pairs


def _neighbours(pairs: Pairs) -> Stars:
    """Return the near-duplicates of each picture, with the number of the pair."""
    neighbours: Stars = {}
    for number, (left, right) in enumerate(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)):
        neighbours.setdefault(left, {})[right] = number
        neighbours.setdefault(right, {})[left] = number
    return neighbours


def _stars(pairs: Pairs) -> Stars:
    """Cluster by stars: the picture with most near-duplicates is the centre of those that are in no group yet."""
    neighbours, correlation = _neighbours(pairs), pairs.correlation.tolist()
    total = {picture: sum(correlation[number] for number in own.values()) for picture, own in neighbours.items()}
    grouped: set[int] = set()
    stars: Stars = {}
    for centre in sorted(neighbours, key=lambda picture: (-len(neighbours[picture]), -total[picture], picture)):
        members = {other: number for other, number in sorted(neighbours[centre].items()) if other not in grouped}
        if centre not in grouped and members:
            grouped |= {centre, *members}
            stars[centre] = members
    return stars


def _changes(pairs: Pairs, thumbnails: Pixels) -> tuple[str, ...]:
    """Return the ways in which the members of a group differ."""
    means = [thumbnails[rows].mean((1, 2), dtype=np.float64) for rows in (pairs.left, pairs.right)]
    differs = {
        "mirrored": pairs.mirrored.any(),
        "cropped": pairs.cropped.any(),
        "brightness": (np.abs(means[0] / means[1] - 1) > _BRIGHTER).any(),
    }
    return tuple(change for change, is_there in differs.items() if is_there)


def leaked(duplicates: NearDuplicates, table: pd.DataFrame, split: str = "test") -> list[int]:
    """Return the rows of a split that have a near-duplicate in the training data, rising.

    Args:
        duplicates: among the used pictures.
        table: the catalog's.
        split: ``test``, whose pictures may have theirs in any other split, or ``validation``: in the training set.
    """
    splits = table["split"].to_numpy(object)
    return sorted(
        row
        for group in duplicates.groups
        if any(splits[row] in _TRAINING_SPLITS[split] for row in group)
        for row in group
        if splits[row] == split
    )


def findings(duplicates: NearDuplicates, table: pd.DataFrame) -> list[Finding]:
    """Return what near-duplicates mean for a training on the pictures, the worst first.

    Args:
        duplicates: among the used pictures.
        table: the catalog's, with splits filled in.
    """
    conflicting = [len(set(table["label"].iloc[list(group)])) > 1 for group in duplicates.groups]
    leaks = {split: leaked(duplicates, table, split) for split in _TRAINING_SPLITS}
    leaking = [[not set(rows).isdisjoint(group) for group in duplicates.groups] for rows in leaks.values()]
    others = [not any(flags) for flags in zip(conflicting, *leaking, strict=True)]
    test, validation = (_leak_values(duplicates, table, split, rows) for split, rows in leaks.items())
    severity: Severity = "serious" if test["count"] >= SERIOUS_LEAK * test["n"] else "warning"
    found = [
        _finding(duplicates, table, leaking[0], "leak", severity, test),
        _finding(duplicates, table, conflicting, "conflicting_duplicates", "serious", {}),
        _finding(duplicates, table, leaking[1], "validation_leak", "warning", validation),
        _finding(duplicates, table, others, "near_duplicates", "warning", {}),
    ]
    return [finding for finding in found if finding.groups]


def _leak_values(duplicates: NearDuplicates, table: pd.DataFrame, split: str, rows: list[int]) -> dict[str, Any]:
    """Return how many pictures of a split are concerned, and the first one with its near-duplicate."""
    splits = table["split"].to_numpy(object)
    values: dict[str, Any] = {"count": len(rows), "n": int(((splits == split) & (table["status"] == "used")).sum())}
    if rows:
        group = next(group for group in duplicates.groups if rows[0] in group)
        training = next(row for row in group if splits[row] in _TRAINING_SPLITS[split])
        values |= {"path": str(table["path"].iloc[rows[0]]), "other": str(table["path"].iloc[training])}
    return values


def _finding(
    duplicates: NearDuplicates,
    table: pd.DataFrame,
    concerned: Sequence[bool],
    kind: str,
    severity: Severity,
    values: dict[str, Any],
) -> Finding:
    """Return a finding about some groups, the most similar first, that names two pictures of the first one."""
    numbers = [number for number, is_concerned in enumerate(concerned) if is_concerned]
    numbers.sort(key=lambda number: (-max(duplicates.correlation[number]), duplicates.groups[number]))
    groups = tuple(duplicates.groups[number] for number in numbers)
    if not groups:
        return Finding(kind, severity)
    labels, paths = table["label"].astype(str).to_numpy(object), table["path"].astype(str).to_numpy(object)
    first, *members = groups[0]
    other = next((row for row in members if labels[row] != labels[first]), members[0])
    named = {"path": paths[first], "label": labels[first], "other": paths[other], "other_label": labels[other]}
    captions = []
    for number, group in zip(numbers, groups, strict=True):
        changes, rows = list(duplicates.changes[number]), table.iloc[list(group)]
        areas = (rows["width"] * rows["height"]).to_numpy(float)
        if "cropped" not in changes and areas.min() < (1 - _SMALLER) * areas.max():
            changes.append("resized")
        captions.append({"changes": changes})
    return Finding(
        kind,
        severity,
        {"groups": len(groups), "pictures": sum(map(len, groups)), **named, **values},
        groups,
        tuple(captions),
    )
