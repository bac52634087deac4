"""The layout of a tree of files, on disk or in an archive: which folders are splits, which are classes, which neither.

First the roots are found, the folders that hold the class folders (``kilat.data.layout.roots``). Then the classes in
them are looked at: folders that hold nothing but the same folders are no classes. Whatever was read into the folders is
a note. Where two readings are as likely, or there is none, that is a problem, and an error as soon as labels are needed
(``kilat.data.layout.no_classes``).
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from kilat.data.catalog import Entry
from kilat.data.image_file import printable
from kilat.data.labels import normalize_label
from kilat.data.layout.folder_names import is_annotations, is_data, is_date, is_unlabelled, name_key
from kilat.data.layout.roots import ANNOTATION, Problem, Root, RootFinder, inside
from kilat.data.layout.tree import Companions, Folder, FoundFile, split_path
from kilat.data.split_names import split_of
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal

HIDDEN = "hidden"
OTHER = "not_a_picture"
EMPTY_CLASS = "empty_class_folder"
LOOP = "folder_loop"
BLANK_ROW = "blank_row"
"""Codes of ``Source.skipped``: hidden and helper files, files that are not pictures, class folders without any, folders
that lead back to themselves, and rows of a table with nothing in their cells."""

_NO_CLASS = Refusal("no_class_folder")
_NO_NAME = Refusal("no_class_in_name")

_SHARED = 0.5
"""The share of the folders in a class that stand in other classes too, on average, from which on they are the same."""

_LONGEST_NAME = 255
"""Characters of a file's name on a disk; finding the number in a longer one takes time that grows with its square."""

_NUMBERED = re.compile(r"(.+?)[\s._-]+\(?\d+\)?|(.*[^\W\d_])\(?\d+\)?|\d+[\s._-]+([^\W\d_].*)")
"""The name of a picture with a number: ``cat.12``, ``cat (12)``, ``cat12``, or ``12_cat``."""


