"""The page of predictions: every picture with its answer, how often each was given, and what was refused."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kilat.bundle.prediction import Prediction, RefusedPicture, answer, likely_classes
from kilat.locale import _, ngettext
from kilat.report.lead import Request
from kilat.report.pictures import Thumbnail
from kilat.report.template import count, fill

MOST_SHOWN = 400
"""Pictures on the page at most, which keeps it below 2 MB (photos of flowers: 4.5 kB each)."""


@dataclass(frozen=True)
class ShownAnswer:
    """A picture with its answer.

    Args:
        path: where it is, as the user knows it.
        answer: the class, or that it is none of them.
        unknown: whether it is unlike all training pictures.
        likely: the classes worth naming with their probabilities, the likeliest first.
        thumbnail: the picture made small; None where it could not be.
    """

    path: str
    answer: str
    unknown: bool
    likely: list[tuple[str, float]]
    thumbnail: Thumbnail | None


def render(
    title: str,
    command: str,
    predictions: Sequence[Prediction | RefusedPicture],
    thumbnails: Mapping[int, Thumbnail],
    top: int | None = None,
    *,
    has_sets: bool = True,
) -> str:
    """Return the page as HTML; equal input gives equal text.

    Args:
        title: what the model is called.
        command: that was typed.
        predictions: of all pictures, in order.
        thumbnails: of the pictures that are shown, by their place in that order.
        top: how many classes to name for a picture; None for those of its prediction set.
        has_sets: whether the model rules classes out.
    """
    answered = {place: one for place, one in enumerate(predictions) if isinstance(one, Prediction)}
    refused = [one for one in predictions if isinstance(one, RefusedPicture)]
    unknown = sum(one.unknown for one in answered.values())
    counts = Counter(one.label for one in answered.values() if not one.unknown).most_common()
    counts += [(_("none of these"), unknown)] if unknown else []
    shown = [
        ShownAnswer(
            one.path,
            answer(one),
            one.unknown,
            likely_classes(one, top, has_sets=has_sets),
            thumbnails.get(place),
        )
        for place, one in answered.items()
        if place in thumbnails
    ]
    return fill(
        "predictions.html.j2",
        title=title,
        request=Request(command, []),
        verdict=[_verdict(len(answered), counts, len(refused))],
        notes=[_left_out(len(answered) - len(shown), len(shown))] if len(shown) < len(answered) else [],
        shown=shown,
        counts=counts,
        refused=refused,
    )


def _verdict(answered: int, counts: Sequence[tuple[str, int]], refused: int) -> str:
    """Return how many pictures were answered, and how."""
    sentence = ngettext("{n} picture was answered", "{n} pictures were answered", answered).format(n=count(answered))
    named = ", ".join(f"{answer} {count(n)}" for answer, n in counts[:6])
    if named:
        sentence += f": {named}" + (_(" and others") if len(counts) > 6 else "")
    if refused:
        sentence += "; " + ngettext("{n} was refused", "{n} were refused", refused).format(n=count(refused))
    return sentence + "."


def _left_out(left_out: int, shown: int) -> str:
    sentence = ngettext(
        "The first {shown} pictures are shown; {n} more is counted.",
        "The first {shown} pictures are shown; {n} more are counted.",
        left_out,
    )
    return sentence.format(shown=count(shown), n=count(left_out)) + " " + _("All of them are in the table of --csv.")
