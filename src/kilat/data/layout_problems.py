"""Errors about layouts that tell no classes: what was found, and the command that does what was probably meant."""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable

from kilat.data.archive import SUFFIXES as ARCHIVES
from kilat.data.archive import stem
from kilat.data.catalog import Source
from kilat.data.folder_names import is_annotations
from kilat.data.folder_tree import is_table, join_path
from kilat.data.image_file import printable
from kilat.data.layout import Layout, class_in_name
from kilat.data.layout_roots import ANNOTATION, Problem
from kilat.errors import SourceError
from kilat.locale import N_, _, ngettext
from kilat.locale.lists import listed

OpenTable = Callable[[str], Source]

_TABLES_TRIED = 6

_FLAT = {
    "flat_splits": N_("{place} holds {folders}, named like a split, but there are no class folders in them."),
    "flat_parts": N_("{place} holds {folders}, numbered parts of one, but there are no class folders in them."),
}


def layout_error(layout: Layout, where: str, open_table: OpenTable) -> SourceError:
    """Return the error about a layout that has a problem.

    Args:
        layout: of a folder or an archive.
        where: the folder or archive, as the user named it.
        open_table: opens a table as a source.
    """
    problem = layout.problem
    assert problem is not None
    place, folders = _below(where, problem.folder), _quoted(problem.names)
    if problem.kind == "same_folders":
        return SourceError(
            _("The folders {folders} in {place} hold the same folders, {inner}: either may be the classes.").format(
                folders=folders, place=place, inner=_quoted(problem.inner)
            ),
            hint=_(
                "If the inner ones are the classes: {last}\nIf the outer ones are: {first}\nIf every pair is: {both}\n"
                "To take one of the outer ones alone: {one}"
            ).format(
                last=_command(where, "last-folder"),
                first=_command(where, "first-folder"),
                both=_command(where, "folders"),
                one=_one_of(where, problem),
            ),
        )
    if problem.kind == "several_data_sets":
        message = ngettext(
            "The folder {folders} in {place} holds {inner}: it is a data set, not a class.",
            "Each of the folders {folders} in {place} holds {inner}: they are data sets, not classes.",
            len(problem.names),
        )
        hints = [_("To take it: {one}")]
        if len(problem.names) > 1:
            hints = [_("To take one of them: {one}"), _("To take all of them together: {last}")]
        return SourceError(
            message.format(folders=folders, place=place, inner=_quoted(problem.inner)),
            hint="\n".join(hints).format(one=_one_of(where, problem), last=_command(where, "last-folder")),
        )
    if problem.kind == "data_folder":
        return SourceError(
            _("{place} holds {folders} with the folders {inner} in it, and others beside it.").format(
                place=place, folders=folders, inner=_quoted(problem.inner)
            ),
            hint=_("If {inner} are the classes: {one}\nIf {folders} is a class itself: {first}").format(
                inner=_quoted(problem.inner),
                one=_one_of(where, problem),
                folders=folders,
                first=_command(where, "first-folder"),
            ),
        )
    count = sum(entry.refused != ANNOTATION for entry in layout.entries)
    message = ngettext(
        "The picture in {place} stands in no class folder.",
        "The {count:,} pictures in {place} stand in no class folders.",
        count,
    )
    message = _(_FLAT[problem.kind]) if problem.kind in _FLAT else message
    sentences = [message.format(place=place, folders=folders, count=count)]
    hints = _what_lies_there(layout, where, open_table, sentences)
    if not hints:
        hints = [class_folders_hint(where)]
    if problem.kind in _FLAT:
        hints.append(_("If these folders are the classes: {first}").format(first=_command(where, "first-folder")))
    return SourceError(" ".join(sentences), hint="\n".join(hints))


def class_folders_hint(where: str) -> str:
    """Return how class folders are laid out, with the user's own folder in it."""
    folder = where.rstrip("/") if os.path.isdir(where) else "pictures"
    return _(
        "Put the pictures of each class into a folder of its own: {folder}/cats/1.jpg, {folder}/dogs/1.jpg."
    ).format(folder=folder)


