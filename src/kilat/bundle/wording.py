"""Predictions in words: what is answered, and what else it may be.

Two facts are kept apart, which may both be true: that a picture is unlike all training pictures, and which class it is
if it is one of them.
"""

from kilat.bundle.predictor import Prediction
from kilat.locale import _

_LIKELIEST = 3
_WORTH_NAMING = 0.01
"""How many classes a model without prediction sets names, and how likely they are at least."""


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
    named = [f"{name} {probability:.1%}" for name, probability in likely_classes(prediction, top, has_sets=has_sets)]
    if prediction.unknown:
        line = _("none of these (unlike the training pictures; if it is one of the classes, {likely})")
        return line.format(likely=", ".join(named[: top or 1]))
    if top is not None or len(named) == 1:
        return ", ".join(named)
    return _("{first} or {others}").format(first=named[0], others=", ".join(named[1:]))
