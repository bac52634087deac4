"""Pictures that a program gives as they are, as sources: arrays of pixels, and lists of paths."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kilat.data.catalog import Entry
from kilat.data.image_file import is_encodable, printable, read_file
from kilat.data.labels import normalize_label
from kilat.errors import PictureError, SourceError
from kilat.locale import _, ngettext
from kilat.locale.notes import Note
from kilat.runtime.array_types import Pixels


class ArraySource:
    """Pictures that are uint8 arrays, ``[height, width]`` or ``[height, width, 3]``, in the order given.

    Args:
        images: a list of arrays, or one array of all of them.
        labels: a class name for each.
        name: what to call the source; its pictures are ``name[0]``, ``name[1]``, …
        splits: ``train``, ``validation``, ``test`` or an empty string for each; empty where kilat draws them.
    """

    def __init__(
        self, images: Sequence[Pixels] | Pixels, labels: Sequence[str], name: str, splits: Sequence[str] = ()
    ) -> None:
        if len(images) != len(labels):
            raise SourceError(
                ngettext("1 picture, but {labels}.", "{count} pictures, but {labels}.", len(images)).format(
                    count=len(images), labels=_label_count(labels)
                ),
                hint=_("Give one label per picture."),
            )
        self.name = name
        self.skipped: dict[str, int] = {}
        self.notes: list[Note] = []
        names = {label: normalize_label(label) for label in set(labels)}
        self.entries = [
            Entry(f"{name}[{i}]", names[label], split)
            for i, (label, split) in enumerate(zip(labels, splits or [""] * len(labels), strict=True))
        ]
        self._images = images

    def read(self, index: int) -> Pixels:
        """Return the pixels of the picture."""
        pixels = np.asarray(self._images[index])
        if pixels.dtype != np.uint8 or (pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] != 3)):
            raise PictureError("wrong_pixels", f"{pixels.dtype} {list(pixels.shape)}")
        return pixels

    def link(self, index: int) -> str | None:
        """Return None: an array has no file of its own."""
        return None


class PathsSource:
    """Picture files by path, in the order given.

    Args:
        paths: the files, relative to the working folder or absolute.
        labels: a class name for each.
        name: what to call the source.
    """

    def __init__(self, paths: Sequence[str | Path], labels: Sequence[str], name: str = "pictures") -> None:
        if len(paths) != len(labels):
            raise SourceError(
                ngettext("1 path, but {labels}.", "{count} paths, but {labels}.", len(paths)).format(
                    count=len(paths), labels=_label_count(labels)
                ),
                hint=_("Give one label per path."),
            )
        self.name = name
        self.skipped: dict[str, int] = {}
        self.notes: list[Note] = []
        self._paths = [os.fspath(path) for path in paths]
        names = {label: normalize_label(label) for label in set(labels)}
        self.entries = [Entry(printable(path), names[label]) for path, label in zip(self._paths, labels, strict=True)]

    def read(self, index: int) -> bytes:
        """Return the bytes of the picture."""
        return read_file(self._paths[index])

    def link(self, index: int) -> str | None:
        """Return the picture's absolute path, or None where its name is not text that can be written."""
        path = os.path.abspath(self._paths[index])
        return path if is_encodable(path) else None


def _label_count(labels: Sequence[str]) -> str:
    return ngettext("1 label", "{count} labels", len(labels)).format(count=len(labels))
