"""From what a table writes in its column of pictures to files: paths as seen from elsewhere, ids, names without ending.

A value is first taken as it is written. Where no such file exists, it is matched with the files that are there, by the
end of their paths: all of the value must fit, except for leading folders that all values share, as in paths from
another computer. What fits several files is refused, never guessed.
"""

import os
import posixpath
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from urllib.parse import parse_qs, unquote, urlsplit

from kilat.data.split_names import split_name, split_of
from kilat.data.table.picture_files import PictureFiles, fold_path

_FOR_TABLES = frozenset(
    """
    ann anno annotation annotations csv csvs data docs files groundtruth gt index info label labels labeling list lists
    meta metadata split splits table tables tabular
    """.split()
)
"""What folders are called that hold tables about the pictures beside them."""

_MAX_AROUND = 200_000
"""Files and folders around such a folder, above which they are not searched."""

_REMEMBERED = 65_536
"""Values that are looked up once, however often they come."""

_NEARLY_ALL = 0.9
"""The share of names that a folder must have to be the one that a table is about."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Match:
    """The files that a value may mean.

    Args:
        files: their absolute paths; one where it is clear.
        how: ``literal`` as it is written, ``spelling`` with slashes or without what makes it a URL; else what its name
            was found by: ``name``, ``ending`` (added or another one) or ``number`` (leading zeros were lost).
        dropped: leading folders of the value that were left out.
        inside: the folder, from where the search began, that what is left of the value begins in.
        kept: how many components of the value, with the name, are the end of a file's path.
    """

    files: tuple[str, ...]
    how: str = "literal"
    dropped: str = ""
    inside: str = ""
    kept: int = 1

    def outer(self, file: str) -> str:
        """Return the folder that the value is seen from, if it means this file."""
        return file.rsplit(os.sep, self.kept)[0]


NOTHING = Match(())
_IN_PLACE = ("literal", "spelling")


@dataclass(frozen=True)
class Matched:
    """A whole column matched with files.

    Args:
        matches: of each row.
        root: the folder that was searched.
    """

    matches: list[Match]
    root: str

    @cached_property
    def found(self) -> list[int]:
        """The rows whose picture is clear."""
        return [row for row, match in enumerate(self.matches) if len(match.files) == 1]

    @property
    def distinct(self) -> int:
        """How many different pictures the column may name."""
        return len({file for match in self.matches for file in match.files[:1]})

    def file(self, row: int) -> str:
        """Return the absolute path of a row's picture; nothing where it has none."""
        files = self.matches[row].files if self.matches else ()
        return files[0] if len(files) == 1 else ""


