"""From what a user gives as data to a source of labelled pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilat.data.arrays import ArraySource, PathsSource
from kilat.data.catalog import Source
from kilat.data.label_corrections import apply_corrections
from kilat.data.reading import Reading
from kilat.data.source import find_source, open_source
from kilat.errors import SourceError
from kilat.locale import _
from kilat.runtime.progress import Progress, silent

Data = str | Path | Source | Sequence[Any] | NDArray[Any]
Labels = str | Path | Sequence[Any] | NDArray[Any]


def open_data(
    data: Data | None,
    labels: Labels | None = None,
    root: str | Path | None = None,
    progress: Progress = silent,
    *,
    reading: Reading | None = None,
    one_class: bool = False,
) -> Source:
    """Return the labelled pictures of a folder, a table, an archive, a known set, a source or arrays.

    Args:
        data: a folder of class folders, a table, an archive, the name of a known set, a source; or pictures: paths, or
            uint8 arrays ``[n, height, width(, 3)]``.
        labels: with pictures, the label of each, ``[n]``; with other data, a table of corrected labels.
        root: a folder that already holds copies of a known set.
        progress: called as a known set is downloaded.
        reading: what the user says about how a folder, table or archive is read.
        one_class: whether pictures of a single class are enough, as for measuring a model.

    Raises:
        SourceError: the data cannot be read as labelled pictures.
    """
    if data is None:
        raise SourceError(
            _("No data was given to train on."), hint=_("Give a folder with a folder of pictures per class.")
        )
    if isinstance(data, str | Path):
        find = find_source if one_class else open_source
        folder, advance = Path(root) if root else None, progress(_("Downloading (bytes)"))
        source = find(data, root=folder, advance=advance, reading=reading)
    elif isinstance(data, Sequence | np.ndarray):
        if labels is None or isinstance(labels, str | Path):
            raise SourceError(_("Pictures were given without labels."), hint=_("Give labels=, a label for each."))
        return source_of_pictures(data, [str(label) for label in labels])
    else:
        source = data
    if labels is None:
        return source
    if not isinstance(labels, str | Path):
        raise SourceError(
            _("Labels were given for data that brings its own."),
            hint=_("With a folder, table, archive or set, labels= is a table of corrected labels."),
        )
    return apply_corrections(source, labels)


def source_of_pictures(pictures: Sequence[Any] | NDArray[Any], labels: Sequence[str], name: str = "pictures") -> Source:
    """Return paths or uint8 arrays with their labels as a source.

    Raises:
        SourceError: there are none, their number is not that of the labels, or they are neither paths nor uint8 pixels.
    """
    if not len(pictures):
        raise SourceError(_("There are no pictures."))
    if len(pictures) != len(labels):
        raise SourceError(
            _("There are {pictures:,} pictures and {labels:,} labels.").format(
                pictures=len(pictures), labels=len(labels)
            )
        )
    checked = require_pictures_or_paths(pictures)
    are_paths = {isinstance(picture, str | Path) for picture in checked}
    if len(are_paths) > 1:
        raise SourceError(_("Paths and arrays are mixed; give one kind."))
    if are_paths.pop():
        return PathsSource([str(picture) for picture in checked], list(labels))
    return ArraySource(checked, list(labels), name)


def require_pictures_or_paths(pictures: Sequence[Any] | NDArray[Any]) -> list[Any]:
    """Return a list of pictures, each a path or uint8 pixels ``[height, width]`` or ``[height, width, 3]``.

    Raises:
        SourceError: one of them is neither.
    """
    for picture in pictures:
        if isinstance(picture, str | Path):
            continue
        if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim in (2, 3)):
            what = repr(picture)[:60]
            if isinstance(picture, np.ndarray):
                what = _("{dtype} of shape {shape}").format(dtype=picture.dtype, shape=picture.shape)
            raise SourceError(
                _(
                    "A picture was given as {what}; pictures are paths or uint8 arrays [height, width] or "
                    "[height, width, 3]."
                ).format(what=what),
                hint=_("Scale pixels to 0..255 and convert them with .astype('uint8')."),
            )
    return list(pictures)