def table_hint(layout: Layout, where: str, open_table: OpenTable) -> tuple[str, str]:
    """Return a sentence about the table that labels the pictures, and the command that uses it; empty if there is none.

    Of the tables inside and beside a folder, the one that names most of its pictures is meant.
    """
    if not os.path.isdir(where):
        given = sorted(((name, name) for name in layout.companions.tables), key=_likeliest)
        tables = [printable(name) for name, _path in given]
        if not tables:
            return "", ""
        sentence = _("There is a table in the archive: {tables}.").format(tables=_quoted(tables))
        return sentence, _("Unpack {archive} and give the table: kilat train {table}").format(
            archive=where, table=shlex.quote(tables[0])
        )
    inside = [(name, os.path.join(where, name)) for name in layout.companions.tables]
    beside = _tables_beside(where)
    candidates = [*sorted(inside, key=_likeliest)[:_TABLES_TRIED], *sorted(beside, key=_likeliest)[:_TABLES_TRIED]]
    counts = {path: _count_pictures(path, where, open_table) for _name, path in candidates}
    fitting = [(name, path) for name, path in candidates if counts[path]]
    if fitting:
        _name, path = min(fitting, key=lambda one: (_is_for_tests(one[0]), -counts[one[1]]))
        sentence = ngettext(
            "The table {table} has a label for one of them.",
            "The table {table} has labels for {count:,} of them.",
            counts[path],
        )
        hint = _("To use it: kilat train {table}").format(table=shlex.quote(printable(path)))
        return sentence.format(table=printable(path), count=counts[path]), hint
    if not inside:
        return "", ""
    table = printable(min(inside, key=_likeliest)[1])
    return _("There is a table, {table}, but kilat finds no labels of these pictures in it.").format(table=table), _(
        "Say which of its columns are which: kilat train {table} --path-column NAME --label-column NAME"
    ).format(table=shlex.quote(table))


def _tables_beside(where: str) -> list[tuple[str, str]]:
    """Return the names and paths of the tables that lie beside a folder."""
    above = os.path.dirname(os.path.abspath(where))
    shown = above if os.path.isabs(where) else os.path.relpath(above)
    try:
        names = [name for name in os.listdir(above) if is_table(name)]
    except OSError:
        return []
    return [(name, os.path.normpath(os.path.join(shown, name))) for name in names]


def archives_instead(layout: Layout, where: str) -> tuple[str, str]:
    """Return which archives lie in a folder or an archive that has no pictures, and what to do with them."""
    archives = sorted(map(printable, layout.companions.archives), key=lambda name: ("train" not in name.lower(), name))
    message = ngettext(
        "No pictures in {where}, but an archive: {archives}.",
        "No pictures in {where}, but {count:,} archives: {archives}.",
        len(archives),
    ).format(where=where, archives=_quoted(archives), count=len(archives))
    first = archives[0]
    if not os.path.isdir(where):
        unpacked = shlex.quote(f"{stem(os.path.basename(where))}/{first}")
        return message, _(
            "kilat does not look into archives inside archives. Unpack {where} and give one of those in it: {command}"
        ).format(where=where, command=f"kilat train {unpacked}")
    if first.lower().endswith(ARCHIVES):
        return message, _("Give an archive, not the folder: {command}").format(
            command=f"kilat train {shlex.quote(os.path.join(where, first))}"
        )
    return message, _("Unpack it and give the folder with the pictures.")


def one_training_class_error(layout: Layout, where: str, label: str, classes: list[str]) -> SourceError:
    """Return the error about splits of which only one class is for training, as for finding anomalies.

    Args:
        layout: of a folder or an archive.
        where: the folder or archive, as the user named it.
        label: the class.
        classes: all of them.
    """
    tests = [root.folder.path for root in layout.roots if root.split == "test" and len(root.classes) > 1]
    if tests and os.path.isdir(where):
        command = f"kilat train {shlex.quote(os.path.join(where, tests[0]))}"
        hint = _("To train on the classes of its test folder: {command}").format(command=command)
    else:
        hint = _("Put training pictures of at least two classes into the training folder.")
    return SourceError(
        _("In {where} only class '{label}' has training pictures. Others have none: {others}.").format(
            where=where, label=label, others=_quoted(one for one in classes if one != label)
        ),
        hint=hint,
    )


