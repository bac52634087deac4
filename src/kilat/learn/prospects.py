"""Whether a fine-tuning can win, judged by what the frozen result gives away, before anything is trained.

Two things must come together. The head must leave enough wrong: a gain shows only on pictures that are answered wrongly
or in doubt, and it must exceed noise on the validation pictures there are. And there must be something for the backbone
to learn: where pictures are like those it was pretrained on, its features are as good as so few pictures can make them.
"""

import math
from dataclasses import dataclass

import numpy as np

from kilat.evaluate.comparison import NOISE
from kilat.locale.notes import Note
from kilat.runtime.array_types import Floats, Ints

_LEAST_GAIN, _GAIN_PER_SHIFT, _MOST_GAIN = 0.02, 0.5, 0.5
"""Share of the log loss that fine-tuning takes away, by the shift. Flowers (0.02) gained 3 to 6% and 1,700 pictures of
Fashion-MNIST (0.12) nothing that showed on 300 validation pictures, where 9% is needed."""
_SPREAD = 1.0
"""Deviation of the pictures' differences in log loss, as a share of the mean log loss: 0.75 to 1.4 on flowers."""


@dataclass(frozen=True)
class Prospects:
    """What speaks for a fine-tuning and against it.

    Args:
        pictures: for validation.
        mistakes: that the frozen result makes on them.
        domain_shift: how far the pictures are from those of the pretraining; None where that is unknown.
    """

    pictures: int
    mistakes: int
    domain_shift: float | None

    @property
    def needed_gain(self) -> float:
        """The share of the log loss that must be gained to count as more than noise."""
        return NOISE * _SPREAD / math.sqrt(max(1, self.pictures))

    @property
    def expected_gain(self) -> float:
        """The share of the log loss that may be gained."""
        if self.domain_shift is None:
            return _MOST_GAIN / 2
        return min(_MOST_GAIN, _LEAST_GAIN + _GAIN_PER_SHIFT * self.domain_shift)

    @property
    def objection(self) -> str:
        """Why fine-tuning is not worth its time, as the code of a note; empty where it is."""
        if self.mistakes / 2 <= NOISE**2:  # even half of them mended would be no more than chance, by a sign test
            return "finetuning_few_mistakes"
        return "finetuning_like_pretraining" if self.expected_gain < self.needed_gain else ""

    def note(self) -> Note:
        """Return the note that says why nothing was trained further."""
        return Note(self.objection, {"count": self.mistakes, "pictures": self.pictures})

    def document(self) -> dict[str, object]:
        """Return the section ``prospects`` of ``metrics.json``."""
        return {**vars(self), "expected_gain": self.expected_gain, "needed_gain": self.needed_gain}


def count_mistakes(truth: Ints, logits: Floats) -> int:
    """Return how many pictures are answered wrongly."""
    return int(np.count_nonzero(logits.argmax(1) != truth))