class PathMatcher:
    """Finds the files that the values of a table mean.

    Args:
        folder: the table's own; values may be relative to it.
        images: the folder that the user named; then nothing else is searched.
        name: of the table, without ending: ``train.csv`` is rather about the folder ``train``.
    """

    def __init__(self, folder: str, images: str | None = None, name: str = "") -> None:
        self.base = os.path.abspath(images or folder)
        self.files = PictureFiles(self.base)
        self._split = _split_in(name)
        self._is_said = images is not None

    def widen(self) -> bool:
        """Search around the table's folder, where that has no pictures and is called like a folder for tables.

        Returns:
            Whether anything is there. Of any other folder the neighbours have nothing to do with it.
        """
        around, own = os.path.split(self.base)
        if self._is_said or own.casefold() not in _FOR_TABLES or self.files.paths:
            return False
        wider = PictureFiles(around, _MAX_AROUND)
        if not wider.paths:
            return False
        self.files = wider
        return True

    def match(self, values: Sequence[str]) -> Matched:
        """Return the files that the values of a column mean."""
        literal = lru_cache(_REMEMBERED)(self._literal)
        matches = [literal(value) for value in values]
        if all(match.files for match in matches):
            return Matched(matches, self.files.root)
        # The components of paths are split as often as they are needed: kept, they would take most of the memory.
        shared = _shared_folders(map(path_parts, values))
        if self._is_said:  # that the pictures are there, wherever they were
            longest = max(len(path_parts(value)) for value in values)
            shared |= dict.fromkeys(filter(None, shared), longest)
        # Where some values are right as they are written, the others mean files in the same folders.
        settled: dict[str, set[str]] = defaultdict(set)
        for value, match in zip(values, matches, strict=True):
            if match.files:
                settled[_origin(path_parts(value))] |= {os.path.dirname(file) for file in match.files}
        found: dict[str, Match] = {}
        for row, value in enumerate(values):
            if matches[row].files or not value.strip():
                continue
            if value not in found:
                parts = path_parts(value)
                found[value] = self._search_beside(parts, settled[_origin(parts)], shared.get(_origin(parts), 0))
            matches[row] = found[value]
        return Matched(matches, self.files.root)

    def _search_beside(self, parts: list[str], folders: set[str], droppable: int) -> Match:
        """Return the pictures whose paths end as a value does, where others are known only if in the same folders."""
        found = self._search(parts, 0 if folders else droppable)
        is_elsewhere = folders and not {os.path.dirname(file) for file in found.files} <= folders
        return NOTHING if is_elsewhere else found

    def tried(self, value: str) -> str:
        """Return the path that was tried first, or the address that it is."""
        return (
            value.strip() if _ADDRESS.match(value.strip()) else os.path.normpath(os.path.join(self.base, value.strip()))
        )

    def nearest(self, value: str) -> str:
        """Return the absolute path of the picture that is most like a value; nothing where there are none."""
        near = self.files.nearest("/".join(path_parts(value)).lstrip("/"))
        return os.path.join(self.files.root, near) if near else ""

    def _literal(self, value: str) -> Match:
        plain = plain_path(value)
        if plain == value and "%" not in value:  # as nearly all values are
            forms = {value: "literal"}
        else:
            forms = {unquote(plain): "spelling", plain: "spelling", value.strip(): "literal", value: "literal"}
        for written, how in reversed(forms.items()):
            path = os.path.normpath(os.path.join(self.base, written))
            if written.strip() and _is_there(path):
                return Match((path,), how)
        return NOTHING

    def _search(self, parts: list[str], droppable: int) -> Match:
        """Return the pictures whose paths end as a value does, those that share most of it.

        Args:
            parts: of the value; the first is ``/`` for an absolute one.
            droppable: how many leading parts need not fit.
        """
        if not parts:
            return NOTHING
        for how, rows in self.files.named(fold_path(parts[-1])):
            if not rows:
                continue
            best, most = self.files.sharing_most(rows, [fold_path(part) for part in parts[:-1]])
            dropped = parts[: len(parts) - 1 - most]
            if len(dropped) > droppable:
                continue
            best = [row for row in best if self._fits_split(dropped, self.files.parts[row][: -most or None])]
            if not best:
                continue
            root = self.files.root
            inside = {"/".join(self.files.paths[row].split("/")[: -1 - most]) for row in best}
            return Match(
                tuple(os.path.join(root, self.files.paths[row]) for row in best),
                how,
                re.sub(r"^/(?=[A-Za-z]:)", "", posixpath.join(*dropped)) if dropped else "",
                inside.pop() if len(inside) == 1 else "",
                most + 1,
            )
        return NOTHING

    def _fits_split(self, dropped: Sequence[str], inside: Sequence[str]) -> bool:
        """Return whether the folders around a match name no other split than those left out, or the table itself."""
        wanted = {_split_in(part) for part in dropped} - {None} or {self._split} - {None}
        if not wanted:
            return True
        taken = {_split_in(part) for part in inside} - {None}
        return not taken or bool(wanted & taken)

    def settle(self, matched: Matched, values: Sequence[str], others: Sequence[Sequence[str]]) -> Matched:
        """Return the same where, of several files, the right one follows from the rest of the table.

        Args:
            matched: what the values of the column may mean.
            values: of the column with the pictures.
            others: cells of other columns, such as the label, the split or a folder: where one of them is the name of
                a folder, the file in it is meant.
        """
        matches = list(matched.matches)
        unclear = [row for row, match in enumerate(matches) if len(match.files) > 1]
        if unclear:  # many columns name no folder at all
            names = _words({part for parts in self.files.parts for part in parts})
            others = [cells for cells in others if _words({cell.strip() for cell in cells}) & names]
        by_word: dict[int, dict[str, list[str]]] = {}  # of the same files, which many rows may mean
        for row in unclear if others else ():
            match = matches[row]
            if id(match.files) not in by_word:
                by_word[id(match.files)] = _by_word(match.files, matched.root)
            words = _words(cells[row].strip() for cells in others)
            agree = Counter(file for word in words for file in by_word[id(match.files)].get(word, ()))
            best = [file for file, count in agree.items() if count == max(agree.values())]
            if len(best) == 1:
                inside = os.path.relpath(match.outer(best[0]), matched.root).replace(os.sep, "/")
                matches[row] = replace(match, files=(best[0],), inside="" if inside == "." else inside)
        return Matched(_without_collisions(self._in_one_folder(matches, values), values), matched.root)

    def _in_one_folder(self, matches: list[Match], values: Sequence[str]) -> list[Match]:
        """Return the matches where what is ambiguous is settled by the one folder that holds nearly all of the files.

        Where names stand in several folders, that a name is found in one of them alone says nothing either.
        """
        unclear = [row for row, match in enumerate(matches) if len(match.files) > 1]
        if not unclear or len({values[row] for row in unclear}) < len(unclear):
            return matches
        searched = [row for row, match in enumerate(matches) if match.files and match.how not in _IN_PLACE]
        outer = {row: [matches[row].outer(file) for file in matches[row].files] for row in searched}
        within = Counter(folder for row in searched for folder in set(outer[row]))
        whole = [folder for folder, count in within.items() if count >= _NEARLY_ALL * len(searched)]
        if len(whole) > 1 and self._split:
            whole = [folder for folder in whole if _split_in(os.path.basename(folder)) == self._split]
        if len(whole) != 1:
            return matches
        inside = os.path.relpath(whole[0], self.files.root).replace(os.sep, "/")
        settled = list(matches)
        for row in searched:
            there = [file for file, folder in zip(matches[row].files, outer[row], strict=True) if folder == whole[0]]
            settled[row] = replace(matches[row], files=tuple(there), inside=inside) if there else NOTHING
        return settled


