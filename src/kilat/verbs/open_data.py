"""From what a user gives as data to a source of labelled pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from kilat.data.catalog import Source
from kilat.data.from_program import names_of_labels, source_of_pictures
from kilat.data.image_file import printable
from kilat.data.label_corrections import apply_corrections
from kilat.data.reading import Reading
from kilat.data.source import open_source
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
        progress: that shows the reading, and how far a download is.
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
        with progress.stage(_("Reading {data}").format(data=printable(Path(data).name)), unit="bytes") as stage:
            folder = Path(root) if root else None
            source = open_source(data, root=folder, advance=stage.advance, reading=reading, one_class=one_class)
    elif hasattr(data, "entries"):
        source = cast(Source, data)
    else:
        if labels is None or isinstance(labels, str | Path):
            raise SourceError(_("Pictures were given without labels."), hint=_("Give labels=, a label for each."))
        return source_of_pictures(data, names_of_labels(labels))
    if labels is None:
        return source
    if not isinstance(labels, str | Path):
        raise SourceError(
            _("Labels were given for data that brings its own."),
            hint=_("With a folder, table, archive or set, labels= is a table of corrected labels."),
        )
    return apply_corrections(source, labels)
