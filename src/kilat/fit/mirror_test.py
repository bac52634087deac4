"""Whether mirroring changes what pictures mean, by what a network that never saw mirrored ones makes of them.

``augment.horizontal_flip: auto`` mirrors no picture until it is known that this does no harm: where left and right mean
something, as in characters, a network that was trained on pictures as they are classifies mirrored ones worse.
"""

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import Tensor

from kilat.fit.loader import Pictures, Rows

PICTURES = 1000
"""How many validation pictures are enough."""

_LAST_TEST = 3
"""The validation after which it is decided, however uncertain it is."""

_SIGNIFICANT = 0.001
_HARM = 0.05
"""Share of the correct answers that is lost by mirroring, from which on it does harm."""

_POWER = 3.0
"""By how many standard errors a loss of a third of what was learned would show."""


class Mirrored:
    """``Pictures`` that are mirrored left to right.

    Args:
        pictures: as they are.
    """

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures

    def batches(self, order: Sequence[Rows]) -> Generator[Tensor, None, None]:
        """Yield the pixels of each array of rows."""
        for pixels in self.pictures.batches(order):
            yield pixels.flip(2)


class MirrorTest(NamedTuple):
    """How a network classifies the same pictures as they are and mirrored.

    Args:
        pictures: how many there are.
        majority: how many are of the most frequent class.
        correct: how many are classified correctly as they are.
        lost: how many of these are not when mirrored.
        gained: how many are classified correctly only when mirrored.
    """

    pictures: int
    majority: int
    correct: int
    lost: int
    gained: int

    @classmethod
    def of(cls, correct: NDArray[np.bool_], mirrored: NDArray[np.bool_], truth: NDArray[np.int64]) -> "MirrorTest":
        """Count pictures by whether they are classified correctly, as they are and mirrored."""
        lost, gained = (int(np.sum(one & ~other)) for one, other in ((correct, mirrored), (mirrored, correct)))
        return cls(len(truth), int(np.bincount(truth).max()), int(correct.sum()), lost, gained)

    @property
    def accuracy(self) -> float:
        """Of the pictures as they are."""
        return self.correct / self.pictures

    @property
    def mirrored_accuracy(self) -> float:
        """Of the mirrored pictures."""
        return (self.correct - self.lost + self.gained) / self.pictures

    def is_harmless(self, validations: int) -> bool | None:
        """Return whether pictures may be mirrored; None where that is not known yet.

        It does harm where more answers get wrong than right, by more than chance would have it (a sign test), and more
        than a few. It does none where such harm would have shown, or where three validations have shown none.

        Args:
            validations: how many there were before this test.
        """
        loss, changed = self.lost - self.gained, self.lost + self.gained
        does_harm = loss > _HARM * self.correct
        if does_harm and binomtest(self.lost, changed, alternative="greater").pvalue < _SIGNIFICANT:
            return False
        learned = self.correct - self.majority
        if learned > 3 * _POWER * max(changed, _POWER**2) ** 0.5:
            return True
        return None if validations < _LAST_TEST else not does_harm
