"""Pictures of any source, labels ignored: for a finished model to classify, or to be compared with those it knows."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kilat.data.image_file import is_address, kind_of_file, printable, read_file
from kilat.data.picture_failure import picture_failure
from kilat.data.reading import Reading
from kilat.errors import PictureError, SourceError
from kilat.locale import _
from kilat.runtime.files import require_possible
from kilat.runtime.progress import Advance, ignore

if TYPE_CHECKING:
    from kilat.data.catalog import Entry, Picture, Source

# What only tables and archives need is imported when they come: predictions of pictures start light.


@dataclass(frozen=True)
class Unlabelled:
    """Pictures without their labels.

    Args:
        paths: of each, as the user knows it.
        readers: what reads each; it raises PictureError where that is not possible.
    """

    paths: list[str]
    readers: list[Callable[[], "Picture"]]

    def read(self) -> "Iterator[Picture | PictureError]":
        """Yield every picture, or why it cannot be read, in order."""
        for reader in self.readers:
            try:
                picture = reader()
            except (PictureError, MemoryError) as error:
                yield picture_failure(error)
                continue
            yield picture
            del picture  # whoever took it may be done with it while the next is read


def open_unlabelled(
    given: "str | Path | Source | Sequence[str | Path]", reading: Reading | None = None, advance: Advance = ignore
) -> Unlabelled:
    """Return the pictures that are given.

    Args:
        given: a folder, a table, an archive, a picture, the name of a known set or a source; or a list of the former.
            Files in a list need not exist: they are refused when they are read.
        reading: what the user says about how a table is read.
        advance: called with the bytes received and their total, while a known set is downloaded.

    Raises:
        SourceError: there are no pictures, or something is given that cannot be opened.
    """
    if isinstance(given, str | Path):
        opened = [_open_one(given, reading, advance, is_alone=True)]
    elif isinstance(given, Sequence):
        are_addresses = all(is_address(str(one)) and not os.path.exists(one) for one in given)
        opened = [_open_one(one, reading, advance, is_alone=are_addresses) for one in given]
    else:
        opened = [_of_source(given)]
    paths = [path for pictures in opened for path in pictures.paths]
    if not paths:
        names = given if isinstance(given, Sequence) and not isinstance(given, str) else [getattr(given, "name", given)]
        raise SourceError(
            _("There are no pictures in {paths}.").format(paths=", ".join(printable(str(one)) for one in names))
        )
    return Unlabelled(paths, [reader for pictures in opened for reader in pictures.readers])


def _open_one(given: str | Path, reading: Reading | None, advance: Advance, *, is_alone: bool) -> Unlabelled:
    """Return the pictures of one thing on disk, or of a known set; a file that is not there is an error if alone."""
    path = Path(os.path.expanduser(given))
    if is_alone:
        require_possible(path)
    if os.path.isdir(path):
        return _of_files(_pictures_below(path))
    is_there = os.path.exists(path)
    if kind_of_file(path.name) != "picture" or (is_alone and not is_there):
        from kilat.data.archive import SUFFIXES as ARCHIVES
        from kilat.data.datasets import DATASETS
        from kilat.data.source import TABLES, find_source

        is_table = path.name.lower().endswith((*ARCHIVES, *TABLES))
        if is_table if is_there else is_alone or str(given) in DATASETS:
            reading = replace(reading or Reading(), is_labelled=False)
            return _of_source(find_source(given, advance=advance, reading=reading))
    return _of_files([str(path if is_there else given)])


def _pictures_below(folder: Path) -> list[str]:
    """Return the pictures at any depth, in the order of their names.

    Hidden and helper files, and files that do not have a picture's name, are left out.
    """
    found, waiting = [], [os.fspath(folder)]
    while waiting:  # os.walk calls itself for every level
        where, folders, files = next(os.walk(waiting.pop()), ("", [], []))
        found += [os.path.join(where, name) for name in sorted(files) if kind_of_file(name) == "picture"]
        inner = [os.path.join(where, name) for name in folders if kind_of_file(name) != "helper"]
        waiting += sorted((path for path in inner if not os.path.islink(path)), reverse=True)
    return found


def _of_files(paths: list[str]) -> Unlabelled:
    return Unlabelled(list(paths), [partial(read_file, path) for path in paths])


def _of_source(source: "Source") -> Unlabelled:
    """Return the pictures of a source, also those that it refuses only for want of a label.

    What a program gives twice comes once. A row of a table that lists a picture again, and a member of an archive that
    a later one replaces, are rows of their own: who gave them looks for them.
    """
    from kilat.data.catalog import UNLABELLED

    paths: list[str] = []
    readers: list[Callable[[], Picture]] = []
    given = set()
    for row, entry in enumerate(source.entries):
        if entry.refused is None:
            if entry.path in given:
                continue
            given.add(entry.path)
        is_refused = entry.refused is not None and entry.refused.code not in UNLABELLED
        paths.append(entry.path)
        readers.append(partial(_refuse, entry) if is_refused else partial(source.read, row))
    return Unlabelled(paths, readers)


def _refuse(entry: "Entry") -> "Picture":
    assert entry.refused is not None
    raise PictureError(entry.refused.code, entry.refused.detail)
