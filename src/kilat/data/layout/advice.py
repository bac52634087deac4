"""What lies among pictures that stand in no class folders, and the command that uses it: tables, names, archives."""

import os
from collections import Counter
from collections.abc import Callable, Iterable

from kilat.data.archive import SUFFIXES as ARCHIVES
from kilat.data.archive import stem
from kilat.data.bounds import MIB
from kilat.data.catalog import Source
from kilat.data.image_file import printable
from kilat.data.layout.folder_names import is_annotations
from kilat.data.layout.layout import Layout, class_in_name
from kilat.data.layout.roots import ANNOTATION
from kilat.data.layout.tree import is_table
from kilat.data.table.rows import hint_for_other_table
from kilat.errors import SourceError
from kilat.locale import _, ngettext
from kilat.locale.escapes import shell_word
from kilat.locale.lists import listed

OpenTable = Callable[[str], Source]

Advice = tuple[str, str]
"""A sentence about something that lies there, and what to do with it."""

_TABLES_TRIED = 6

_BYTES_TRIED = 32 * MIB
"""Of all tables together that are read to see whether they fit; who has larger ones knows them."""

_ANNOTATION_FILES = ("annotation", "instances", "coco", "bbox", "labelme", "via_", "data.yaml", "data.yml")
"""Parts of the names that COCO, VGG, YOLO and others give to their files."""


def advise(layout: Layout, where: str, open_table: OpenTable) -> list[Advice]:
    """Return what lies among the pictures of a layout without classes, what fits best first.

    Args:
        layout: of a folder or an archive.
        where: the folder or archive, as the user named it.
        open_table: opens a table as a source.
    """
    if table := fitting_table(layout, where, open_table):
        return [table]
    annotations = _annotations(layout)
    every = _classes_in_names(layout, where, may_be_numbers=not annotations), _annotated(annotations)
    return [one for one in (*every, _other_table(layout, where)) if one]


def fitting_table(layout: Layout, where: str, open_table: OpenTable) -> Advice | None:
    """Return the table inside or beside a folder that labels most of its pictures; None where there is none."""
    if not os.path.isdir(where):
        return None
    texts = [name for name in layout.companions.texts if name.lower().endswith((".txt", ".lst"))]
    tables, lists = ([(one, os.path.join(where, one)) for one in names] for names in (layout.companions.tables, texts))
    places = (tables, _tables_beside(where), lists)
    candidates = _small([one for place in places for one in _likeliest_first(place)[:_TABLES_TRIED]])
    counts = {path: _count_pictures(path, where, open_table) for _name, path in candidates}
    fitting = [(name, path) for name, path in candidates if counts[path]]
    if not fitting:
        return None
    _name, path = min(fitting, key=lambda one: (_is_for_tests(one[0]), -counts[one[1]]))
    sentence = ngettext(
        "The table {table} has a label for one of them.",
        "The table {table} has labels for {count:,} of them.",
        counts[path],
    )
    command = f"kilat train {shell_word(printable(path))}"
    return sentence.format(table=printable(path), count=counts[path]), _("To use it: {command}").format(command=command)


def archives_instead(layout: Layout, where: str) -> Advice:
    """Return which archives lie in a folder or an archive that has no pictures."""
    archives = sorted(map(printable, layout.companions.archives), key=lambda name: ("train" not in name.lower(), name))
    message = ngettext(
        "No pictures in {where}, but an archive: {archives}.",
        "No pictures in {where}, but {count:,} archives: {archives}.",
        len(archives),
    ).format(where=where, archives=quoted(archives), count=len(archives))
    is_readable = archives[0].lower().endswith(ARCHIVES)
    command = f"kilat train {shell_word(os.path.join(unpacked(where), archives[0]))}"
    if os.path.isdir(where):
        if is_readable:
            return message, _("Give an archive, not the folder: {command}").format(command=command)
        return message, _("Unpack it and give the folder with the pictures.")
    if is_readable:
        hint = _("kilat does not look into archives in archives. Unpack {where} and give what is in it: {command}")
        return message, hint.format(where=where, command=command)
    return message, _("Unpack both and give the folder with the pictures.")


def tables_instead(layout: Layout, where: str) -> Advice:
    """Return which tables lie in a folder that has no pictures: they may hold some, or name some elsewhere."""
    tables = [name for name, _path in _likeliest_first([(name, name) for name in layout.companions.tables])]
    message = ngettext(
        "No pictures in {where}, but a table: {tables}.",
        "No pictures in {where}, but {count:,} tables: {tables}.",
        len(tables),
    ).format(where=where, tables=quoted(tables), count=len(tables))
    command = f"kilat train {shell_word(printable(os.path.join(where, tables[0])))}"
    return message, _("Give the table, not the folder: {command}").format(command=command)


def unpacked(where: str) -> str:
    """Return a folder itself, and for an archive the folder that unpacking it usually makes."""
    if os.path.isdir(where):
        return where
    folder, name = os.path.split(where)
    return os.path.join(folder, stem(name))


