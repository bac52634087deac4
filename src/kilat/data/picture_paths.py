"""Paths of pictures: those in a list of files and folders, for a finished model to classify."""

import os
from collections.abc import Iterable
from pathlib import Path

from kilat.data.image_file import kind_of_file
from kilat.errors import SourceError
from kilat.locale import _


def list_pictures(given: Iterable[Path]) -> list[str]:
    """Return the files as they were given, and for every folder the pictures below it, in the order of their names.

    Hidden and helper files, and files that do not have a picture's name, are left out of folders; a file that is given
    itself is always in the list.

    Raises:
        SourceError: there are no pictures.
    """
    given, found = list(given), []
    for one in given:
        if not one.is_dir():
            found.append(str(one))
            continue
        for where, folders, files in os.walk(one):
            folders[:] = sorted(name for name in folders if kind_of_file(name) != "helper")
            found += [os.path.join(where, name) for name in sorted(files) if kind_of_file(name) == "picture"]
    if not found:
        raise SourceError(_("There are no pictures in {paths}.").format(paths=", ".join(str(one) for one in given)))
    return found
