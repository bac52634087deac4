"""Errors about layouts that tell no classes: what was found, and the commands that do what was probably meant."""

import os

from kilat.data.layout.advice import OpenTable, advise, quoted, unpacked
from kilat.data.layout.layout import Layout
from kilat.data.layout.roots import ANNOTATION, Problem
from kilat.errors import SourceError
from kilat.locale import N_, _, ngettext
from kilat.locale.escapes import Shown, shell_word

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
    if problem.kind == "same_folders":
        return _same_folders(problem, where, is_split=_is_split(layout))
    if problem.kind == "several_data_sets":
        return _several_data_sets(problem, where)
    if problem.kind == "data_folder":
        return _data_folder(problem, where, is_split=_is_split(layout))
    count = sum(entry.refused != ANNOTATION for entry in layout.entries)
    message = ngettext(
        "The picture in {place} stands in no class folder.",
        "The {count:,} pictures in {place} stand in no class folders.",
        count,
    )
    message = _(_FLAT[problem.kind]) if problem.kind in _FLAT else message
    sentences = [message.format(place=_below(where, problem.folder), folders=quoted(problem.names), count=count)]
    advice = advise(layout, where, open_table)
    sentences += [sentence for sentence, _hint in advice]
    hints = [hint for _sentence, hint in advice] or [class_folders_hint(where)]
    if problem.kind in _FLAT:
        hints.append(_("If these folders are the classes: {first}").format(first=_command(where, "first-folder")))
    return SourceError(" ".join(sentences), hint=Shown("\n").join(hints))


def one_training_class_error(layout: Layout, where: str, label: str, classes: list[str]) -> SourceError:
    """Return the error about splits of which only one class is for training, as for finding anomalies.

    Args:
        layout: of a folder or an archive.
        where: the folder or archive, as the user named it.
        label: the class.
        classes: all of them.
    """
    hint = _("Put training pictures of at least two classes into the training folder.")
    if tests := [root.folder.path for root in layout.roots if root.split == "test" and len(root.classes) > 1]:
        command = _command(os.path.join(unpacked(where), tests[0]))
        hint = _("To train on the classes of its test folder: {command}").format(command=command)
    return SourceError(
        _("In {where} only class '{label}' has training pictures. Others have none: {others}.").format(
            where=where, label=label, others=quoted(one for one in classes if one != label)
        ),
        hint=hint,
    )


def class_folders_hint(where: str) -> str:
    """Return how class folders are laid out, with the user's own folder in it."""
    folder = where.rstrip("/") if os.path.isdir(where) else "pictures"
    return _(
        "Put the pictures of each class into a folder of its own: {folder}/cats/1.jpg, {folder}/dogs/1.jpg."
    ).format(folder=folder)


def _is_split(layout: Layout) -> bool:
    """Return whether the class folders stand in several places."""
    return sum(not root.refused for root in layout.roots) > 1


def _same_folders(problem: Problem, where: str, *, is_split: bool) -> SourceError:
    hints = [
        _("If the inner ones are the classes: {command}").format(command=_command(where, "last-folder")),
        _("If the outer ones are: {command}").format(command=_command(where, "first-folder")),
        _("If every pair is: {command}").format(command=_command(where, "folders")),
    ]
    if not is_split:
        hints.append(_("To take one of the outer ones alone: {command}").format(command=_first_of(problem, where)))
    return SourceError(
        _("The folders {folders} in {place} hold the same folders, {inner}: either may be the classes.").format(
            folders=quoted(problem.names), place=_below(where, problem.folder), inner=quoted(problem.inner)
        ),
        hint=Shown("\n").join(hints),
    )


def _several_data_sets(problem: Problem, where: str) -> SourceError:
    message = ngettext(
        "The folder {folders} in {place} holds {inner}: it is a data set, not a class.",
        "Each of the folders {folders} in {place} holds {inner}: they are data sets, not classes.",
        len(problem.names),
    )
    hint = _("To take one of them: {one}\nTo take all of them together: {last}")
    if len(problem.names) == 1:
        hint = _("To take it: {one}")
    return SourceError(
        message.format(folders=quoted(problem.names), place=_below(where, problem.folder), inner=quoted(problem.inner)),
        hint=hint.format(one=_first_of(problem, where), last=_command(where, "last-folder")),
    )


def _data_folder(problem: Problem, where: str, *, is_split: bool) -> SourceError:
    inside = _command(where, "last-folder") if is_split else _first_of(problem, where)
    folders, inner = quoted(problem.names), quoted(problem.inner)
    return SourceError(
        _("{place} holds {folders} with the folders {inner} in it, and others beside it.").format(
            place=_below(where, problem.folder), folders=folders, inner=inner
        ),
        hint=_("If {inner} are the classes: {one}\nIf {folders} is a class itself: {first}").format(
            inner=inner, one=inside, folders=folders, first=_command(where, "first-folder")
        ),
    )


def _first_of(problem: Problem, where: str) -> str:
    """Return the command that takes the first of the folders in question alone."""
    command = _command(os.path.join(unpacked(where), problem.folder, problem.names[0]))
    if os.path.isdir(where):
        return command
    return _("unpack {where}, then {command}").format(where=where, command=command)


def _command(data: str, class_from: str = "") -> str:
    return f"kilat train {shell_word(data)}" + (f" --class-from {class_from}" if class_from else "")


def _below(where: str, folder: str) -> str:
    return os.path.join(where, folder) if folder else where
