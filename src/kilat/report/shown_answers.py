"""Answers as pages show them: the picture made small, its label, what was answered, and what it resembles."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from kilat.locale import _
from kilat.report.illustrations import examples, most_confident_mistakes
from kilat.report.pictures import ShownPicture, Thumbnail


class Answer(NamedTuple):
    """A picture with its answer; of a mistake the nearest training pictures of its class and of the answer, too."""

    picture: ShownPicture
    predicted: str
    probability: float
    nearest: tuple[ShownPicture, ...] = ()

    @property
    def pair(self) -> str:
        """The label and the answer."""
        return f"{self.picture.label} → {self.predicted}"


class AnswerGroup(NamedTuple):
    """Answers that have something in common, which the title says."""

    title: str
    answers: list[Answer]


@dataclass(frozen=True)
class ShownAnswers:
    """The answers of which a page shows some.

    Args:
        predictions: with ``path``, ``split``, ``label``, ``predicted`` and ``probability``.
        thumbnails: the pictures that can be shown, by path.
        nearest: for a mistake, the training pictures nearest to it of its class and of the answer, all by path.
    """

    predictions: pd.DataFrame
    thumbnails: Mapping[str, Thumbnail]
    nearest: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)

    def mistakes(self) -> list[Answer]:
        """Return the mistakes that were given the highest probabilities."""
        return self._shown(most_confident_mistakes(self.predictions))

    def examples(self) -> list[AnswerGroup]:
        """Return some answers of every kind, for the first screen."""
        titles = (_("Right"), _("Wrong, and most certain"), _("Least certain"))
        groups = zip(titles, examples(self.predictions), strict=True)
        shown = [AnswerGroup(title, self._shown(predictions)) for title, predictions in groups]
        return [group for group in shown if group.answers]

    def _shown(self, predictions: pd.DataFrame) -> list[Answer]:
        """Return answers whose picture can be shown."""
        answers = []
        columns = (predictions[name] for name in ("path", "label", "predicted", "probability"))
        for path, label, predicted, probability in zip(*columns, strict=True):
            if path not in self.thumbnails:
                continue
            beside = zip(self.nearest.get(path, ()), (label, predicted), strict=False)
            nearest = [
                ShownPicture(near, of, self.thumbnails[near]) for near, of in beside if near and near in self.thumbnails
            ]
            picture = ShownPicture(path, label, self.thumbnails[path])
            answers.append(Answer(picture, predicted, float(probability), tuple(nearest)))
        return answers


def pairs_of(mistakes: list[Answer]) -> list[tuple[str, int]]:
    """Return the pairs of label and answer among mistakes, and how many there are of each, the most frequent first."""
    return Counter(mistake.pair for mistake in mistakes).most_common()
