"""The page about new pictures beside those that a model was made for: whether they differ, and which differ most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kilat.locale import _
from kilat.report import figures, lead
from kilat.report.pictures import Thumbnail
from kilat.report.template import fill


@dataclass(frozen=True)
class DifferentPicture:
    """One of the pictures that differ most.

    Args:
        path: where it is, as the user knows it.
        score: how far it is, in standard deviations of known pictures.
        predicted: the class that was answered.
        thumbnail: the picture made small; None where it cannot be read any more.
    """

    path: str
    score: float
    predicted: str
    thumbnail: Thumbnail | None


@dataclass(frozen=True)
class DriftPage:
    """What the page shows.

    Args:
        name: of the model and of the pictures.
        command: that was typed, or the call in Python.
        begun: when, as ISO 8601.
        pictures: how many were classified.
        sentences: the result in words, the most important one first.
        predicted: how many pictures were answered with each class.
        most_different: the most different first.
    """

    name: str
    command: str
    begun: str
    pictures: int
    sentences: Sequence[str]
    predicted: Mapping[str, int]
    most_different: Sequence[DifferentPicture]


def render(shown: DriftPage) -> str:
    """Return the page as HTML; equal input gives equal text."""
    counts = {"pictures": shown.pictures, "classes": len(shown.predicted)}
    first_most = sorted(shown.predicted, key=lambda name: -shown.predicted[name])
    return fill(
        "drift.html.j2",
        title=shown.name,
        request=lead.Request(shown.command, lead.facts(shown.begun, counts)),
        verdict=shown.sentences,
        most_different=shown.most_different,
        predicted=figures.balance(first_most, {_("pictures"): [shown.predicted[name] for name in first_most]}),
    )
