"""Which columns of a table name the pictures, their labels and their splits: by content first, then by name."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kilat.data.reading import Reading
from kilat.data.table.cells import Cells
from kilat.data.table.column import TRUE, Column, fold, names_picture
from kilat.data.table.path_matching import PathMatcher
from kilat.errors import SourceError, nearest
from kilat.locale import _
from kilat.locale.escapes import shell_word
from kilat.locale.lists import listed

_EXCLUSIVE = 0.6
"""The share of rows with one yes alone, from which on columns of yes and no are one for each label."""

_FIRST_ROWS = 20
_MOST_COLUMNS = 200
"""Columns from which on those that cannot be read are taken for pixels."""


@dataclass(frozen=True)
class ChosenColumns:
    """The columns that are read.

    Args:
        path: names the pictures, or holds them.
        labels: the column with the labels, or one for each label that says yes or no; none where none are needed.
        split: says which split a picture belongs to; None where no column does.
        unread_splits: names of columns that are called like splits, but say none that kilat knows.
    """

    path: Column
    labels: list[Column]
    split: Column | None
    unread_splits: list[str]


class Columns:
    """The columns of a table, and the search for those that matter.

    Args:
        file: the table.
        cells: its content.
    """

    def __init__(self, file: Path, cells: Cells) -> None:
        self.file, self.cells = file, cells
        self.all = [Column(i, name, cells.columns[i]) for i, name in enumerate(cells.names)]

    def choose_path(self, reading: Reading, matcher: PathMatcher) -> Column:
        """Return the column that names the pictures: the one that the user named, or the one that is found.

        Raises:
            SourceError: there is no such column, none is found, or several could be meant.
        """
        if not reading.path_column:
            said = [self.named("--split-column", reading.split_column)] if reading.split_column else []
            return self.find_path(matcher, [*said, *self._labels_said(reading)])
        path = self.named("--path-column", reading.path_column)
        if not matcher.match(path.sample).distinct:
            matcher.widen()
        return path

    def choose(self, path: Column, reading: Reading) -> ChosenColumns:
        """Return all columns that are read: those that the user named, and the others as they are found.

        Raises:
            SourceError: there is no such column, none is found, or several could be meant.
        """
        labels = self._labels_said(reading)
        if not labels:
            self.require_no_boxes(path)
        said = self.named("--split-column", reading.split_column) if reading.split_column else None
        split = said or self.find_split([path, *labels])
        if reading.is_labelled and not labels:
            labels = self.find_labels([path, *([split] if split else [])])
        return ChosenColumns(path, labels, split, [] if split else self.unread_splits([path, *labels]))

    def named(self, option: str, name: str) -> Column:
        """Return the column that an option names: as it is written, in any case, or by its number from 1.

        Raises:
            SourceError: there is none.
        """
        exact = [one for one in self.all if one.name == name.strip()]
        alike = [one for one in self.all if fold(one.name) == fold(name) != ""]
        numbered = [one for one in self.all if name == str(one.number + 1)]
        for found in (exact, alike, numbered):
            if found:
                return found[0]
        raise SourceError(
            _("{option}: {file} has no column '{name}'. Its columns: {names}.").format(
                option=option, file=self.file, name=name, names=_names(self.all)
            ),
            hint=nearest(name, [one.name for one in self.all]),
        )

    def find_path(self, matcher: PathMatcher, taken: Collection[Column] = ()) -> Column:
        """Return the column whose values name pictures that exist.

        Raises:
            SourceError: no column names pictures, or several name different ones.
        """
        others = [one for one in self.all if one not in taken]
        if self.cells.embedded:
            found = [self.all[number] for number in self.cells.embedded]
        else:
            found = _naming_pictures(others, matcher)
            if not found and matcher.widen():
                found = _naming_pictures(others, matcher)
        if not found:  # none of the files is there: the column is the one that is written like paths, or called so
            named = [one for one in others if one.is_called_path and one.counts and not one.looks_like_labels]
            found = [one for one in others if one.names_pictures] or named
        if not found:
            raise self._no_path()
        for is_better in (lambda one: one.short_name == "path", lambda one: one.is_called_path):
            found = list(filter(is_better, found)) or found if len(found) > 1 else found
        if len(found) > 1:
            raise self._ambiguous("--path-column", found, _("the pictures"))
        return found[0]

    def find_split(self, taken: Collection[Column]) -> Column | None:
        """Return the column that says which split a picture belongs to, where there is one."""
        others = [one for one in self.all if one not in taken and one.counts]
        exact = [one for one in others if one.short_name == "split" and any(one.splits.values())]
        about = [one for one in others if one.is_about_splits]
        called = [one for one in about if one.is_called_split]
        several = [one for one in about if len({*one.splits.values()}) > 1 or not self.cells.has_header]
        found = exact or called or several
        return found[0] if found else None

    def unread_splits(self, taken: Collection[Column]) -> list[str]:
        """Return the names of columns that are called like splits and say none that kilat knows: numbers of folds."""
        others = [one for one in self.all if one not in taken and one.is_called_split]
        others = [one for one in others if one.short_name not in ("dataset", "set", "phase", "stage")]
        return [one.name for one in others if 1 < len(one.counts) <= _FIRST_ROWS]

    def _labels_said(self, reading: Reading) -> list[Column]:
        """Return the column that ``--label-column`` names, or several with commas between them: one for each label."""
        name = reading.label_column
        if not name:
            return []
        names = [part for part in name.split(",") if part.strip()]
        if len(names) > 1 and not any(one.name == name for one in self.all):
            return [self.named("--label-column", one) for one in names]
        return [self.named("--label-column", name)]

    def find_labels(self, taken: Collection[Column]) -> list[Column]:
        """Return the column with the labels, or the columns of yes and no that are one for each label.

        Raises:
            SourceError: none is found, or several could be meant.
        """
        others = [one for one in self.all if one not in taken and one.counts and not one.counts_rows]
        called = [one for one in others if one.is_called_label and one.may_be_labels]
        if any(one.short_name == "x" for one in others):  # then y is a coordinate
            called = [one for one in called if one.short_name != "y"]
        called = _distinct(called, others)
        exact = [one for one in called if one.short_name == "label"]
        if len(exact) == 1:
            return exact
        if not called:
            if one_hot := self._one_hot(others):
                return one_hot
            likely = [one for one in others if one.looks_like_labels]
            likely = [one for one in likely if not one.is_called_seldom] or likely
            called = _distinct([one for one in likely if not (one.is_number and one.is_called_seldom)], likely)
            # Numbers of which nothing is known are labels only where nothing else is said of the pictures.
            rest = [one for one in others if one not in called and not one.is_called_other and one.may_be_labels]
            rest = [one for one in rest if not (one.is_number and len(one.counts) == one.filled)]
            if len(called) == 1 and called[0].is_number and rest:
                raise self._ambiguous("--label-column", [*called, *rest], _("the labels"))
        if len(called) == 1:
            return called
        if called:
            raise self._ambiguous("--label-column", called, _("the labels"))
        raise self._no_labels(others)

    def _one_hot(self, columns: Sequence[Column]) -> list[Column]:
        """Return the columns of yes and no, where there are several, and mostly one yes alone stands in a row."""
        binary = [one for one in columns if one.is_binary]
        if len(binary) < 2:
            return []
        yes = [
            sum(row)
            for row in zip(*([cell.strip().casefold() in TRUE for cell in one.cells] for one in binary), strict=True)
        ]
        if yes.count(1) >= _EXCLUSIVE * len(yes):
            return binary
        message = _(
            "{file} has columns of yes and no ({names}), and {count:,} of {total:,} rows do not say yes in one of them "
            "alone; kilat learns one label a picture."
        )
        raise SourceError(
            message.format(file=self.file, names=_names(binary), count=len(yes) - yes.count(1), total=len(yes)),
            hint=_("Say which one to learn, or several that exclude each other, with commas: {command}").format(
                command=self.command("--label-column", binary[0].name)
            ),
        )

    def require_no_boxes(self, path: Column) -> None:
        """Raise where a table lists the objects in pictures rather than pictures.

        Raises:
            SourceError: it does.
        """
        boxes = [one for one in self.all if one.is_called_box]
        if not self.cells.has_header:
            boxes = [one for one in self.all if one.is_number and not one.looks_like_labels]
        repeated = len(path.counts) < path.filled
        if any(one.short_name == "regionshapeattributes" for one in boxes) or (
            repeated and boxes and self._are_boxes(boxes)
        ):
            message = _("{file} lists objects in pictures (columns {names}); kilat classifies whole pictures.")
            raise SourceError(
                message.format(file=self.file, names=_names(boxes)),
                hint=_("Give a table with one row and one label a picture, or cut the objects out into pictures."),
            )

    def _are_boxes(self, columns: Sequence[Column]) -> bool:
        return len(columns) >= 4 or any("box" in one.short_name or not one.is_number for one in columns)

    def repeating(self, path: Column) -> list[Sequence[str]]:
        """Return the cells of the other columns whose values come again: labels, splits, folders."""
        return [one.cells for one in self.all if one is not path and len(one.counts) < one.filled]

    def command(self, option: str, value: str) -> str:
        """Return a command that can be pasted."""
        return f"kilat train {shell_word(str(self.file))} {option} {shell_word(value)}"

    def _ambiguous(self, option: str, columns: Sequence[Column], what: str) -> SourceError:
        return SourceError(
            _("Several columns of {file} may hold {what}: {names}.").format(
                file=self.file, what=what, names=_names(columns)
            ),
            hint=_("Say which: {command}").format(command=self.command(option, self._address(columns[0]))),
        )

    def _address(self, column: Column) -> str:
        """Return what an option names a column by: its name, or its number where that is not enough."""
        names = [one.name for one in self.all]
        return column.name if column.name and names.count(column.name) == 1 else str(column.number + 1)

    def _no_path(self) -> SourceError:
        if not len(self.cells):
            message = _("{file} has a line with names of columns and no rows.") if self.all else _("{file} is empty.")
            return SourceError(
                message.format(file=self.file),
                hint=_("Give a table whose first line names the columns: path,label or path,label,split."),
            )
        if len(self.all) > _MOST_COLUMNS or any(fold(one.name).startswith("pixel") for one in self.all):
            return SourceError(
                _("{file} holds pixels, not the names of pictures. Its columns: {names}.").format(
                    file=self.file, names=_names(self.all)
                ),
                hint=_("Save them as pictures, a folder for each class, or give uint8 arrays from Python."),
            )
        return SourceError(
            _("No column of {file} names pictures that exist. Its columns: {names}.").format(
                file=self.file, names=_names(self.all)
            ),
            hint=_("Say the column and the folder: {command}").format(
                command=self.command("--path-column", self._address(self.all[0])) + " --images FOLDER"
            ),
        )

    def _no_labels(self, others: Sequence[Column]) -> SourceError:
        message = _("{file} has no column with labels. Its columns: {names}.")
        if others:
            message = _("No column of {file} looks like labels, which are few and come again. Its columns: {names}.")
        hint = _("Add a column with the labels, or give a folder with a folder of pictures per class.")
        if others:
            hint = _("Say which: {command}").format(command=self.command("--label-column", self._address(others[0])))
        return SourceError(message.format(file=self.file, names=_names(self.all)), hint=hint)


def _naming_pictures(columns: Sequence[Column], matcher: PathMatcher) -> list[Column]:
    """Return the columns that name the most pictures, one for the same pictures; names with endings come first."""
    files: dict[Column, tuple[str, ...]] = {}
    candidates = [one for one in columns if not one.counts_rows]
    for is_likelier in (lambda one: not one.is_number, lambda one: one.is_called_path or one.names_pictures):
        if len(candidates) > _MOST_COLUMNS:
            candidates = list(filter(is_likelier, candidates))
    for column in candidates[:_MOST_COLUMNS]:
        matched = matcher.match(column.sample)
        if matched.distinct:
            files[column] = tuple(match.files[0] if match.files else "" for match in matched.matches)
    most = max((len({*found} - {""}) for found in files.values()), default=0)
    best = {column: found for column, found in files.items() if 2 * len({*found} - {""}) > most}
    chosen: dict[tuple[str, ...], Column] = {}
    for column in [one for one in best if one.names_pictures] or best:
        chosen.setdefault(best[column], column)
    return list(chosen.values())


def has_header(cells: Cells, matcher: PathMatcher, given: Iterable[str | None]) -> bool:
    """Return whether the first line of a table names its columns, rather than being the first row.

    Args:
        cells: the table, its first line taken for names.
        matcher: knows which files exist.
        given: names of columns that the user gave.
    """
    if not cells.may_lack_header or {*given} & {*cells.names}:
        return True
    if any(map(names_picture, cells.names)):
        return False
    columns = [Column(i, name, cells.columns[i][:_FIRST_ROWS]) for i, name in enumerate(cells.names)]
    if any(one.is_called_path or one.is_called_label or one.short_name == "split" for one in columns):
        return True
    if all(re.fullmatch(r"[-\d.,]*", one.name) for one in columns) or any(map(_goes_on, columns)):
        return False
    return not any(match.files for match in matcher.match(cells.names).matches)


def _goes_on(column: Column) -> bool:
    """Return whether a name is of the same form as the values below it, all different: an id among ids."""
    shape, below = _shape(column.name), {_shape(value) for value in column.counts}
    return len(column.counts) == column.filled >= 3 and below == {shape} and shape != column.name


def _shape(text: str) -> str:
    return re.sub(r"\d+", "0", text.strip())


def _distinct(columns: Sequence[Column], others: Sequence[Column]) -> list[Column]:
    """Return columns without those that say the same as another one; names are taken rather than numbers of classes."""
    named: dict[int, Column] = {}
    for one in others:
        if one.may_be_labels and not one.is_number:
            named.setdefault(one.partition, one)
    chosen: dict[int, Column] = {}
    for column in columns:
        chosen.setdefault(column.partition, named.get(column.partition, column) if column.is_number else column)
    return list(chosen.values())


def _names(columns: Sequence[Column]) -> str:
    return listed([repr(one.name) for one in columns], 12)