class Layout:
    """What the folders around pictures say of them.

    Args:
        found: the pictures.
        folders: every folder, with those above it, as paths from the root without a trailing ``/``.
        companions: the files beside the pictures.
        class_from: what names the class, where the user said it (``kilat.data.reading.CLASS_FROM``).

    Attributes:
        entries: one for each picture, in the order they were given.
        notes: what was read into the folders.
        problem: why they tell no classes; None where they do.
        companions: as given.
        roots: the folders that hold the class folders.
        empty_classes: how many class folders have no picture at any depth.
    """

    def __init__(
        self,
        found: Sequence[FoundFile],
        folders: Iterable[str],
        companions: Companions | None = None,
        class_from: str | None = None,
    ) -> None:
        finder = RootFinder(Folder.tree(found), class_from)
        self._class_from, self.roots = class_from, finder.roots
        self.problem, self.notes = finder.problem, finder.notes
        self.companions = companions or Companions()
        if self.problem is None and class_from is None:
            self._look_at_classes(finder.level)
        self.entries = self._entries(found)
        self.empty_classes = self._count_empty(folders)
        tables = [path for path in self.companions.tables if path.rpartition("/")[0] in ("", finder.level.path)]
        if tables and self.problem is None:
            values = {"tables": [printable(path) for path in sorted(tables)], "count": len(tables)}
            self.notes.append(Note("tables_not_used", values))
        if self.companions.archives:
            archives = [printable(path) for path in sorted(self.companions.archives)]
            self.notes.append(Note("archives_not_opened", {"archives": archives}))

    # the classes

    def _look_at_classes(self, level: Folder) -> None:
        """Look into the class folders: for copies of all classes, masks, and folders that may be the classes."""
        self._take_nested_copies()
        classes: dict[str, list[Folder]] = defaultdict(list)
        for root in self.roots:
            for folder in root.classes:
                if not any(one.folder is folder for one in self.roots):
                    classes[name_key(folder.name)].append(folder)
        self._note_doubtful(sorted({folder.name for folders in classes.values() for folder in folders}))
        deep = {key: folders for key, folders in classes.items() if not any(one.direct for one in folders)}
        inner = {key: _inner_folders(folders) for key, folders in deep.items()}
        if all(is_date(name) for names in inner.values() for name in names.values()):
            return
        if 2 * len(deep) >= len(classes) and (same := _same_names(inner)):
            outer = sorted({folders[0].name for folders in deep.values()})
            self.problem = Problem("same_folders", level.path, outer, same)
            return
        holders = sorted(key for key, names in inner.items() if names)
        data = [deep[key][0].name for key in holders if is_data(deep[key][0].name) and len(inner[key]) > 1]
        if data and len(classes) > 1:
            self.problem = Problem("data_folder", level.path, data, sorted(inner[name_key(data[0])].values()))
        elif len(set().union(*inner.values())) > 1:
            leaves = {leaf.path: leaf.name for key in holders for leaf in deep[key][0].leaves}
            option = "last-folder" if len(set(leaves.values())) == len(leaves) else "folders"
            values = {"classes": [deep[key][0].name for key in holders], "folders": sorted(set(leaves.values()))}
            self.notes.append(Note("classes_hold_only_folders", {**values, "option": option}))

    def _note_doubtful(self, names: list[str]) -> None:
        """Say which classes have names that are no usual ones for a class."""
        doubtful = [name for name in names if split_of(name) or is_unlabelled(name)]
        if 0 < len(doubtful) < len(names):
            others = [name for name in names if name not in doubtful]
            values = {"folders": doubtful, "others": others, "count": len(doubtful)}
            self.notes.append(Note("doubtful_classes", values))

    def _take_nested_copies(self) -> None:
        """Take a folder that stands among the classes and holds folders of their names for more of the same."""
        for root in list(self.roots):
            keys = {name_key(one.name) for one in root.classes}
            for folder in root.classes:
                inside = {name_key(name) for name in folder.inner}
                if folder.direct or len(inside & (keys - {name_key(folder.name)})) < max(2, len(inside) / 2):
                    continue
                if is_annotations(folder.name):
                    self.roots.append(Root(folder, refused=ANNOTATION))
                    continue
                split = root.split or split_of(folder.name) or ""
                self.roots.append(Root(folder, split))
                code, values = "nested_copy", {"folder": folder.name, "count": folder.count}
                if split != root.split:
                    code, values = "nested_split", {**values, "split": split}
                self.notes.append(Note(code, values))

    # the pictures

    def _entries(self, found: Sequence[FoundFile]) -> list[Entry]:
        roots = {root.folder.path: root for root in self.roots}
        places: dict[str, tuple[str, str, Refusal | None]] = {}  # of the pictures in a folder: label, split, refusal
        merged: dict[str, set[str]] = defaultdict(set)
        entries = []
        for item in found:
            folder, _, name = item.path.rpartition("/")
            if folder not in places:
                root = next((roots[one] for one in _upwards(folder) if one in roots), None)
                places[folder] = self._place(folder, root)
                merged[places[folder][0]].add(folder[len(root.folder.path) :] if root else "")
            label, split, refused = places[folder]
            if self._class_from == "file-name" and not refused:
                label = class_in_name(name)
                refused = None if label else _NO_NAME
            entries.append(Entry(printable(item.path), label, split, item.refused or refused))
        if self._class_from == "last-folder":
            several = {label: sorted(merged[label]) for label in sorted(merged) if label and len(merged[label]) > 1}
            if several:
                example = next(iter(several.values()))[:2]
                values = {"classes": list(several), "folders": [printable(one.strip("/")) for one in example]}
                self.notes.append(Note("classes_joined", values))
        return entries

    def _place(self, folder: str, root: Root | None) -> tuple[str, str, Refusal | None]:
        """Return label, split and refusal of the pictures in a folder, given the root that it stands in."""
        if root is None:
            return "", "", _NO_CLASS
        if root.refused or root.label:
            return normalize_label(root.label), root.split, root.refused
        if self._class_from == "file-name":
            return "", root.split, None
        parts = split_path(folder[len(root.folder.path) :].strip("/"))
        label = {
            "last-folder": "".join(parts[-1:]),
            "folders": "/".join(map(normalize_label, parts)),
        }.get(self._class_from or "", "".join(parts[:1]))
        label = normalize_label(label)
        return label, root.split, None if label else _NO_CLASS

    def _count_empty(self, folders: Iterable[str]) -> int:
        """Return how many folders beside the classes have no pictures."""
        filled = {folder.path for root in self.roots for folder in root.classes}
        roots = {root.folder.path for root in self.roots if not (root.label or root.refused)}
        return sum(
            folder.rpartition("/")[0] in roots
            and folder not in filled
            and not is_annotations(folder.rpartition("/")[2])
            for folder in folders
        )


def class_in_name(name: str) -> str:
    """Return the class in a picture's name, beside a number: ``cat`` of ``cat.12.jpg``, ``12_cat.jpg``; or nothing."""
    stem = name.rpartition(".")[0] or name
    found = _NUMBERED.fullmatch(stem) if len(stem) <= _LONGEST_NAME else None
    return normalize_label(next(filter(None, found.groups())).strip(" ._-")) if found else ""


def sorted_order(entries: Sequence[Entry]) -> list[int]:
    """Return the order that is the same on any file system: by class, then by path, by codepoint."""

    def key(index: int) -> tuple[str, str, str]:
        entry = entries[index]
        return entry.label, unicodedata.normalize("NFC", entry.path), entry.path

    return sorted(range(len(entries)), key=key)


def _inner_folders(folders: Iterable[Folder]) -> dict[str, str]:
    """Return the names of the folders in a class, behind wrappers, by key; none where pictures stand beside them."""
    found: dict[str, str] = {}
    for within in map(inside, folders):
        if not within.direct:
            found |= {name_key(one.name): one.name for one in within.folders if not is_annotations(one.name)}
    return found


def _same_names(inner: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the names of folders that are in several classes, if most of those in a class are; else nothing.

    Args:
        inner: by class, the names of the folders in it, by key.
    """
    counts = Counter(key for names in inner.values() for key in names)
    shares = [sum(counts[key] > 1 for key in names) / len(names) for names in inner.values() if names]
    if len(counts) < 2 or max(map(len, inner.values())) < 2 or sum(shares) < _SHARED * len(shares):
        return []
    return sorted({name for names in inner.values() for key, name in names.items() if counts[key] > 1})


def _upwards(folder: str) -> Iterable[str]:
    """Yield a folder and those above it, the root at last."""
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""
