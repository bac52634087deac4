"""The layout of a tree of files, on disk or in an archive: class folders, ready-made splits, pictures outside both."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kilat.data.catalog import Entry
from kilat.data.image_file import printable
from kilat.data.labels import normalize_label
from kilat.locale.refusals import Refusal

SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}

HIDDEN = "hidden"
OTHER = "not_a_picture"
EMPTY_CLASS = "empty_class_folder"
LOOP = "folder_loop"
"""Codes of ``Source.skipped``: hidden and helper files, files that are not pictures, class folders without any, and
folders that lead back to themselves."""

_NO_CLASS = Refusal("no_class_folder")
_NO_SPLIT = Refusal("outside_splits")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that came in as a picture.

    Args:
        path: from the root, with ``/``.
        refused: why it is refused before it is read; None where it is not.
    """

    path: str
    refused: Refusal | None = None


class FolderTree:
    """The folders of a source and the pictures in them.

    Args:
        found: the pictures.
        folders: every folder, with those above it, as paths from the root without a trailing ``/``.
    """

    def __init__(self, found: Sequence[FoundFile], folders: Iterable[str]) -> None:
        self._found = found
        self._children: dict[str, list[str]] = {}
        for folder in folders:
            parent, _, name = folder.rpartition("/")
            self._children.setdefault(parent, []).append(name)
        self._direct = {item.path.rpartition("/")[0] for item in found}
        # The children of the base are classes or splits; wrappers such as flowers/flowers/ are passed through.
        self.base = ""
        while len(names := self._children.get(self.base, [])) == 1:
            inner = join_path(self.base, names[0])
            if inner in self._direct or inner not in self._children:
                break
            self.base = inner
        # Splits are ready-made where there is a train folder of class folders and at least one other split.
        named = {n: SPLIT_FOLDERS[n.lower()] for n in self._children.get(self.base, []) if n.lower() in SPLIT_FOLDERS}
        trains = [join_path(self.base, name) for name, split in named.items() if split == "train"]
        ready = any(folder in self._children for folder in trains) and len(set(named.values())) > 1
        self.splits = named if ready else {}

    def entries(self) -> list[Entry]:
        """Return an entry for each picture, in the order they were given."""
        entries = []
        labels: dict[str, str] = {}  # one string in memory for all pictures of a class
        prefix = self.base + "/" if self.base else ""
        for item in self._found:
            inside = item.path.startswith(prefix)
            parts = split_path(item.path[len(prefix) :] if inside else "")
            split, refused = "", item.refused
            if self.splits and len(parts) > 1:
                split = self.splits.get(parts[0], "")
                parts = parts[1:]
                refused = refused or (None if split else _NO_SPLIT)
            label = ""
            if len(parts) > 1 and refused is not _NO_SPLIT:
                if parts[0] not in labels:
                    labels[parts[0]] = normalize_label(parts[0])
                label = labels[parts[0]]
            entries.append(Entry(printable(item.path), label, split, refused or (None if label else _NO_CLASS)))
        return entries

    def empty_classes(self) -> int:
        """Return how many class folders have no picture at any depth."""
        roots = [join_path(self.base, name) for name in self.splits] or [self.base]
        depth = len(split_path(roots[0])) + 1
        filled = {tuple(split_path(folder)[:depth]) for folder in self._direct}
        classes = (split_path(join_path(root, name)) for root in roots for name in self._children.get(root, []))
        return sum(tuple(parts) not in filled for parts in classes)


def sorted_order(entries: Sequence[Entry]) -> list[int]:
    """Return the order that is the same on any file system: by class, then by path, by codepoint."""

    def key(index: int) -> tuple[str, str, str]:
        entry = entries[index]
        return entry.label, unicodedata.normalize("NFC", entry.path), entry.path

    return sorted(range(len(entries)), key=key)


def join_path(folder: str, name: str) -> str:
    """Return ``folder/name``, where the root is the empty string."""
    return f"{folder}/{name}" if folder else name


def split_path(path: str) -> list[str]:
    """Return the components of a path; none for the root."""
    return path.split("/") if path else []
