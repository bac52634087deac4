"""A table of pictures and labels as a source: CSV with any usual delimiter, JSON Lines or Parquet.

Which column names the pictures, which files it means, and which columns hold labels and splits is found out, and said
in one note.
"""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kilat.data.catalog import Entry
from kilat.data.image_file import LIMIT, MAX_BYTES, is_encodable, printable, read_file
from kilat.data.layout.layout import BLANK_ROW, sorted_order
from kilat.data.reading import Reading
from kilat.data.split_names import split_name
from kilat.data.table.cells import Cells
from kilat.data.table.column import Column
from kilat.data.table.columns import ChosenColumns, Columns, has_header
from kilat.data.table.label_cells import RowLabels, read_labels
from kilat.data.table.path_matching import Matched, PathMatcher
from kilat.data.table.reading_notes import nearest_miss, table_notes
from kilat.data.table.rows import DELIMITED, read_cells
from kilat.errors import PictureError, SourceError
from kilat.locale import _
from kilat.locale.escapes import shell_word
from kilat.locale.excerpt import excerpt
from kilat.locale.lists import listed
from kilat.locale.refusals import Refusal


class TableSource:
    """Pictures listed in a table, or held in it.

    Entries stand in the order of labels and paths; where labels are not needed, or the table holds the pictures
    themselves, in its own order. ``read`` is for one thread.

    Args:
        path: a file with one of the endings ``kilat.data.table_files.TABLES``. Paths in it are relative to its folder,
            absolute, or are matched with the files in that folder and around it.
        name: what to call it; the file's name without its ending if empty.
        reading: what the user says about how it is read.

    Attributes:
        skipped: how many rows have nothing in their cells; every other row is an entry.
        notes: which columns were read, and how the pictures were found.
    """

    def __init__(self, path: str | Path, name: str = "", reading: Reading | None = None) -> None:
        file, reading = Path(path), reading or Reading()
        self.name = name or file.stem
        _require_folder(reading.images, file)
        matcher = PathMatcher(str(file.parent), reading.images, file.stem)
        cells = read_cells(file)
        if not has_header(cells, matcher, (reading.path_column, reading.label_column, reading.split_column)):
            cells = cells.without_header()
        columns = Columns(file, cells)
        path_column = columns.choose_path(reading, matcher)
        self._embedded = cells.embedded.get(path_column.number)
        matched = Matched([], matcher.base)
        if self._embedded is None:
            matched = matcher.match(path_column.cells)
            if file.suffix.lower() in DELIMITED:
                _require_one_line(file, path_column, matched)
            _require_any(file, path_column, matched, matcher)
            matched = matcher.settle(matched, path_column.cells, columns.repeating(path_column))
            _require_clear(file, path_column, matched)
        chosen = columns.choose(path_column, reading)
        rows = read_labels(chosen.labels, len(cells))
        entries = _entries(self.name, cells, chosen, rows, matched, matcher.base)
        files = [matched.file(row) for row in range(len(entries))]
        entries = _refuse_repeated(entries, files)
        in_order = self._embedded is not None or not reading.is_labelled
        order = list(range(len(entries))) if in_order else sorted_order(entries)
        self.entries = [entries[row] for row in order]
        self._files = [files[row] for row in order]
        self.skipped = {BLANK_ROW: cells.blank_rows} if cells.blank_rows else {}
        self.notes = table_notes(file, cells, chosen, rows, matched, matcher) if reading.is_labelled else []

    def read(self, index: int) -> bytes:
        """Return the bytes of the picture."""
        if self._embedded is None:
            return read_file(self._files[index])
        content = self._embedded.read(index)
        if not content:
            raise PictureError("empty_file")
        if len(content) > MAX_BYTES:
            raise PictureError("too_large", LIMIT)
        return content

    def link(self, index: int) -> str | None:
        """Return the picture's absolute path, or None where it has no file or its name cannot be written as text."""
        path = self._files[index]
        return path if path and is_encodable(path) else None


def _require_folder(images: str | None, file: Path) -> None:
    """Raise where ``--images`` names no folder.

    Raises:
        SourceError: there is none.
    """
    if images is None or os.path.isdir(images):
        return
    inside = os.path.join(file.parent, images)
    raise SourceError(
        _("--images: there is no folder {folder}.").format(folder=images),
        hint=_("Did you mean {names}?").format(names=repr(inside))
        if os.path.isdir(inside)
        else _("Give the folder with the pictures that {file} names.").format(file=file),
    )


