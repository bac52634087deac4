"""Draw a share of every class by content, so that a fifth is a fifth of each class and near-duplicates stay together.

Every picture has a position between 0 and 1 that follows from its content and the seed alone. Those below the share are
drawn; where that is too many or too few of a class, the pictures nearest to the boundary change sides. What is given up
for it: as pictures come and go, others at the boundary may change sides. For every picture that a class gains or loses
it is one other of that class at most; where the class has near-duplicates, about twice its largest group at most.
"""

import hashlib
import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.runtime.array_types import Flags, Ints

_FEW = 5
"""From so many groups on, at least one of a class is drawn."""

_TOLERANCE = 2 / 3
"""How many pictures more or fewer than its share may be drawn of a class.

With 1/2 it would always be the nearest whole number: one of 7 for a fifth, and 14% of sixty such classes. With 2/3
positions decide where the share is about half way between two numbers, which is right on average; of 6 it is one.
"""


def draw_share(groups: NDArray[Any], classes: NDArray[Any], share: float, seed: int, purpose: str) -> Flags:
    """Return which pictures are drawn, bool ``[n]``.

    Of every class the number drawn is within 2/3 of a picture of its share, and one or none where that is less than a
    picture; where whole groups do not allow it, half the largest group farther from it at most. One group of every
    class is never drawn, and of five groups at least one; nor is nothing drawn of all classes together.

    Args:
        groups: digests, equal for near-duplicates, which are drawn together or not at all, ``[n]``.
        classes: of the pictures, ``[n]``.
        share: of every class, 0 to below 1.
        seed: another seed draws others.
        purpose: what for; another purpose draws others.
    """
    names, group = np.unique(groups, return_inverse=True)
    labels, code = np.unique(classes, return_inverse=True)
    if not share or not len(names):
        return np.zeros(len(group), bool)
    position = np.array([content_position(name, seed, purpose) for name in names])
    below = np.bincount(code[position[group] < share], minlength=len(labels))
    draw = _Draw(group, code, below, share)
    by_position = np.argsort(position, kind="stable").tolist()
    for number in by_position:
        if draw.fits(number):
            draw.take(number)
    draw.fill_up(by_position)
    if not any(draw.drawn) and len(group) * share >= 0.5:
        draw.take_nearest(by_position)
    return np.array(draw.drawn)[group]


def content_position(digest: str, seed: int, purpose: str) -> float:
    """Return where a content falls between 0 and 1: uniform, and independent for every seed and purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed} {digest}".encode()).digest()[:8]) / 2**64


class _Draw:
    """Groups of pictures, which of them are drawn, and how many pictures of each class may still be.

    Args:
        group: number of each picture's group, ``[n]``.
        code: number of its class, ``[n]``.
        below: how many pictures of each class have a position below the share, ``[classes]``.
        share: of every class to draw.
    """

    def __init__(self, group: Ints, code: Ints, below: Ints, share: float) -> None:
        pairs, sizes = np.unique(group * len(below) + code, return_counts=True)
        number, label = np.divmod(pairs, len(below))
        bounds = np.searchsorted(number, np.arange(number[-1] + 2)).tolist()
        parts = list(zip(label.tolist(), sizes.tolist(), strict=True))
        self.contents = [parts[start:end] for start, end in pairwise(bounds)]
        self.drawn = [False] * len(self.contents)
        self.undrawn: list[int] = np.bincount(label).tolist()
        self.must = [groups >= _FEW for groups in self.undrawn]
        pictures = np.bincount(code).tolist()
        self.room = [
            min(n - 1, max(int(must), _nearest(count, n * share)))
            for must, count, n in zip(self.must, below.tolist(), pictures, strict=True)
        ]

    def fits(self, number: int) -> bool:
        """Return whether all pictures of a group may be drawn."""
        return all(self.room[label] >= size for label, size in self.contents[number])

    def take(self, number: int) -> None:
        """Draw a group."""
        self.drawn[number] = True
        for label, size in self.contents[number]:
            self.room[label] -= size
            self.undrawn[label] -= 1
            self.must[label] = False

    def fill_up(self, numbers: list[int]) -> None:
        """Draw one larger group of a class where that is nearer to its share, or none fitted; of equals the first."""
        open_groups: dict[int, list[int]] = {label: [] for label, room in enumerate(self.room) if room > 0}
        for number in numbers:
            for label, _size in self.contents[number]:
                if label in open_groups and not self.drawn[number]:
                    open_groups[label].append(number)
        for label, candidates in open_groups.items():
            self.take_nearest(candidates, only_nearer=not self.must[label])

    def take_nearest(self, candidates: list[int], *, only_nearer: bool = False) -> None:
        """Draw the group with which its classes are nearest to their shares, if it leaves others; of equals the first.

        Args:
            candidates: groups.
            only_nearer: whether it must bring them nearer than they are.
        """
        left = [number for number in candidates if not self.drawn[number] and self._leaves_others(number)]
        best = min(left, key=self._distance_added, default=None)
        if best is not None and not (only_nearer and self._distance_added(best) >= 0):
            self.take(best)

    def _leaves_others(self, number: int) -> bool:
        """Return whether every class of a group has another one that is not drawn."""
        return all(self.undrawn[label] > 1 for label, _size in self.contents[number])

    def _distance_added(self, number: int) -> int:
        """Return how many pictures farther from their shares a group's classes would be with it; below 0 if nearer."""
        return sum(abs(self.room[label] - size) - abs(self.room[label]) for label, size in self.contents[number])


def _nearest(count: int, share: float) -> int:
    """Return the whole number next to ``count`` that is within the tolerance of a share, both in pictures.

    One is always possible, or nothing would be drawn of many classes with a share of 0.3 pictures each.
    """
    return min(max(count, math.ceil(share - _TOLERANCE)), max(1, math.floor(share + _TOLERANCE)))
