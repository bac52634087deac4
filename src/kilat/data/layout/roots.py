"""The roots of a layout: the folders that hold the class folders, one for every part of a ready-made split."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kilat.data.layout.folder_names import is_annotations, is_date, is_pictures, is_unlabelled, name_key, part_stem
from kilat.data.layout.tree import Folder, split_path
from kilat.data.split_names import SplitName, split_name, split_of, splits_among, telling_words
from kilat.locale.notes import Note
from kilat.locale.refusals import Refusal

ANNOTATION = Refusal("annotation_folder")
_NO_SPLIT = Refusal("outside_splits")
_UNLABELLED = Refusal("unlabelled_folder")

_USUAL = ("train", "val", "valid", "validation", "test")
"""Names of splits that nobody needs to be told the meaning of."""


@dataclass(frozen=True, slots=True)
class Root:
    """A folder whose pictures have their split from it, and their class from the folders in it.

    Args:
        folder: the folder.
        split: of its pictures; empty where there is none.
        label: the class of all its pictures; empty where the folders in it are the classes.
        refused: why its pictures are refused; None where they are not.
    """

    folder: Folder
    split: str = ""
    label: str = ""
    refused: Refusal | None = None

    @property
    def classes(self) -> list[Folder]:
        """The class folders in it."""
        return [] if self.label or self.refused else self.folder.folders


@dataclass(frozen=True)
class Problem:
    """Why a layout tells no classes.

    Args:
        kind: ``flat``, ``flat_splits``, ``flat_parts``, ``same_folders``, ``several_data_sets`` or ``data_folder``.
        folder: the folder in question, from the root.
        names: of the folders in it.
        inner: names of the folders in these.
    """

    kind: str
    folder: str
    names: list[str] = field(default_factory=list)
    inner: list[str] = field(default_factory=list)


class RootFinder:
    """Finds the roots in a tree of folders.

    Args:
        top: the root of the tree.
        class_from: what names the class, where the user said it (``kilat.data.reading.CLASS_FROM``).

    Attributes:
        level: the folder that the roots were looked for in: behind wrappers such as ``flowers/flowers/``.
        roots: what was found.
        notes: what was read into the folders.
        problem: why they tell no classes; None where they may.
    """

    def __init__(self, top: Folder, class_from: str | None) -> None:
        self.roots: list[Root] = []
        self.notes: list[Note] = []
        self.problem: Problem | None = None
        self._class_from = class_from
        self.level = self._labelled(self._inside(top))
        named = _splits_in(self.level)
        readings = (self._take_splits_in_names, self._take_splits, self._take_splits_in_classes, self._take_parts)
        if not any(read(named) for read in readings):
            self._take_whole()
        self._leave_out_annotations(top)

    def _take_whole(self) -> None:
        """Take the folder as it is, without a split."""
        self.roots.append(Root(self.level))
        if self.level.direct and not self.level.inner and self._class_from != "file-name":
            self.problem = Problem("flat", self.level.path)
        wrappers = [name for name in self.level.path.split("/") if split_of(name) in ("validation", "test")]
        if wrappers:
            self.notes.append(Note("only_folder_of_split", {"folder": wrappers[0]}))

    def _take_splits(self, named: dict[str, SplitName]) -> bool:
        """Take folders named like splits, with class folders in them: ``training/cat``, ``seg_test/seg_test/cat``."""
        if not named or len({one.stem for one in named.values() if one.stem}) > 1:
            return False
        named = named | self._unnamed_training(named)
        beside = [one for one in self.level.folders if one.name not in named and not is_annotations(one.name)]
        sides = [one for one in beside if not is_unlabelled(one.name)]
        classes = {name: _class_names(self.level.inner[name]) for name in named}
        inner: dict[str, Folder] = {}
        for name in named:
            elsewhere = [keys for other, keys in classes.items() if other != name and len(keys) > 1]
            inner[name] = self._inside(self.level.inner[name], frozenset().union(*elsewhere))
        labelled = [name for name in named if inner[name].inner or self._class_from == "file-name"]
        splits = {one.split for one in named.values()}
        if not labelled:
            return self._refuse_flat_splits(named, sides)
        if len(splits) == 1 and (len(named) > 1 or sides or len(self.level.inner) == 1):
            return False
        shared = _share_names([inner[name] for name in labelled])
        trained = any(named[name].split == "train" for name in labelled)
        # Where splits share no class, and other folders stand beside them, all of them are more likely to be classes,
        # unless there is a training folder and the other splits have no labels.
        if sides and not shared and not (trained and len(labelled) < len(named) and len(sides) < len(named)):
            return False
        self._keep_splits(named, inner, labelled)
        self._leave_out(beside, _NO_SPLIT, "folders_beside_splits")
        return True

    def _unnamed_training(self, named: dict[str, SplitName]) -> dict[str, SplitName]:
        """Return the folder that has the name of the others without a split: ``rps`` beside ``rps-test-set``."""
        stems = {one.stem for one in named.values()}
        if len(stems) != 1 or not (stem := stems.pop()) or any(one.split == "train" for one in named.values()):
            return {}
        found = [one for one in self.level.folders if one.name not in named and telling_words(one.name) == stem]
        is_alike = found and _share_names([self._inside(one) for one in (*found, self.level.inner[min(named)])])
        return {one.name: SplitName("train", stem, one.name) for one in found} if is_alike else {}

    def _keep_splits(self, named: dict[str, SplitName], inner: dict[str, Folder], labelled: Sequence[str]) -> None:
        """Make roots of the splits, and say how they were read."""
        splits = {name: named[name].split for name in named}
        if any(split_of(name) != split or name.casefold() not in _USUAL for name, split in splits.items()):
            self.notes.append(Note("splits_by_name", {"folders": dict(sorted(splits.items()))}))
        for name in sorted(set(named) - set(labelled)):
            count = inner[name].count
            self.notes.append(Note("split_without_labels", {"folder": name, "count": count}))
        kept = {splits[name] for name in labelled}
        if "train" not in kept:
            folders = {split: [name for name in sorted(labelled) if splits[name] == split] for split in kept}
            if kept == {"validation", "test"}:
                values = {"validation": folders["validation"], "test": folders["test"]}
                self.notes.append(Note("no_training_folder", values))
            else:
                self.notes.append(Note("only_folder_of_split", {"folder": min(labelled)}))
            instead = {"validation": "train"} if "validation" in kept else {"test": ""}
            splits |= {name: instead.get(splits[name], splits[name]) for name in labelled}
        roots = [Root(inner[name], splits[name]) for name in sorted(named)]
        self.roots += self._without_splits_in_names(roots) or roots

    def _without_splits_in_names(self, roots: Sequence[Root]) -> list[Root]:
        """Return a root for each class where their names repeat the split: ``train/train_cats``, ``test/test_cats``."""
        if _share_names([root.folder for root in roots]):
            return []
        classes = []
        for root in roots:
            for folder in root.classes:
                name = split_name(folder.name)
                if name is None or name.split != root.split or not name.rest:
                    return []
                classes.append(Root(folder, root.split, name.rest))
        if len({name_key(one.label) for one in classes}) == len(classes):
            return []
        self.notes.append(Note("splits_in_names", {"folders": sorted(one.folder.name for one in classes)}))
        return classes

    def _refuse_flat_splits(self, named: dict[str, SplitName], sides: list[Folder]) -> bool:
        """Refuse folders named like splits in which no class folders are, unless they stand among classes."""
        alone = all(is_pictures(one.name) and not one.inner for one in sides)
        if self._class_from is not None or not alone:
            return False
        self.problem = Problem("flat_splits", self.level.path, sorted(named))
        self.roots.append(Root(self.level))
        return True

    def _take_splits_in_names(self, named: dict[str, SplitName]) -> bool:
        """Take folders that name split and class at once: ``train_cats``, ``train_dogs``, ``test_cats`` and so on."""
        if set(named) != set(self.level.inner) or any(one.inner for one in self.level.folders):
            return False
        if self._class_from == "first-folder" or len({one.split for one in named.values()}) < 2:
            return False
        classes = Counter(name_key(one.rest) for one in named.values() if one.stem)
        if classes.total() < len(named) or sum(count > 1 for count in classes.values()) < 2:
            return False
        self.roots += [Root(self.level.inner[name], one.split, one.rest or name) for name, one in named.items()]
        self.notes.append(Note("splits_in_names", {"folders": sorted(named)}))
        return True

    def _take_splits_in_classes(self, named: dict[str, SplitName]) -> bool:
        """Take classes that are split each by itself: ``cat/train``, ``cat/test``; refuse data sets side by side."""
        outer = [one for one in self.level.folders if not is_annotations(one.name)]
        inside = {one.name: self._inside(one) for one in outer}
        inner = {name: _splits_in(one) for name, one in inside.items()}
        data_sets = [one.name for one in outer if self._is_data_set(inside[one.name], inner[one.name])]
        if len(outer) < 2 or (data_sets and self._class_from == "first-folder"):
            return False
        if data_sets and self._class_from is None:
            parts = sorted({part for name in data_sets for part in inner[name]})
            self.problem = Problem("several_data_sets", self.level.path, data_sets, parts)
        split = [one.name for one in outer if self._is_split(inside[one.name], inner[one.name])]
        are_alike = len(split) == len(outer) or not any(one.inner for one in outer if one.name not in split)
        if not (data_sets and self._class_from is None) and not (are_alike and 1 < len(split) >= len(outer) / 2):
            return False
        for one in outer:
            label = "" if data_sets else one.name
            if one.name not in split:
                self.roots.append(Root(one, "", label))
            for name, found in inner[one.name].items():
                self.roots.append(Root(self._inside(inside[one.name].inner[name]), found.split, label))
        if not data_sets:
            self.notes.append(Note("splits_in_classes", {"classes": split}))
        return True

    @staticmethod
    def _is_split(folder: Folder, named: dict[str, SplitName]) -> bool:
        """Return whether a folder holds the parts of a split and nothing else."""
        others = [name for name in folder.inner if name not in named and not is_annotations(name)]
        return not folder.direct and not others and len({one.split for one in named.values()}) > 1

    def _is_data_set(self, folder: Folder, named: dict[str, SplitName]) -> bool:
        """Return whether a folder holds the parts of a split, and these the same class folders."""
        return self._is_split(folder, named) and _share_names([self._inside(folder.inner[name]) for name in named])

    def _take_parts(self, named: dict[str, SplitName]) -> bool:
        """Take folders that are numbered parts of one: ``fold_1/cat``, ``fold_2/cat``; refuse those without classes."""
        parts = [one for one in self.level.folders if not is_annotations(one.name)]
        stems = {part_stem(one.name) for one in parts}
        are_numbered = (len(stems) == 1 and None not in stems) or all(is_date(one.name) for one in parts)
        are_one_split = len(named) == len(parts) and len({(one.split, one.stem) for one in named.values()}) == 1
        if len(parts) < 2 or not (are_numbered or are_one_split) or self._class_from == "first-folder":
            return False
        inner = [self._inside(one) for one in parts]
        names = [one.name for one in parts]
        if not any(one.inner for one in inner) and self._class_from != "file-name":
            if all(is_date(name) for name in names):
                return False
            self.problem = Problem("flat_parts", self.level.path, names)
            self.roots.append(Root(self.level))
            return True
        if self._class_from != "file-name" and not _share_names(inner):
            return False
        self.roots += [Root(one) for one in inner]
        self.notes.append(Note("parts_joined", {"folders": names}))
        return True

    def _inside(self, folder: Folder, classes: frozenset[str] = frozenset()) -> Folder:
        return inside(folder, classes, is_literal=self._class_from == "first-folder")

    def _labelled(self, folder: Folder) -> Folder:
        """Return the folder with the class folders where those beside it are named as having no labels."""
        without = [one for one in folder.folders if is_unlabelled(one.name)]
        others = [one for one in folder.folders if not is_unlabelled(one.name)]
        if not without or len(others) != 1 or others[0].direct or split_name(others[0].name):
            return folder
        self._leave_out(without, _UNLABELLED, "unlabelled_folders")
        return self._inside(others[0])

    def _leave_out_annotations(self, top: Folder) -> None:
        """Refuse the masks and other annotations beside the way to the roots and in the classes."""
        found: dict[str, Folder] = {}
        for root in self.roots:
            if root.refused:
                continue
            folder = top
            for name in split_path(root.folder.path):
                found |= {one.path: one for one in folder.folders if one.name != name and is_annotations(one.name)}
                folder = folder.inner[name]
            if folder.direct and all(map(is_annotations, folder.inner)):
                found |= {one.path: one for one in folder.folders}
            for one in [root.folder] if root.label else root.classes:
                found |= {inner.path: inner for inner in _annotations_in(one)}
        self._leave_out(list(found.values()), ANNOTATION, "annotation_folders")

    def _leave_out(self, folders: list[Folder], refusal: Refusal, code: str) -> None:
        """Refuse the pictures in some folders, and say so."""
        if folders:
            self.roots += [Root(one, refused=refusal) for one in folders]
            count = sum(one.count for one in folders)
            self.notes.append(Note(code, {"folders": sorted({one.name for one in folders}), "count": count}))


def inside(folder: Folder, classes: frozenset[str] = frozenset(), *, is_literal: bool = False) -> Folder:
    """Return the folder in which the class folders stand: behind wrappers, and the pictures beside masks.

    Args:
        folder: to begin with.
        classes: keys of names that are classes elsewhere, so that they are no wrappers here.
        is_literal: whether folders with pictures are classes, whatever their names say.
    """
    while True:
        others = [one for one in folder.folders if not is_annotations(one.name)]
        if len(others) != 1:
            return folder
        inner = others[0]
        if len(folder.inner) > 1:
            is_wrapper = is_pictures(inner.name)
        else:
            says_nothing = (
                is_pictures(inner.name) or split_of(inner.name) or name_key(inner.name) == name_key(folder.name)
            )
            is_wrapper = name_key(inner.name) not in classes and (not inner.direct or bool(says_nothing))
        if not is_wrapper or (is_literal and inner.direct):
            return folder
        folder = inner


def _annotations_in(folder: Folder) -> Iterator[Folder]:
    """Yield the folders of masks and the like in a class: those beside pictures or beside a folder of pictures."""
    has_pictures = folder.direct or any(map(is_pictures, folder.inner))
    for one in folder.folders:
        if has_pictures and is_annotations(one.name):
            yield one
        else:
            yield from _annotations_in(one)


def _splits_in(folder: Folder) -> dict[str, SplitName]:
    """Return the folders in a folder that are named like splits; ``train_masks`` is not."""
    return splits_among(name for name in folder.inner if not is_annotations(name))


def _class_names(folder: Folder) -> frozenset[str]:
    """Return the keys of the folders in a folder whose names may be those of classes."""
    return frozenset(name_key(name) for name in folder.inner if not (is_annotations(name) or is_pictures(name)))


def _share_names(folders: Sequence[Folder]) -> bool:
    """Return whether a class folder is in more than one of these."""
    counts = Counter(key for folder in folders for key in {name_key(name) for name in folder.inner})
    return any(count > 1 for count in counts.values())