def _entries(
    name: str, cells: Cells, chosen: ChosenColumns, rows: RowLabels, matched: Matched, base: str
) -> list[Entry]:
    """Return an entry for every row, refused where the table says too little or the picture is not clear."""
    paths = list(chosen.path.cells)
    if chosen.path.number in cells.embedded and len({*paths} - {""}) < len(paths):
        paths = [f"{name}[{row}]" for row in range(len(paths))]
    written = [cell.strip() for cell in chosen.split.cells] if chosen.split else [""] * len(cells)
    found = chosen.split.splits if chosen.split else {}
    # Where some rows have a split, those without one belong to "train".
    default = "train" if any(found.values()) else ""
    splits = {"": default} | {value: default if split == "" else split for value, split in found.items()}
    entries = []
    for row, (path, label) in enumerate(zip(paths, rows.labels, strict=True)):
        files = matched.matches[row].files if matched.matches else (path,)
        shown = path if len(files) == 1 and files[0].endswith(path) else path.strip()
        if len(files) == 1 and matched.matches and matched.matches[row].how != "literal":
            shown = _from(base, files[0])
        refused = None
        if row in cells.overfull:
            refused = Refusal("extra_cells", f"{cells.overfull[row]} > {len(cells.names)}")
        elif not path.strip():
            shown, refused = f"row {row + 1}", Refusal("no_path")
        elif not label and chosen.labels:
            refused = Refusal("no_label")
        elif written[row] and splits[written[row]] is None:
            refused = Refusal("unknown_split", written[row])
        elif not files:
            refused = Refusal("file_not_found")
        elif len(files) > 1:
            refused = Refusal("several_files", listed([_from(base, file) for file in files]))
        entries.append(Entry(printable(shown), label, splits[written[row]] or "", refused))
    return entries


def _from(folder: str, file: str) -> str:
    """Return a file's path as seen from a folder, quickly where it is inside."""
    inside = os.path.join(folder, "")
    return file[len(inside) :] if file.startswith(inside) else os.path.relpath(file, folder)


def _refuse_repeated(entries: list[Entry], files: Sequence[str]) -> list[Entry]:
    """Refuse what is listed again, and all rows of a picture that is listed under several labels."""
    first: dict[str, int] = {}
    repeated: dict[int, list[int]] = defaultdict(list)  # by the first row of a picture, all others
    for row, entry in enumerate(entries):
        if not entry.refused and files[row] and (known := first.setdefault(os.path.normcase(files[row]), row)) != row:
            repeated[known].append(row)
    entries = list(entries)
    for first_row, others in repeated.items():
        same = [first_row, *others]
        labels = sorted({entries[row].label for row in same})
        refusal = Refusal("listed_twice") if len(labels) == 1 else Refusal("several_labels", ", ".join(labels))
        for row in same[1:] if len(labels) == 1 else same:
            entries[row] = replace(entries[row], refused=refusal)
    return entries


def _require_one_line(file: Path, column: Column, matched: Matched) -> None:
    """Raise where a path that names no file has line breaks in it: quotes made one cell of several lines.

    Raises:
        SourceError: one does.
    """
    for row, (path, match) in enumerate(zip(column.cells, matched.matches, strict=True)):
        if not match.files and re.search(r"\S\s*[\r\n]\s*\S", path):
            raise SourceError(
                _("{file}: the path in row {row} goes over several lines: {path}.").format(
                    file=file, row=row + 1, path=excerpt(path)
                ),
                hint=_("A quote may be missing, or there is one too many: correct the line."),
            )


def _require_any(file: Path, column: Column, matched: Matched, matcher: PathMatcher) -> None:
    """Raise where not one picture of a table exists, with a path that was tried and the nearest file that exists.

    Raises:
        SourceError: none does.
    """
    values = list(column.counts)
    if not values or matched.distinct:
        return
    message = _("None of the {count:,} pictures that {file} names in its column '{column}' was found: tried {tried}.")
    miss = nearest_miss(values[0], matcher)
    message = message.format(count=column.filled, file=file, column=column.name, tried=miss["tried"])
    if miss["nearest"]:
        message += " " + _("The nearest picture is {nearest}.").format(nearest=miss["nearest"])
    folder = os.path.dirname(miss["nearest"]) or "FOLDER"
    raise SourceError(
        message, hint=_("Say the folder with the pictures: {command}").format(command=_with_images(file, folder))
    )


def _require_clear(file: Path, column: Column, matched: Matched) -> None:
    """Raise where every name in a table stands for several files.

    Raises:
        SourceError: it does.
    """
    unclear = next((match.files for match in matched.matches if len(match.files) > 1), ())
    if matched.found or not unclear:
        return
    folders = sorted({os.path.dirname(path) for path in unclear}, key=_likeliest_first)
    hint = _("Write the names with their endings into the table, or move the files that are not meant.")
    if len(folders) > 1:
        hint = _("Say the folder: {command}").format(command=_with_images(file, folders[0]))
    raise SourceError(
        _("The pictures of {file} are not clear: '{value}' may be {files}.").format(
            file=file, value=next(iter(column.counts)), files=listed([printable(path) for path in unclear])
        ),
        hint=hint,
    )


def _likeliest_first(folder: str) -> tuple[int, str]:
    """Return where a folder of pictures comes among others: training pictures first, those of a test last."""
    name = split_name(os.path.basename(folder))
    return ("train", "", "validation", "test").index(name.split if name else ""), folder


def _with_images(file: Path, folder: str) -> str:
    return f"kilat train {shell_word(str(file))} --images {shell_word(folder)}"
