"""The page about runs that are compared: who is better, where they differ, and on which pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from kilat.locale import _, ngettext
from kilat.report import curves
from kilat.report.lead import Request
from kilat.report.picture_map import small_copies
from kilat.report.pictures import Thumbnail, data_uri
from kilat.report.run_comparison import ComparedRun, RunComparison
from kilat.report.template import count, fill

SHOWN = 60
"""Pictures on which runs differ, at most."""

_ENLARGED = 96


class GivenAnswer(NamedTuple):
    """What a run answers to a picture."""

    run: str
    predicted: str
    probability: float
    is_right: bool


@dataclass(frozen=True)
class DisputedPicture:
    """A picture that some runs answer rightly and others wrongly.

    Args:
        path: where it is, as the first run knows it.
        label: its class.
        thumbnail: the picture made small, where a run's folder has it.
        answers: of all runs.
    """

    path: str
    label: str
    thumbnail: Thumbnail | None
    answers: list[GivenAnswer]

    @property
    def right(self) -> str:
        """Which runs answer it rightly."""
        return ", ".join(answer.run for answer in self.answers if answer.is_right)


def render(comparison: RunComparison, command: str = "") -> str:
    """Return the page as HTML; equal comparisons give equal text.

    Args:
        comparison: of runs.
        command: that asked for it.
    """
    disputed = _disputed(comparison)
    names = [run.name for run in comparison.runs]
    return fill(
        "compare.html.j2",
        title=_("{runs}, compared").format(runs=", ".join(names)),
        request=Request(command, [_test_pictures(comparison.n)]),
        verdict=comparison.verdict(),
        notes=[note.sentence() for note in comparison.notes],
        runs=[run.document() for run in comparison.runs],
        pairs=comparison.pairs,
        options=comparison.options,
        names=names,
        figure=_figures(comparison.runs),
        disputed=disputed,
        unshown=_count_disputed(comparison) - len(disputed),
        patterns=list(dict.fromkeys(one.right for one in disputed)),
    )


def _test_pictures(n: int) -> str:
    return ngettext("{n} common test picture", "{n} common test pictures", n).format(n=count(n))


def _figures(runs: Sequence[ComparedRun]) -> dict[str, Markup | None]:
    """Draw the curves of all runs over each other, those that there are numbers for."""
    epoch = _("epoch")
    losses, accuracies = (
        {run.name: curves.column(run.report.epochs, f"validation_{key}") for run in runs}
        for key in ("loss", "accuracy")
    )
    heads = {run.name: np.array([point[:2] for point in run.report.curve], float).reshape(-1, 2) for run in runs}
    by_pictures = {name: (points[:, 0], points[:, 1]) for name, points in heads.items()}
    return {
        "loss": curves.compared(losses, _("Validation loss"), epoch, is_share=False),
        "accuracy": curves.compared(accuracies, _("Validation accuracy"), epoch, is_share=True),
        "pictures": curves.compared(by_pictures, _("Accuracy of the head"), _("training pictures"), is_share=True),
    }


def _count_disputed(comparison: RunComparison) -> int:
    right = np.stack([run.correct for run in comparison.runs])
    return int((right.any(0) & ~right.all(0)).sum())


def _disputed(comparison: RunComparison) -> list[DisputedPicture]:
    """Return pictures that some answer rightly and others wrongly, those first whose probabilities differ most."""
    right = np.stack([run.correct for run in comparison.runs])
    spread = np.ptp(np.stack([run.label_probabilities for run in comparison.runs]), axis=0)
    places = np.flatnonzero(right.any(0) & ~right.all(0))
    places = places[np.argsort(-spread[places], kind="stable")][:SHOWN]
    thumbnails = _thumbnails(comparison.runs, places.tolist())
    disputed = []
    for place in places.tolist():
        first, answers = comparison.runs[0].answers.iloc[place], [_answer(run, place) for run in comparison.runs]
        disputed.append(DisputedPicture(str(first["path"]), str(first["label"]), thumbnails.get(place), answers))
    return disputed


def _answer(run: ComparedRun, place: int) -> GivenAnswer:
    answer = run.answers.iloc[place]
    is_right = bool(answer["predicted"] == answer["label"])
    return GivenAnswer(run.name, str(answer["predicted"]), float(answer["probability"]), is_right)


def _thumbnails(runs: Sequence[ComparedRun], places: Sequence[int]) -> Mapping[int, Thumbnail]:
    """Return thumbnails of pictures, by their place among the common ones; of those that a run's folder has any of.

    The larger ones of a report come first, then the small copies on the maps.
    """
    found: dict[int, Thumbnail] = {}
    for run in runs:
        paths, thumbnails = run.answers["path"].tolist(), run.report.illustrations.thumbnails
        found |= {
            place: thumbnails[paths[place]] for place in places if place not in found and paths[place] in thumbnails
        }
    for run in runs:
        rows = dict(zip(run.answers["row"].tolist(), range(len(run.answers)), strict=True))
        missing = {row: place for row, place in rows.items() if place in places and place not in found}
        if placed := run.report.illustrations.picture_map:
            sizes = run.report.catalog[["width", "height"]]
            for row, copy in small_copies(placed, missing).items():
                width, height = sizes.iloc[row]
                longer = max(width, height, 1)
                size = tuple(max(1, round(_ENLARGED * side / longer)) for side in (width, height))
                found[missing[row]] = Thumbnail(uri=data_uri(copy.resize(size), 60))
    return found