def _what_lies_there(layout: Layout, where: str, open_table: OpenTable, sentences: list[str]) -> list[str]:
    """Say what there is instead of class folders, and return what to do with it."""
    hints = []
    sentence, hint = table_hint(layout, where, open_table)
    if sentence:
        sentences.append(sentence)
        return [hint]
    annotations = _annotations(layout)
    if names := _classes_in_names(layout, may_be_numbers=not annotations):
        sentences.append(
            _("The names of the pictures begin with what may be classes: {names}.").format(names=_quoted(names))
        )
        hints.append(_("If they are the classes: {command}").format(command=_command(where, "file-name")))
    if annotations:
        sentences.append(
            _("With {files} it looks like data for object detection or segmentation, not for classification.").format(
                files=_quoted(annotations)
            )
        )
        hints.append(
            _("Give a table with one label for each picture (path,label), or put the pictures into class folders.")
        )
    return hints


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


def _annotations(layout: Layout) -> list[str]:
    """Return files and folders that hold boxes or masks."""
    pictures = {entry.path.rpartition(".")[0] for entry in layout.entries}
    found = set()
    for (folder, _ending), path in layout.companions.annotations.items():
        name = path.rpartition("/")[2].lower()
        if any(map(is_annotations, folder.split("/"))):
            found.add(next(part for part in folder.split("/") if is_annotations(part)) + "/")
        elif path.rpartition(".")[0] in pictures or _is_annotation_file(name):
            found.add(path)
    found |= {
        part + "/"
        for entry in layout.entries
        if entry.refused == ANNOTATION
        for part in entry.path.split("/")[:-1]
        if is_annotations(part)
    }
    return sorted(map(printable, found))


def _is_annotation_file(name: str) -> bool:
    """Return whether a file is named as COCO, VGG and YOLO name theirs."""
    words = ("annotation", "instances", "coco", "bbox", "labelme", "via_", "data.yaml", "data.yml")
    return name.endswith((".json", ".yaml", ".yml")) and any(word in name for word in words)


def _classes_in_names(layout: Layout, *, may_be_numbers: bool) -> list[str]:
    """Return the classes that the names of pictures begin with, where nearly all do and each has several pictures."""
    counts = Counter(class_in_name(entry.path.rpartition("/")[2]) for entry in layout.entries)
    without = counts.pop("", 0)
    total = sum(counts.values())
    is_likely = len(counts) > 1 and total >= 3 * len(counts) and total >= without
    if not is_likely or not (may_be_numbers or all(any(map(str.isalpha, name)) for name in counts)):
        return []
    return sorted(counts)


def _command(where: str, class_from: str) -> str:
    return f"kilat train {shlex.quote(where)} --class-from {class_from}"


def _one_of(where: str, problem: Problem) -> str:
    if not os.path.isdir(where):
        return _("unpack it, and give {folder}").format(folder=join_path(problem.folder, problem.names[0]))
    return f"kilat train {shlex.quote(os.path.join(where, problem.folder, problem.names[0]))}"


def _below(where: str, folder: str) -> str:
    return os.path.join(where, folder) if folder else where


def _quoted(names: Iterable[str]) -> str:
    return listed([f"'{name}'" for name in map(printable, names)])


def _likeliest(table: tuple[str, str]) -> tuple[bool, bool, str]:
    """Order tables, given by name and path, by how likely they are to have the labels."""
    name = table[0].lower()
    return _is_for_tests(name), not any(word in name for word in ("train", "label")), name


def _is_for_tests(name: str) -> bool:
    """Return whether a table is named like one for a test or a submission, with labels that are none."""
    return any(word in name.lower() for word in ("sample", "submi", "test"))
