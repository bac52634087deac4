"""Phrases: parts of sentences that depend on what was found, put together when a note is shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from kilat.locale import N_, _, ngettext
from kilat.locale.lists import listed

PHRASES: dict[str, str | tuple[str, str]] = {
    # which columns of a table were read (kilat.data.table.reading_notes)
    "pictures": N_("pictures from column '{column}'"),
    "pictures_matched": N_("pictures from column '{column}' ({how})"),
    "pictures_inside": N_("pictures in column '{column}' itself"),
    "labels": N_("labels from '{column}'"),
    "labels_trimmed": N_("labels from '{column}' (1.0 read as 1)"),
    "labels_one_hot": N_("one label a row from the columns {columns}"),
    "split": N_("split from '{column}'"),
    "unread": N_("without {columns}, which hold too much to be names or labels"),
    "title_left_out": N_("without the title above the names of its columns"),
    "no_header": N_("no header, columns are numbered"),
    "shards": (N_("{count:,} of {total:,} files"), N_("{count:,} of {total:,} files")),
    "encoding": N_("encoded in {encoding}"),
    # how values of a table were matched with files
    "found_in": N_("found in {folder}/"),
    "found_by_name": (N_("found by name in one folder"), N_("found by name in {count:,} folders")),
    "folders_left_out": N_("without {folder}/"),
    "numbers": N_("read as numbers"),
    "endings": N_("ending {endings} added"),
    "backslashes": N_("\\ read as /"),
    "spelled_otherwise": N_("in another spelling"),
}
"""The text of every phrase; where there is a singular, both, chosen by the value ``count``."""


def phrases(parts: Sequence[Mapping[str, Any]]) -> str:
    """Return phrases in a row, in the language of the environment; each is its key ``phrase`` with values."""
    return ", ".join(map(_text, parts))


def _text(part: Mapping[str, Any]) -> str:
    template = PHRASES[part["phrase"]]
    text = _(template) if isinstance(template, str) else ngettext(*template, int(part["count"]))
    return text.format(**{name: _shown(value) for name, value in part.items()})


def _shown(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return phrases(value) if isinstance(value[0], Mapping) else listed([f"'{one}'" for one in value])
