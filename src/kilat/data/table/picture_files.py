"""The picture files of a folder, to be found by what a table calls them: a name, an id, or a number."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cached_property

from kilat.data.image_file import PICTURE_SUFFIXES, kind_of_file

_MAX_COMPARED = 2_000
"""Files among which the nearest to a missing one is sought."""

_FEW = 8
"""Pictures of one name that are compared one by one; of more, those in a folder of each name are kept."""

_LONGEST_COMPARED = 200
"""Characters of its name that are compared, the last ones."""

_REPLACED = PICTURE_SUFFIXES | {"dcm", "dicom", "npy", "xml", "json", "txt"}
"""Endings for which a table may name a picture with another one: that of its original, or of its annotation."""

_NUMBER = re.compile(r"(\d{1,18})(?:\.0+)?")

_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio writes before the name of a file that was uploaded."""


class PictureFiles:
    """The picture files of a folder, to be found by the ends of their paths.

    Args:
        root: the folder; it is walked when something is looked for, once.
        most: how many files and folders are looked at; where there are more, it counts as empty.
    """

    def __init__(self, root: str, most: int | None = None) -> None:
        self.root, self._most = root, most
        self._inner: dict[int, dict[str, list[int]]] = {}  # of pictures of one name, those in a folder of each name

    @cached_property
    def paths(self) -> list[str]:
        """The pictures, as paths from the root with ``/``, in an order that is the same on any file system."""
        found: list[str] = []
        count = 0
        entered: set[tuple[int, int]] = set()
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                status = os.stat(os.path.join(self.root, folder))
                if (status.st_dev, status.st_ino) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino))
                with os.scandir(os.path.join(self.root, folder)) as items:
                    for item in sorted(items, key=lambda item: item.name, reverse=True):
                        kind = kind_of_file(item.name)
                        path = f"{folder}/{item.name}" if folder else item.name
                        # A link is asked through os.path, which answers no where it leads nowhere.
                        is_folder = os.path.isdir(item.path) if item.is_symlink() else item.is_dir()
                        if kind != "helper" and is_folder:
                            waiting.append(path)
                        elif kind in ("picture", "unknown"):
                            found.append(path)
                        count += 1
            except OSError:
                continue
            if self._most is not None and count > self._most:
                return []
        return sorted(found)

    @cached_property
    def parts(self) -> list[list[str]]:
        """The folders above each picture, from the root, folded."""
        return [_folders(path) for path in self.paths]

    @cached_property
    def by_name(self) -> dict[str, list[int]]:
        """The pictures of each name, folded."""
        return _grouped(fold_path(path).rpartition("/")[2] for path in self.paths)

    @cached_property
    def by_stem(self) -> dict[str, list[int]]:
        """The pictures of each name without ending, folded."""
        return _grouped(_stem(fold_path(path).rpartition("/")[2]) for path in self.paths)

    @cached_property
    def by_number(self) -> dict[str, list[int]]:
        """The pictures whose names are numbers, by the number without leading zeros."""
        names = (_stem(fold_path(path).rpartition("/")[2]) for path in self.paths)
        return _grouped(str(int(name)) if name.isascii() and name.isdigit() else "" for name in names)

    def named(self, name: str) -> Iterator[tuple[str, list[int]]]:
        """Yield pictures that a name may mean, folded, the surest first, with what was done to the name."""
        yield "name", self.by_name.get(name, [])
        yield "ending", self.by_stem.get(name, [])
        if (stem := _stem(name, _REPLACED)) != name:
            yield "ending", self.by_stem.get(stem, [])
        if number := _NUMBER.fullmatch(name):
            yield "number", self.by_number.get(str(int(number[1])), [])
        if _UPLOAD_PREFIX.match(name):
            yield "name", self.by_name.get(_UPLOAD_PREFIX.sub("", name, count=1), [])

    def sharing_most(self, rows: list[int], folders: list[str]) -> tuple[list[int], int]:
        """Return the pictures that share the most folders with a path, counted from its end, and how many they share.

        Args:
            rows: the pictures of a name, a list that ``named`` gave.
            folders: of the path, folded.
        """
        most = 0
        for folder in reversed(folders):
            if len(rows) <= _FEW:
                inner = [row for row in rows if self._folder(row, most) == folder]
            else:
                if id(rows) not in self._inner:
                    groups: dict[str, list[int]] = defaultdict(list)
                    for row in rows:
                        groups[self._folder(row, most)].append(row)
                    self._inner[id(rows)] = groups
                inner = self._inner[id(rows)].get(folder, [])
            if not inner:
                break
            rows, most = inner, most + 1
        return rows, most

    def _folder(self, row: int, number: int) -> str:
        """Return the name of a folder above a picture, counted from the innermost; nothing above the root."""
        parts = self.parts[row]
        return parts[-1 - number] if number < len(parts) else ""

    def nearest(self, name: str) -> str:
        """Return the path of the picture whose path is most like this one; nothing where there is none."""
        step = len(self.paths) // _MAX_COMPARED + 1
        close = get_close_matches(name[-_LONGEST_COMPARED:], self.paths[::step], n=1, cutoff=0.0)
        return close[0] if close else ""


def _folders(path: str) -> list[str]:
    """Return the folders above a picture, folded."""
    return fold_path(path).replace("\\", "/").split("/")[:-1]


def fold_path(name: str) -> str:
    """Return a name or path without case, in one spelling of Unicode, to be compared."""
    return unicodedata.normalize("NFC", name).casefold()


def _stem(name: str, endings: frozenset[str] = PICTURE_SUFFIXES) -> str:
    """Return a folded name without the ending of a picture."""
    stem, _dot, ending = name.rpartition(".")
    return stem if stem and ending in endings else name


def _grouped(keys: Iterable[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    return groups
