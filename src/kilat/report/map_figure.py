"""The map of the pictures as pages show it: a drawing that says all without scripts, and what the script adds to it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from kilat.check.finding import Finding
from kilat.locale import _, ngettext
from kilat.locale.escapes import visible
from kilat.report.palette import MAP_COLOURS
from kilat.report.picture_map import HIGHEST, TILE, TILES_A_ROW, WIDTH, Marks, PictureMap
from kilat.report.svg_canvas import shorten, text_width
from kilat.report.template import count, percent, split_name
from kilat.runtime.array_types import Doubles, Ints

SHAPES = ("circle", "square", "triangle", "diamond", "plus", "wedge", "star")
"""The shapes of points; the template draws them. Their number has no factor in common with that of the colours."""

LEGEND = 20
"""More classes are told by the names on the map alone: nobody finds one of so many shapes and colours in a list."""

NAMES = 40
"""So many names are written on the map at most, so that there is something else to be seen."""

WIDE, NARROW = 760, 340
"""Widths in CSS pixels for which names are laid out: on a screen, and on a telephone."""

_LINE = 17
_NEAR = 60
_LONGEST_NAME = 18


class Point(NamedTuple):
    """A picture on the map: its place, and what marks it."""

    x: int
    y: int
    is_mistake: bool
    is_suspected: bool

    @property
    def is_marked(self) -> bool:
        """Whether anything marks it."""
        return self.is_mistake or self.is_suspected


class Name(NamedTuple):
    """The name of a class beside its pictures; ``is_wide`` where there is room for it on a wide screen only."""

    x: int
    y: int
    text: str
    is_wide: bool


class Group(NamedTuple):
    """The pictures of a class on the map, in its colour and shape; what is marked is drawn above all others."""

    label: str
    number: int
    colour: int
    shape: str
    plain: list[Point]
    marked: list[Point]


@dataclass(frozen=True)
class MapFigure:
    """What a page shows of the map.

    Args:
        groups: those of the classes that it shows.
        names: of classes, where there is room.
        height: of the drawing, which is ``WIDTH`` wide.
        sentences: what is to be seen.
        mistakes: how many are marked as answered wrongly.
        suspected: how many are marked because their label is suspected to be wrong.
        tiles: small copies of all, a JPEG file in Base64.
        pictures: what the script says of them, as JSON, in the order of the points.
    """

    groups: list[Group]
    names: list[Name]
    height: int
    sentences: list[str]
    mistakes: int
    suspected: int
    tiles: str | None
    pictures: Markup

    width: int = WIDTH
    tile: int = TILE
    tiles_a_row: int = TILES_A_ROW

    @property
    def has_legend(self) -> bool:
        """Whether colours and shapes are explained in a list."""
        return len(self.groups) <= LEGEND

    @property
    def title(self) -> str:
        """What the drawing is, for who cannot see it."""
        number = sum(len(group.plain) + len(group.marked) for group in self.groups)
        return ngettext("Map of {n} picture", "Map of {n} pictures", number).format(n=count(number))


def draw(
    placed: PictureMap | None,
    catalog: pd.DataFrame,
    predictions: pd.DataFrame,
    findings: Iterable[Finding],
    classes: Sequence[str],
) -> MapFigure | None:
    """Return what a page shows of a map, or None where there is none.

    Args:
        placed: where the pictures lie.
        catalog: the table of all pictures.
        predictions: with the columns ``path``, ``split``, ``label``, ``predicted`` and ``probability``.
        findings: what was found in the data.
        classes: their names, in the order of the model's probabilities.
    """
    if placed is None:
        return None
    marks = Marks.of(catalog, predictions, findings)
    rows = np.array(placed.rows)
    labels = catalog["label"].to_numpy(object)[rows]
    numbers = {label: number for number, label in enumerate(classes)}
    of_class = np.array([numbers.get(label, len(classes)) for label in labels])
    mistakes, suspected = marks.mistakes[rows], marks.suspected[rows]
    order = np.lexsort((of_class, mistakes | suspected))
    points = [Point(*one) for one in zip(placed.x, placed.y, mistakes.tolist(), suspected.tolist(), strict=True)]
    groups = []
    for rank, number in enumerate(np.unique(of_class).tolist()):
        members = [points[i] for i in np.flatnonzero(of_class == number)]
        plain = [point for point in members if not point.is_marked]
        marked = [point for point in members if point.is_marked]
        label = str(labels[of_class.tolist().index(number)])
        colour, shape = rank % len(MAP_COLOURS), SHAPES[rank % len(SHAPES)]
        groups.append(Group(label, number, colour, shape, plain, marked))
    sentences = _sentences(placed, marks, rows, int((catalog["status"] == "used").sum()))
    if len(groups) > LEGEND:
        sentences.append(
            _("Of so many classes some have the same colour and shape: point at a picture, or choose one.")
        )
    return MapFigure(
        groups,
        _names(groups),
        placed.height,
        sentences,
        int(mistakes.sum()),
        int(suspected.sum()),
        placed.tiles,
        _pictures(catalog.iloc[rows[order]], order, predictions, numbers),
    )


def _sentences(placed: PictureMap, marks: Marks, rows: Ints, used: int) -> list[str]:
    """Return how to read the map, how far to trust it, and which pictures are not on it."""
    kept = percent(placed.neighbours_kept, 0)
    sentences = [
        _("Pictures that the network finds alike lie near each other; distances between groups mean little."),
        _("{share} of a picture's ten nearest neighbours are among its ten nearest here, too.").format(share=kept)
        if placed.is_neighbour_embedding
        else _("These are the two leading principal components of what the network sees."),
    ]
    if used > len(rows):
        is_marked = marks.mistakes | marks.suspected
        shown, marked = int(is_marked[rows].sum()), int(is_marked.sum())
        sentence = (
            _(
                "It shows {n} of {all} pictures: {shown} of {marked} that are marked, the same share of each class "
                "of the others."
            )
            if marked
            else _("It shows {n} of {all} pictures, the same share of each class.")
        )
        values = {"n": len(rows), "all": used, "shown": shown, "marked": marked}
        sentences.append(sentence.format(**{name: count(value) for name, value in values.items()}))
    return sentences


def _pictures(shown: pd.DataFrame, tiles: Ints, predictions: pd.DataFrame, numbers: Mapping[str, int]) -> Markup:
    """Return what the script says of every picture: path, split, answer, probability, shape, place among the tiles."""
    answers = dict(
        zip(predictions["path"], zip(predictions["predicted"], predictions["probability"], strict=True), strict=True)
    )
    splits = sorted(set(shown["split"]))
    sides = [shown[side].to_numpy(int) if side in shown else np.zeros(len(shown), int) for side in ("width", "height")]
    pictures = []
    for path, split, tile, width, height in zip(shown["path"], shown["split"], tiles.tolist(), *sides, strict=True):
        predicted, probability = answers.get(path, ("", 0.0))
        answer = [numbers.get(predicted, -1), round(float(probability), 3)]
        aspect = round(int(width) / int(height), 2) if width and height else 1
        pictures.append([visible(str(path)), splits.index(split), *answer, aspect, tile])
    names = [visible(label) for label in numbers]
    document = {"classes": names, "splits": [split_name(split) for split in splits], "pictures": pictures}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # Nothing in it can end the element that holds it.
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


def _names(groups: Sequence[Group]) -> list[Name]:
    """Return the names of classes where most of their pictures lie, the largest first, as far as there is room."""
    wide, narrow = _Room(WIDTH / WIDE), _Room(WIDTH / NARROW)
    names: list[Name] = []
    for group in sorted(groups, key=lambda group: -len(group.plain + group.marked)):
        text = shorten(group.label, _LONGEST_NAME)
        x, y = _densest(np.array([point[:2] for point in group.plain + group.marked], float))
        # Many classes are small groups, which a name would hide: it stands above them.
        above = _LINE if len(groups) > LEGEND else 0
        spot = wide.find(x, y - above, text) if len(names) < NAMES else None
        if spot:
            fits = narrow.take(*spot, text)
            names.append(Name(round(spot[0]), round(spot[1]), text, is_wide=not fits))
    return names


def _densest(points: Doubles) -> tuple[float, float]:
    """Return the mean of the points around the one that has most of them near itself."""
    near = ((points[:, None] - points) ** 2).sum(2) < _NEAR**2
    x, y = points[near[near.sum(1).argmax()]].mean(0)
    return float(x), float(y)


class _Room:
    """Where names may still be written.

    Args:
        scale: units of the drawing in a CSS pixel.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.taken: list[tuple[float, float, float, float]] = []

    def find(self, x: float, y: float, text: str) -> tuple[float, float] | None:
        """Write a text at a place or just above or below it, and return its middle; None where there is no room."""
        for lines in (0, -1, 1, -2, 2):
            if self.take(x, y + lines * _LINE * self.scale, text):
                return x, y + lines * _LINE * self.scale
        return None

    def take(self, x: float, y: float, text: str) -> bool:
        """Write a text here if there is room for it, and return whether there was."""
        wide, high = text_width(text) / 2 * self.scale, _LINE / 2 * self.scale
        box = x - wide, x + wide, y - high, y + high
        inside = box[0] >= 0 and box[1] <= WIDTH and box[2] >= 0 and box[3] <= HIGHEST
        if not inside or any(
            box[0] < right and left < box[1] and box[2] < bottom and top < box[3]
            for left, right, top, bottom in self.taken
        ):
            return False
        self.taken.append(box)
        return True
