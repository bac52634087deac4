"""The pictures that a user means by a list of files and folders, for asking a finished model."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from kilat.data.image_file import kind_of_file
from kilat.errors import SourceError
from kilat.locale import _


def list_pictures(given: Iterable[Path]) -> list[str]:
    """The files as they were given, and for every folder the pictures below it, in the order of their names.

    Hidden and helper files, and files that are not called like pictures, are left out of folders; a file that was
    named by itself is always asked about.

    Raises:
        SourceError: there are none.
    """
    given = list(given)
    found = [path for one in given for path in (_below(one) if one.is_dir() else [str(one)])]
    if not found:
        raise SourceError(_("There are no pictures in {given}.").format(given=", ".join(str(one) for one in given)))
    return found


def _below(folder: Path) -> Iterator[str]:
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if kind_of_file(name) != "helper")
        yield from (os.path.join(where, name) for name in sorted(files) if kind_of_file(name) == "picture")