def quoted(names: Iterable[str]) -> str:
    """Return names in a row, in quotes; of many only the first ones."""
    return listed([f"'{name}'" for name in map(printable, names)])


def _classes_in_names(layout: Layout, where: str, *, may_be_numbers: bool) -> Advice | None:
    """Return what the names of pictures begin with, where nearly all do and each has several pictures."""
    counts = Counter(class_in_name(entry.path.rpartition("/")[2]) for entry in layout.entries)
    without, total = counts.pop("", 0), sum(counts.values())
    is_likely = len(counts) > 1 and total >= max(3 * len(counts), without)
    if not is_likely or not (may_be_numbers or all(any(map(str.isalpha, name)) for name in counts)):
        return None
    command = f"kilat train {shell_word(where)} --class-from file-name"
    return (
        _("The names of the pictures may tell their classes: {names}.").format(names=quoted(sorted(counts))),
        _("If they are the classes: {command}").format(command=command),
    )


def _annotated(files: list[str]) -> Advice | None:
    """Return what files of boxes and masks say."""
    if not files:
        return None
    return (
        _("With {files} it looks like data for object detection or segmentation, not for classification.").format(
            files=quoted(files)
        ),
        _("kilat classifies whole pictures: put them into class folders, or give a table with a label for each."),
    )


def _other_table(layout: Layout, where: str) -> Advice | None:
    """Return the table in a folder that kilat does not understand, or in an archive, where it cannot be opened."""
    tables = [one for one in ((name, name) for name in layout.companions.tables) if not _is_for_tests(one[0])]
    if not tables:
        return None
    name = _likeliest_first(tables)[0][0]
    path = shell_word(printable(os.path.join(unpacked(where), name)))
    if not os.path.isdir(where):
        return (
            _("There is a table in the archive: {table}.").format(table=printable(name)),
            _("To use it, unpack {where}, then: kilat train {path}").format(where=where, path=path),
        )
    hint = hint_for_other_table(name) or _(
        "Say which of its columns are which: kilat train {path} --path-column NAME --label-column NAME"
    ).format(path=path)
    return (
        _("There is a table, {table}, but kilat finds no labels of these pictures in it.").format(table=path),
        hint,
    )


def _tables_beside(where: str) -> list[tuple[str, str]]:
    """Return the names and paths of the tables that lie beside a folder."""
    above = os.path.dirname(os.path.abspath(where))
    shown = above if os.path.isabs(where) else os.path.relpath(above)
    try:
        names = [name for name in os.listdir(above) if is_table(name)]
    except OSError:
        return []
    return [(name, os.path.normpath(os.path.join(shown, name))) for name in names]


def _small(tables: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the first of some tables, those that are read in a moment together."""
    left = _BYTES_TRIED
    small = []
    for name, path in tables:
        size = os.path.getsize(path) if os.path.isfile(path) else left + 1
        if size <= left:
            small.append((name, path))
            left -= size
    return small


def _count_pictures(table: str, folder: str, open_table: OpenTable) -> int:
    """Return how many pictures in a folder a table has labels for; 0 where it has fewer than two labels."""
    try:
        source = open_table(table)
    except SourceError:
        return 0
    inside = os.path.join(os.path.abspath(folder), "")
    used = [row for row, entry in enumerate(source.entries) if not entry.refused]
    used = [row for row in used if (source.link(row) or "").startswith(inside)]
    return len(used) if len({source.entries[row].label for row in used}) > 1 else 0


def _likeliest_first(tables: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return tables, given by name and path, with those first that are likely to have the labels."""

    def key(table: tuple[str, str]) -> tuple[bool, bool, str]:
        name = table[0].lower()
        return _is_for_tests(name), not any(word in name for word in ("train", "label")), name

    return sorted(tables, key=key)


def _is_for_tests(name: str) -> bool:
    """Return whether a table is named like one for a test or a submission, with labels that are none."""
    return any(word in name.lower() for word in ("sample", "submi", "test"))


def _annotations(layout: Layout) -> list[str]:
    """Return the files and folders with boxes or masks."""
    pictures = {entry.path.rpartition(".")[0] for entry in layout.entries}
    found = {
        part + "/"
        for entry in layout.entries
        if entry.refused == ANNOTATION
        for part in entry.path.split("/")[:-1]
        if is_annotations(part)
    }
    beside = set()
    for path in layout.companions.texts:
        folder, _slash, name = path.rpartition("/")
        if parts := [part for part in folder.split("/") if is_annotations(part)]:
            found.add(parts[0] + "/")
        elif name.lower().endswith((".json", ".yaml", ".yml")) and any(
            word in name.lower() for word in _ANNOTATION_FILES
        ):
            found.add(path)
        elif path.rpartition(".")[0] in pictures and folder not in beside:
            beside.add(folder)
            found.add(path)
    return sorted(map(printable, found))