def _without_collisions(matches: list[Match], values: Sequence[str]) -> list[Match]:
    """Return matches without those of paths that are one file only because folders were left out of them."""
    written: dict[str, set[str]] = defaultdict(set)
    for match, value in zip(matches, values, strict=True):
        if match.dropped and len(match.files) == 1:
            written[match.files[0]].add(plain_path(value))
    several = {file for file, paths in written.items() if len(paths) > 1}
    return [NOTHING if match.dropped and match.files and match.files[0] in several else match for match in matches]


def plain_path(value: str) -> str:
    """Return a path with slashes, without quotes, and without what makes it a URL."""
    text = value.strip().strip("\"'")
    if "://" in text and _ADDRESS.match(text):
        url = urlsplit(text)
        text = unquote(url.path if url.scheme == "file" else f"/{url.netloc}{url.path}")
    elif "local-files/?d=" in text:  # how Label Studio names a file of its own machine
        text = parse_qs(text.partition("?")[2]).get("d", [""])[0]
    return text.replace("\\", "/")


def path_parts(value: str) -> list[str]:
    """Return the components of a path; the first is ``/`` for an absolute one."""
    plain = plain_path(value)
    if "/" not in plain:
        return [plain] if plain not in ("", ".") else []
    text = posixpath.normpath(plain)
    absolute = text.startswith("/") or re.match(r"[A-Za-z]:/", text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return ["/", *parts] if absolute else parts


def _origin(parts: Sequence[str]) -> str:
    """Return what paths from one computer have in common: the first folder of an absolute path, nothing of another."""
    return parts[1] if parts[:1] == ["/"] and len(parts) > 1 else ""


def _shared_folders(paths: Iterable[list[str]]) -> dict[str, int]:
    """Return how many leading folders all paths of an origin share."""
    shared: dict[str, list[str]] = {}
    for parts in paths:
        if parts:
            folders = parts[:-1]
            known = shared.setdefault(_origin(parts), folders)
            if known != folders[: len(known)]:
                same = next(i for i, one in enumerate(known) if folders[i : i + 1] != [one])
                shared[_origin(parts)] = known[:same]
    return {origin: len(folders) for origin, folders in shared.items()}


def _by_word(files: Sequence[str], root: str) -> dict[str, list[str]]:
    """Return the files by the names of the folders around them, but for names that stand around all of them."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in files:
        for word in _words(os.path.dirname(os.path.relpath(file, root)).split(os.sep)):
            found[word].append(file)
    return {word: inside for word, inside in found.items() if len(inside) < len(files)}


def _is_there(path: str) -> bool:
    """Return whether a path is one of a file, or of anything that is no folder."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _words(names: Iterable[str]) -> set[str]:
    """Return names folded, and the splits that they mean."""
    names = list(names)
    return ({fold_path(name) for name in names} | {split_of(name) or "" for name in names}) - {""}


@cache
def _split_in(name: str) -> str | None:
    """Return the split that a name is about, whatever else it says: ``train_labels``."""
    found = split_name(name)
    return found.split if found else None
