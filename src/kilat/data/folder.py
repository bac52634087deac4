"""A folder of class folders as a source."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kilat.data.bounds import DEEPEST
from kilat.data.image_file import (
    SIGNATURE_BYTES,
    has_image_signature,
    is_encodable,
    kind_of_file,
    read_file,
    unreadable,
)
from kilat.data.layout.layout import EMPTY_CLASS, HIDDEN, LOOP, OTHER, Layout, sorted_order
from kilat.data.layout.tree import Companions, FoundFile, join_path
from kilat.errors import SourceError
from kilat.locale import _
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal
from kilat.locale.system_errors import system_reason

_Identity = tuple[int, int]
"""Device and inode of a folder."""


class FolderSource:
    """Pictures in class folders, with or without ``train/``, ``validation/`` and ``test/`` around them.

    Args:
        path: the folder.
        name: what to call it; the folder's own name if empty.
        class_from: what names the class, one of ``kilat.data.reading.CLASS_FROM``; None to find out.

    Attributes:
        skipped: how many files did not come in as pictures, by a code of ``kilat.data.layout.layout``.
        layout: what its folders say of the pictures.
    """

    def __init__(self, path: str | Path, name: str = "", class_from: str | None = None) -> None:
        self._root = os.path.abspath(path)
        self.name = name or os.path.basename(self._root) or "root"
        scan = _Scan(self._root)
        self.layout = Layout(scan.found, scan.folders, scan.companions, class_from)
        entries = self.layout.entries
        order = sorted_order(entries)
        self.entries = [entries[i] for i in order]
        self._real = {k: scan.found[i].path for k, i in enumerate(order) if scan.found[i].path != entries[i].path}
        self.skipped = dict(scan.skipped)
        self.notes: list[Note] = self.layout.notes
        if self.layout.empty_classes:
            self.skipped[EMPTY_CLASS] = self.layout.empty_classes

    def read(self, index: int) -> bytes:
        """Return the bytes of the picture."""
        return read_file(self._path(index))

    def link(self, index: int) -> str | None:
        """Return the picture's absolute path, or None where its name is not text that can be written."""
        path = self._path(index)
        return path if is_encodable(path) else None

    def _path(self, index: int) -> str:
        return os.path.join(self._root, self._real.get(index) or self.entries[index].path)


class _Scan:
    """One walk through a folder: the pictures, the folders, and what was skipped."""

    def __init__(self, root: str) -> None:
        self.found: list[FoundFile] = []
        self.folders: list[str] = []
        self.companions = Companions()
        self.skipped: Counter[str] = Counter()
        try:
            status = os.stat(root)
            os.scandir(root).close()
        except OSError as error:
            raise SourceError(
                _("The folder {root} cannot be read: {reason}.").format(root=root, reason=system_reason(error))
            ) from error
        self._waiting: list[tuple[str, tuple[_Identity, ...]]] = [("", ((status.st_dev, status.st_ino),))]
        while self._waiting:
            folder, above = self._waiting.pop()
            try:
                with os.scandir(os.path.join(root, folder)) as items:
                    for item in items:
                        self._take(item, join_path(folder, item.name), above)
            except OSError as error:
                self.found.append(FoundFile(folder, _folder_refusal(error)))

    def _take(self, item: os.DirEntry[str], path: str, above: tuple[_Identity, ...]) -> None:
        kind = kind_of_file(item.name)
        if kind == "helper":
            self.skipped[HIDDEN] += 1
        elif _answer(item.is_dir):
            self._enter(item, path, above)
        elif kind == "other":
            self.skipped[OTHER] += 1
            self.companions.add(path)
        else:
            self._take_file(item, path, is_picture=kind == "picture")

    def _enter(self, item: os.DirEntry[str], path: str, above: tuple[_Identity, ...]) -> None:
        try:
            status = os.stat(item.path)  # DirEntry.inode() is the link's own, so it would not show a loop
        except OSError as error:
            self.found.append(FoundFile(path, _folder_refusal(error)))
            return
        here = (status.st_dev, status.st_ino)
        if here in above:
            self.skipped[LOOP] += 1
            return
        if len(above) > DEEPEST:
            self.found.append(FoundFile(path, Refusal("folders_too_deep", f"{DEEPEST:,}")))
            return
        self.folders.append(path)
        self._waiting.append((path, (*above, here)))

    def _take_file(self, item: os.DirEntry[str], path: str, *, is_picture: bool) -> None:
        """Take a file that is a picture by its name, or perhaps by its first bytes."""
        if _answer(item.is_file):
            try:
                if not is_picture:
                    with open(item.path, "rb", buffering=0) as file:
                        is_picture = has_image_signature(file.read(SIGNATURE_BYTES))
            except OSError as error:
                self.found.append(FoundFile(path, unreadable(error).refusal))
                return
            if is_picture:
                self.found.append(FoundFile(path))
            else:
                self.skipped[OTHER] += 1
        elif item.is_symlink() and not os.path.exists(item.path):
            self.found.append(FoundFile(path, Refusal("broken_link")))
        elif is_picture:
            self.found.append(FoundFile(path, Refusal("not_a_regular_file")))
        else:
            self.skipped[OTHER] += 1


def _folder_refusal(error: OSError) -> Refusal:
    return Refusal("folder_unreadable", (error.strerror or str(error)).lower())


def _answer(ask: Callable[[], bool]) -> bool:
    """Return the answer, or False where the system gives none: a link that leads to itself."""
    try:
        return ask()
    except OSError:
        return False
