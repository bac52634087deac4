"""``kilat.show``: some labelled pictures side by side, as a notebook shows them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kilat.bundle.gallery import gallery
from kilat.data.catalog import Picture, Source
from kilat.data.decode import decode
from kilat.data.picture_failure import picture_failure
from kilat.errors import PictureError
from kilat.locale import _, ngettext
from kilat.runtime.byte_budget import bytes_of, decoded_bytes
from kilat.verbs.open_data import Data, Labels, open_data

_LARGE = 16 << 20
"""Bytes of a file above which a small copy of its picture is kept instead."""

_SIDE = 512
"""The longer side of that in pixels."""


@dataclass(frozen=True)
class Batch:
    """Some labelled pictures; a notebook shows them.

    Args:
        pictures: the bytes of their files, or pixels, also for files of more than 16 MiB; an error where one cannot be
            read.
        labels: of each.
        paths: of each, as the data names them.
        total: how many pictures the data has.
        classes: the names of its classes.
    """

    pictures: list[Picture | PictureError]
    labels: list[str]
    paths: list[str]
    total: int
    classes: list[str]

    def __repr__(self) -> str:
        return f"Batch({len(self.pictures)} of {self.total:,} pictures, {len(self.classes)} classes)"

    def _repr_html_(self) -> str:
        pictures = ngettext("{count:,} picture", "{count:,} pictures", self.total).format(count=self.total)
        classes = ngettext("{count:,} class", "{count:,} classes", len(self.classes)).format(count=len(self.classes))
        heading = _("{shown} of {pictures} of {classes}").format(
            shown=len(self.pictures), pictures=pictures, classes=classes
        )
        lines = [(label, Path(path).name) for label, path in zip(self.labels, self.paths, strict=True)]
        return f"<p>{heading}</p>{gallery(zip(self.pictures, lines, strict=True))}"


def show(
    data: Data, labels: Labels | None = None, *, count: int = 16, seed: int = 0, root: str | Path | None = None
) -> Batch:
    """Return some pictures with their labels, of as many classes as there are places.

    Args:
        data: as for ``kilat.train``.
        labels: with pictures, the label of each.
        count: how many pictures.
        seed: another one draws other pictures.
        root: a folder that already holds copies of a known set.

    Raises:
        SourceError: the data cannot be read as labelled pictures.
    """
    source = open_data(data, labels, root, one_class=True)
    usable = [row for row, entry in enumerate(source.entries) if not entry.refused]
    names = [source.entries[row].label for row in usable]
    drawn = np.random.default_rng(seed).permutation(len(usable))
    turn: dict[str, int] = {}
    order = []
    for position in drawn:  # the first of every class, then the second ones
        name = names[position]
        turn[name] = turn.get(name, 0) + 1
        order.append((turn[name], name, position))
    rows = [usable[position] for _turn, _name, position in sorted(order)[:count]]
    return Batch(
        [_read(source, row) for row in rows],
        [source.entries[row].label for row in rows],
        [source.entries[row].path for row in rows],
        len(usable),
        sorted(set(names)),
    )


def _read(source: Source, row: int) -> Picture | PictureError:
    """Return a picture, of a large file small pixels, or why it cannot be read."""
    try:
        picture = source.read(row)
        if bytes_of(picture) <= _LARGE:
            return picture
        with decoded_bytes.hold():
            image, _size = decode(picture, shrink_to=_SIDE)
            image.thumbnail((_SIDE, _SIDE))
            return np.asarray(image)
    except Exception as error:  # noqa: BLE001 - whatever comes of one picture is that picture's refusal
        return picture_failure(error)
