"""A prediction: the data that it is, the words that say it, and the picture beside it in a notebook.

Two facts are kept apart, which may both be true: that a picture is unlike all training pictures, and which class it is
if it is one of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kilat.bundle.gallery import ImageLike, gallery
from kilat.errors import PictureError
from kilat.locale import _, localized

_MOST_SHOWN = 24
"""Pictures in a notebook."""

_LIKELIEST = 3
_WORTH_NAMING = 0.01
"""How many classes a model without prediction sets names, and how likely they are at least."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one picture.

    Args:
        path: of the picture; empty where it came as bytes or pixels.
        label: the likeliest class.
        probability: its calibrated probability.
        probabilities: those of all classes.
        set: the prediction set, the likeliest class first.
        unknown: whether the picture is unlike all training pictures, so that it may be none of the classes; False where
            the file has no detector for it.
    """

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]
    set: list[str]
    unknown: bool

    def _repr_html_(self) -> str:
        return Predictions([self])._repr_html_()


class Predictions(list[Prediction]):
    """A list of predictions, which a notebook shows with their pictures.

    Args:
        predictions: in the order of the pictures.
        pictures: these, where they are still at hand; by default they are read from their paths.
    """

    def __init__(self, predictions: Iterable[Prediction], pictures: Sequence[ImageLike] = ()) -> None:
        super().__init__(predictions)
        self._pictures = pictures

    def _repr_html_(self) -> str:
        shown = self[:_MOST_SHOWN]
        pictures = self._pictures if len(self._pictures) == len(self) else [one.path for one in self]
        lines = [_caption(one) for one in shown]
        return gallery(zip(pictures, lines, strict=False), len(self) - len(shown))


@dataclass(frozen=True)
class RefusedPicture:
    """A picture without a prediction, and why."""

    path: str
    error: PictureError


def answer(prediction: Prediction) -> str:
    """Return the class, or that it is none of them."""
    return _("none of these") if prediction.unknown else prediction.label


def likely_classes(prediction: Prediction, top: int | None, *, has_sets: bool) -> list[tuple[str, float]]:
    """Return the classes that are worth naming with their probabilities, the likeliest first.

    Args:
        prediction: for a picture.
        top: how many to name; None for those of the prediction set.
        has_sets: whether the model rules classes out; otherwise up to three are named that have 1% at least.
    """
    probabilities = prediction.probabilities
    ranked = sorted(probabilities, key=lambda name: -probabilities[name])
    if top is not None:
        names = ranked[:top]
    elif has_sets:
        names = prediction.set
    else:
        names = [name for name in ranked[:_LIKELIEST] if probabilities[name] >= _WORTH_NAMING] or ranked[:1]
    return [(name, probabilities[name]) for name in names]


def sentence(prediction: Prediction, top: int | None = None, *, has_sets: bool = True) -> str:
    """Return a prediction as one line; arguments as of ``likely_classes``."""
    named = [
        f"{name} {localized(probability, '.1%')}"
        for name, probability in likely_classes(prediction, top, has_sets=has_sets)
    ]
    if prediction.unknown:
        line = _("none of these (unlike the training pictures; if it is one of the classes, {likely})")
        return line.format(likely=", ".join(named[: top or 1]))
    if top is not None or len(named) == 1:
        return ", ".join(named)
    return _("{first} or {others}").format(first=named[0], others=", ".join(named[1:]))


def _caption(prediction: Prediction) -> list[str]:
    """Return the lines below a picture."""
    has_sets = len(prediction.set) < len(prediction.probabilities)
    likely = [
        f"{name} {localized(probability, '.1%')}"
        for name, probability in likely_classes(prediction, None, has_sets=has_sets)
    ]
    if prediction.unknown:
        lines = [answer(prediction), _("if it is one of the classes: {likely}").format(likely=likely[0])]
    else:
        lines = [likely[0], *(_("or {likely}").format(likely=one) for one in likely[1:])]
    return [*lines, *([Path(prediction.path).name] if prediction.path else [])]
