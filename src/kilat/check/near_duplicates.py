"""Near-duplicates: pictures that were saved again, resized, cropped a little, mirrored or brightened.

Candidates come from the perceptual prints of the thumbnails through an index, once as they are and once mirrored; those
whose tangent distance is small are laid upon each other and compared. How alike two pictures must be follows from how
alike pictures come by chance: handwritten ones, or clothes on black, are nearer to each other than photos are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kilat.check import perceptual_hash
from kilat.check.finding import Finding, Severity
from kilat.check.nearest_neighbours import nearest
from kilat.check.registration import compare
from kilat.locale import _
from kilat.runtime.cores import parallel_map, single_threaded_blas

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

SERIOUS_LEAK = 0.01
"""Share of the test pictures with a near copy among those learnt from, from which on measured accuracy is doubtful."""

NEIGHBOURS = 4
"""Candidates a picture, and as many in the mirror."""

MOST_UNLIKE = 0.04
"""How far the correlation of aligned copies may be from 1, among photos."""

_FURTHEST = 0.25
"""Candidates: how much of the one may be left, squared, that shifts and stretches of the other do not explain."""

_UNLIKE_PHOTOS = 0.7
"""The same for the 20th nearest of a thousand strangers, among photos. Where pictures are nearer to each other by
chance, copies must be nearer as well, in proportion."""

_STRANGERS, _NEARER = 1_000, 20
_ROUNDS = 4
_FLATTEST = 16
"""Grey levels between the darkest and the lightest part of a picture, below which nothing is said of it."""

_CROPPED, _BRIGHTER, _SMALLER = 0.02, 0.04, 0.05
_BLOCK = 512
_HUB = 32


@dataclass(frozen=True)
class NearDuplicates:
    """Groups of near-duplicates.

    Args:
        groups: rows of the catalog; first the one that all others of its group are like.
        alike: of each group, how alike its members are to the first, 0 to 1.
        changes: of each group, what its members differ by: ``mirrored``, ``cropped``, ``brightness``.
    """

    groups: tuple[tuple[int, ...], ...]
    alike: tuple[tuple[float, ...], ...]
    changes: tuple[tuple[str, ...], ...]


NO_NEAR_DUPLICATES = NearDuplicates((), (), ())


@dataclass(frozen=True)
class _Pairs:
    """Pairs of pictures, ``left < right``: how alike they are, and what they differ by."""

    left: Rows
    right: Rows
    alike: Floats
    mirrored: NDArray[np.bool_]
    cropped: NDArray[np.bool_]

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        return self.left, self.right, self.alike, self.mirrored, self.cropped

    def at(self, chosen: NDArray[np.bool_] | Rows) -> "_Pairs":
        return _Pairs(*(column[chosen] for column in self.columns))

    def beside(self, others: "_Pairs") -> "_Pairs":
        columns = zip(self.columns, others.columns, strict=True)
        return _Pairs(*(np.concatenate(both) for both in columns))


def find(facts: NDArray[np.void], used: Rows) -> NearDuplicates:
    """The near-duplicates among some pictures.

    Args:
        facts: ``kilat.data.image_stats.IMAGE_STATS`` of all rows of the catalog.
        used: the rows to look at, rising; of byte-identical pictures only one.

    Returns:
        Groups of two and more, by their first rows. Whoever is in a group is like its first picture, so that groups
        do not grow into chains.
    """
    thumbnails = facts["thumbnail"][used]
    rows = np.flatnonzero(np.ptp(thumbnails, axis=(1, 2)) >= _FLATTEST)
    if len(rows) < 2:
        return NO_NEAR_DUPLICATES
    with single_threaded_blas():
        look = _Look(thumbnails[rows])
        pairs = look.verified(look.candidates(np.arange(len(rows))))
        pairs = pairs.beside(look.verified(_unknown(*_friends_of_friends(pairs), pairs, len(rows))))
        pairs = _reunited(look, pairs)
    return _grouped(pairs, _stars(pairs), look.thumbnails, used[rows])


class _Look:
    """Thumbnails with what is needed to compare them."""

    def __init__(self, thumbnails: Bytes) -> None:
        self.thumbnails = thumbnails
        self.prints = _in_blocks(perceptual_hash.prints, thumbnails)
        self.basis = _in_blocks(perceptual_hash.tangents, thumbnails)
        strangers = np.random.default_rng(0).permutation(len(thumbnails))[:_STRANGERS]
        self.strangers = self.prints[np.sort(strangers)]

    def candidates(self, rows: Rows) -> tuple[Rows, Rows]:
        """Pairs of neighbours among some, as they are or mirrored, that a small crop may explain."""
        vectors, askers = self.prints[rows], np.repeat(rows, NEIGHBOURS)
        found = []
        for turned in (False, True):
            near = nearest(vectors, NEIGHBOURS, perceptual_hash.mirrored(vectors) if turned else None)[0].ravel()
            there = near >= 0
            one, other = askers[there], rows[near[there]]
            close = self._unexplained(one, other, turned) < _FURTHEST
            found.append((one[close], other[close]))
        one, other = (np.concatenate(both) for both in zip(*found, strict=True))
        return _once(one, other, len(self.prints))

    def verified(self, pairs: tuple[Rows, Rows]) -> _Pairs:
        """Those of some pairs that are copies, compared as they are and mirrored."""
        left, right = pairs
        involved, place = np.unique(np.concatenate(pairs), return_inverse=True)
        bars = self._bars(involved)[place].reshape(2, -1).min(axis=0)
        straight, turned = (self._compared(left, right, bars, mirrored=mirrored) for mirrored in (False, True))
        better = turned.alike > straight.alike
        columns = zip(straight.columns, turned.columns, strict=True)
        best = _Pairs(*(np.where(better, other, one) for one, other in columns))
        return best.at(1 - best.alike <= bars * MOST_UNLIKE)

    def _compared(self, left: Rows, right: Rows, bars: Floats, *, mirrored: bool) -> _Pairs:
        """Pairs compared one way: aligned, where their prints are near enough for that to be worth it."""
        alike, cropped = np.full(len(left), -1, np.float32), np.zeros(len(left), bool)
        distance = np.minimum(self._unexplained(left, right, mirrored), self._unexplained(right, left, mirrored))
        worth = np.flatnonzero(distance < _FURTHEST * bars**1.5)
        other = self.thumbnails[right[worth]]
        other = other[:, :, ::-1] if mirrored else other
        alike[worth], place = compare(self.thumbnails[left[worth]], other, MOST_UNLIKE * bars[worth])
        cropped[worth] = (np.abs(place[:, ::2] - 1) > _CROPPED).any(1)
        return _Pairs(left, right, alike, np.full(len(left), mirrored), cropped)

    def _unexplained(self, one: Rows, other: Rows, mirrored: bool) -> Floats:
        """The tangent distance of pairs: what shifts and stretches of the one do not explain of the other, squared."""

        def far(start: int) -> Floats:
            seen = self.prints[other[start : start + _BLOCK]]
            seen = perceptual_hash.mirrored(seen) if mirrored else seen
            left: Floats = 1 - np.square(seen[:, None] @ self.basis[one[start : start + _BLOCK]]).sum((1, 2))
            return left

        return _gathered(parallel_map(far, range(0, len(one), _BLOCK)))

    def _bars(self, rows: Rows) -> Floats:
        """How near a copy of each picture must be, as a share of what would do among photos."""
        if len(self.strangers) <= _NEARER:
            return np.ones(len(rows), np.float32)

        def near(start: int) -> Floats:
            basis = self.basis[rows[start : start + _BLOCK]]
            count, wide, many = basis.shape
            explained = self.strangers @ basis.transpose(1, 0, 2).reshape(wide, -1)
            left = 1 - np.square(explained).reshape(-1, count, many).sum(2)
            return np.asarray(np.partition(left, _NEARER, axis=0)[_NEARER], np.float32)

        far = _gathered(parallel_map(near, range(0, len(rows), _BLOCK)))
        return np.asarray(np.clip(far / _UNLIKE_PHOTOS, 0, 1), np.float32)


def _in_blocks(work: Callable[[Bytes], Floats], thumbnails: Bytes) -> Floats:
    starts = range(0, len(thumbnails), _BLOCK)
    return np.concatenate(parallel_map(lambda start: work(thumbnails[start : start + _BLOCK]), starts))


def _gathered(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _once(one: Rows, other: Rows, count: int) -> tuple[Rows, Rows]:
    """Every pair once, the lower first, in order."""
    pairs = np.unique(np.minimum(one, other) * count + np.maximum(one, other))
    return pairs // count, pairs % count


def _unknown(one: Rows, other: Rows, pairs: _Pairs, count: int) -> tuple[Rows, Rows]:
    """Every pair once that is not among some already."""
    left, right = _once(one, other, count)
    new = (left < right) & ~np.isin(left * count + right, pairs.left * count + pairs.right)
    return left[new], right[new]


def _friends_of_friends(pairs: _Pairs) -> tuple[Rows, Rows]:
    """Pairs that have a copy in common; of pictures with very many copies only some."""
    one, other = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for own in _friends(pairs).values():
        few = np.sort(np.array(list(own)[:_HUB]))
        left, right = np.triu_indices(len(few), 1)
        one.append(few[left])
        other.append(few[right])
    return np.concatenate(one), np.concatenate(other)


def _reunited(look: _Look, pairs: _Pairs) -> _Pairs:
    """Where a picture has more copies than neighbours were asked for: groups whose middles are alike become one."""
    count = len(look.prints)
    for _round in range(_ROUNDS):
        stars = _stars(pairs)
        middles = np.array(sorted(stars), np.int64)
        if len(middles) < 2:
            break
        alike = look.verified(_unknown(*look.candidates(middles), pairs, count))
        if not len(alike.left):
            break
        one, other = [alike.left], [alike.right]
        for left, right in zip(alike.left.tolist(), alike.right.tolist(), strict=True):
            for middle, others in ((left, stars[right]), (right, stars[left])):
                one.append(np.full(len(others), middle))
                other.append(np.array(list(others), np.int64))
        met = look.verified(_unknown(np.concatenate(one), np.concatenate(other), pairs.beside(alike), count))
        pairs = pairs.beside(alike).beside(met)
    return pairs


def _friends(pairs: _Pairs) -> dict[int, dict[int, int]]:
    """Of each picture the others that it is like, with the place of the pair."""
    friends: dict[int, dict[int, int]] = {}
    for place, (left, right) in enumerate(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)):
        friends.setdefault(left, {})[right] = place
        friends.setdefault(right, {})[left] = place
    return friends


def _stars(pairs: _Pairs) -> dict[int, dict[int, int]]:
    """Whoever is like most others is the middle of those that are in no group yet, with the places of the pairs."""
    friends, alike = _friends(pairs), pairs.alike.tolist()
    total = {picture: sum(alike[place] for place in own.values()) for picture, own in friends.items()}
    placed: set[int] = set()
    stars: dict[int, dict[int, int]] = {}
    for middle in sorted(friends, key=lambda picture: (-len(friends[picture]), -total[picture], picture)):
        others = {other: place for other, place in sorted(friends[middle].items()) if other not in placed}
        if middle not in placed and others:
            placed |= {middle, *others}
            stars[middle] = others
    return stars


def _grouped(pairs: _Pairs, stars: dict[int, dict[int, int]], thumbnails: Bytes, rows: Rows) -> NearDuplicates:
    """Groups as rows of the catalog, by their first rows."""
    middles = sorted(stars, key=lambda middle: min(middle, *stars[middle]))
    places = [np.array(list(stars[middle].values())) for middle in middles]
    return NearDuplicates(
        groups=tuple(tuple(rows[[middle, *stars[middle]]].tolist()) for middle in middles),
        alike=tuple(tuple(round(float(value), 4) for value in pairs.alike[place]) for place in places),
        changes=tuple(_changes(pairs.at(place), thumbnails) for place in places),
    )


def _changes(pairs: _Pairs, thumbnails: Bytes) -> tuple[str, ...]:
    """What the members of a group differ by."""
    means = [thumbnails[rows].mean((1, 2), dtype=np.float64) for rows in (pairs.left, pairs.right)]
    found = {
        "mirrored": pairs.mirrored.any(),
        "cropped": pairs.cropped.any(),
        "brightness": (np.abs(means[0] / means[1] - 1) > _BRIGHTER).any(),
    }
    return tuple(change for change, is_there in found.items() if is_there)


def leaked(twins: NearDuplicates, table: pd.DataFrame, split: str = "test") -> list[int]:
    """Rows of a split that have a near copy among the pictures that are learnt from, rising.

    Args:
        twins: near-duplicates among the used pictures.
        table: the catalog's.
        split: ``test``, whose pictures may have their copy in any other, or ``validation``: in training.
    """
    splits = table["split"].to_numpy(object)
    learnt_from = ("train", "", "validation", "calibration") if split == "test" else ("train", "")
    found = [
        row
        for group in twins.groups
        if any(splits[row] in learnt_from for row in group)
        for row in group
        if splits[row] == split
    ]
    return sorted(found)


def findings(twins: NearDuplicates, table: pd.DataFrame) -> list[Finding]:
    """What near-duplicates mean for those who learn from the pictures, the worst first.

    Args:
        twins: near-duplicates among the used pictures.
        table: the catalog's, with splits filled in.
    """
    labels, splits = table["label"].to_numpy(object), table["split"].to_numpy(object)
    conflicting = [len({labels[row] for row in group}) > 1 for group in twins.groups]
    across = {split: set(leaked(twins, table, split)) for split in ("test", "validation")}
    leaking = {split: [not rows.isdisjoint(group) for group in twins.groups] for split, rows in across.items()}
    plain = [not any(told) for told in zip(conflicting, *leaking.values(), strict=True)]
    counts = {split: int(((splits == split) & (table["status"] == "used")).sum()) for split in across}
    weight: Severity = "serious" if len(across["test"]) >= SERIOUS_LEAK * counts["test"] else "look"
    found = [
        _finding(twins, table, leaking["test"], "leak", weight, _leak(len(across["test"]), counts["test"])),
        _finding(twins, table, conflicting, "conflicting_duplicates", "serious", _conflict(sum(conflicting))),
        _finding(
            twins, table, leaking["validation"], "validation_leak", "look",
            _validation_leak(len(across["validation"]), counts["validation"]),
        ),
        _finding(twins, table, plain, "near_duplicates", "look", _plain(twins, plain)),
    ]  # fmt: skip
    return [finding for finding in found if finding.groups]


def _finding(
    twins: NearDuplicates,
    table: pd.DataFrame,
    concerned: Sequence[bool],
    kind: str,
    severity: Severity,
    words: tuple[str, str],
) -> Finding:
    """The groups that a finding concerns, the most alike first."""
    chosen = [place for place, is_one in enumerate(concerned) if is_one]
    chosen.sort(key=lambda place: (-max(twins.alike[place]), twins.groups[place]))
    groups = tuple(twins.groups[place] for place in chosen)
    return Finding(
        kind,
        severity,
        *words,
        groups=groups,
        captions=tuple(_caption(twins, place, table) for place in chosen),
        facts={"groups": len(groups), "pictures": sum(map(len, groups))},
    )


def _leak(count: int, total: int) -> tuple[str, str]:
    title = (
        _("One of {total:,} test pictures has a near copy among those that are learnt from.")
        if count == 1
        else _("{count:,} of {total:,} test pictures have a near copy among those that are learnt from.")
    )
    advice = _(
        "The split came with the data and was kept: believe the accuracy without these pictures, or put the copies on "
        "one side."
    )
    return title.format(count=count, total=total), advice


def _validation_leak(count: int, total: int) -> tuple[str, str]:
    title = (
        _("One of {total:,} validation pictures has a near copy among those that are trained on.")
        if count == 1
        else _("{count:,} of {total:,} validation pictures have a near copy among those that are trained on.")
    )
    advice = _("Put the copies on one side, so that validation measures what it says.")
    return title.format(count=count, total=total), advice


def _conflict(count: int) -> tuple[str, str]:
    if count == 1:
        return _("One picture stands under different labels, in copies that are nearly the same."), _(
            "Look which label is right; the other one teaches the opposite."
        )
    title = _("{count:,} pictures stand under different labels, in copies that are nearly the same.")
    return title.format(count=count), _("Look which labels are right; the others teach the opposite.")


def _plain(twins: NearDuplicates, chosen: Sequence[bool]) -> tuple[str, str]:
    count = sum(chosen)
    pictures = sum(len(group) for group, is_one in zip(twins.groups, chosen, strict=True) if is_one)
    title = (
        _("{pictures:,} pictures are nearly the same.")
        if count == 1
        else _("{pictures:,} pictures are nearly the same as others, in {count:,} groups.")
    )
    advice = _("Each group stays on one side of every split that is drawn; see whether more than one of it is of use.")
    return title.format(count=count, pictures=pictures), advice


def _caption(twins: NearDuplicates, place: int, table: pd.DataFrame) -> str:
    """How the pictures of a group differ, and under which labels and in which splits they stand where these differ."""
    rows = table.loc[list(twins.groups[place])]
    changes = [_word(change) for change in twins.changes[place]]
    areas = (rows["width"] * rows["height"]).to_numpy(float)
    if "cropped" not in twins.changes[place] and areas.min() < (1 - _SMALLER) * areas.max():
        changes.append(_("resized"))
    return ", ".join(changes or [_("saved again")])


def _word(change: str) -> str:
    return {"mirrored": _("mirrored"), "cropped": _("cropped"), "brightness": _("brighter or darker")}[change]
