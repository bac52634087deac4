"""What was read into a table, as notes: its columns, how their values were matched with files, and what is missing."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kilat.data.image_file import printable
from kilat.data.table.cells import Cells
from kilat.data.table.columns import ChosenColumns
from kilat.data.table.label_cells import RowLabels
from kilat.data.table.path_matching import Matched, PathMatcher
from kilat.locale.notes import Note

_LONGEST_TRIED = 1_000
"""Characters of a path that are shown."""

Phrase = dict[str, Any]
"""A part of a sentence: a code of ``kilat.locale.notes.PHRASES`` with values."""


def table_notes(
    file: Path, cells: Cells, chosen: ChosenColumns, rows: RowLabels, matched: Matched, matcher: PathMatcher
) -> list[Note]:
    """Return what the user should know about how a table was read."""
    parts = [_pictures(cells, chosen, matched, matcher)]
    if chosen.labels:
        parts.append(_labels(chosen, rows))
    if chosen.split is not None:
        parts.append({"phrase": "split", "column": chosen.split.name})
    parts += _form(cells)
    notes = [Note("table_read", {"table": printable(file.name), "parts": parts})]
    if rows.combined:
        notes.append(Note("table_combined_labels", {"count": len(rows.combined), "labels": rows.combined[:20]}))
    if chosen.unread_splits:
        notes.append(Note("table_split_unread", {"columns": chosen.unread_splits}))
    missing = [row for row, match in enumerate(matched.matches) if not match.files and chosen.path.cells[row].strip()]
    if missing:
        miss = nearest_miss(chosen.path.cells[missing[0]], matcher)
        miss["nearest"] = miss["nearest"] or printable(matched.file(matched.found[0]))
        notes.append(Note("table_files_missing", {"count": len(missing), "total": len(cells), **miss}))
    return notes


def nearest_miss(value: str, matcher: PathMatcher) -> dict[str, str]:
    """Return the path that was tried for a value, and the picture that is nearest to it."""
    near = matcher.nearest(value)
    return {"tried": printable(matcher.tried(value)[:_LONGEST_TRIED]), "nearest": printable(near)}


def _form(cells: Cells) -> list[Phrase]:
    """Return what is unusual in the form of a table."""
    parts: list[Phrase] = []
    if cells.unread:
        parts.append({"phrase": "unread", "columns": cells.unread})
    if cells.has_title:
        parts.append({"phrase": "title_left_out"})
    if not cells.has_header:
        parts.append({"phrase": "no_header"})
    if cells.shards:
        parts.append({"phrase": "shards", "count": cells.shards[0], "total": cells.shards[1]})
    if cells.encoding:
        parts.append({"phrase": "encoding", "encoding": cells.encoding})
    return parts


def _pictures(cells: Cells, chosen: ChosenColumns, matched: Matched, matcher: PathMatcher) -> Phrase:
    column = chosen.path.name or str(chosen.path.number + 1)
    if chosen.path.number in cells.embedded:
        return {"phrase": "pictures_inside", "column": column}
    how = _how(chosen.path.cells, matched, matcher)
    return (
        {"phrase": "pictures_matched", "column": column, "how": how}
        if how
        else {"phrase": "pictures", "column": column}
    )


def _how(values: Sequence[str], matched: Matched, matcher: PathMatcher) -> list[Phrase]:
    """Return what had to be done to the values of a column to find the files."""
    found = [(values[row], matched.matches[row]) for row in matched.found if matched.matches[row].how != "literal"]
    if not found:
        return []
    how: list[Phrase] = []
    folders = Counter(match.inside for _value, match in found if match.how != "spelling")
    place = os.path.relpath(matched.root, matcher.base)
    names = [os.path.normpath(os.path.join(place, folder)).replace(os.sep, "/") for folder in folders]
    if len(names) == 1 and names[0] != ".":
        how.append({"phrase": "found_in", "folder": printable(names[0])})
    elif len(names) > 1:
        how.append({"phrase": "found_by_name", "count": len(names)})
    if dropped := Counter(match.dropped for _value, match in found if match.dropped):
        how.append({"phrase": "folders_left_out", "folder": printable(dropped.most_common(1)[0][0])})
    if any(match.how == "number" for _value, match in found):
        how.append({"phrase": "numbers"})
    endings = Counter(
        os.path.splitext(match.files[0])[1] for _value, match in found if match.how in ("ending", "number")
    )
    if endings:
        how.append({"phrase": "endings", "endings": [ending for ending, _count in endings.most_common(3)]})
    if any("\\" in value for value, _match in found):
        how.append({"phrase": "backslashes"})
    return how or [{"phrase": "spelled_otherwise"}]


def _labels(chosen: ChosenColumns, rows: RowLabels) -> Phrase:
    names = [column.name or str(column.number + 1) for column in chosen.labels]
    if len(names) > 1:
        return {"phrase": "labels_one_hot", "columns": names}
    return {"phrase": "labels_trimmed" if rows.trimmed else "labels", "column": names[0]}
