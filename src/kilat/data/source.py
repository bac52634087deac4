"""Sources of labelled pictures from what the user names: a folder, a table, an archive or a named data set.

| given | result |
| --- | --- |
| `<class>/**/picture` | a picture of that class, at any depth |
| `train`, `Training`, `seg_train/seg_train`, `latih`, …, with `val` or `test` under any name | the split is kept |
| `<class>/train`, `<class>/test`; `train_<class>`, `test_<class>` | the same |
| validation and test folders without one for training | validation is trained on, and said |
| a split without class folders beside others with them | left out: no labels, and said |
| a folder beside those of the split | left out, and said |
| folders named like splits, none with class folders | an error that names the table or annotations there |
| a folder named like a split among other classes | a class, and said |
| one folder around everything (`flowers/flowers/<class>`) | not a class, unless it has pictures itself |
| `fold1/<class>`, `2021/<class>`: numbered parts, years | not classes; one data set, and said |
| a copy of all class folders among them | more of the same, and said |
| masks and annotations beside pictures | left out, and said |
| classes that hold only folders | classes, and said |
| classes that hold the same folders; data sets side by side | an error with the commands for each reading |
| `--class-from` | the last folder, all of them or the file's name are the class |
| a picture outside the class folders | refused: no class folder |
| names that start with a dot, `Thumbs.db`, `desktop.ini`, `__MACOSX` and the like | skipped, and counted in `skipped` |
| `.txt`, `.json`, `.csv` and other files that are not pictures | skipped, and counted |
| a picture's ending | a picture, whatever its content; decoding checks that |
| no ending, or an unknown one | a picture if its first bytes are those of one; else skipped and counted |
| an empty file, one that may not be read, one over 256 MiB | refused when it is read, with the reason |
| a class folder without pictures | skipped, and counted |
| the same class name in two Unicode spellings | one class (NFC) |
| a name with undecodable bytes | used; shown with backslash escapes |
| links to files and folders | followed; a folder that leads back to itself is not entered again, and counted |
| a broken link | refused: broken link |
| links, devices and paths out of the archive, in an archive | refused, never followed |
| encrypted, oversized or oddly packed members of a zip | refused, with the reason |
| members of a zip that share their bytes, or unpack to hundreds of times their size | refused, with the reason |
| a path too long, or through too many folders (``kilat.data.bounds``) | refused, with the reason |
| an archive that is cut off, or unpacks without end | an error: some of the pictures would be missing |
| an archive in a folder or in an archive | not opened, and said; without pictures beside it an error that names it |
| a table: which columns, which files | found by content, and said (``kilat.data.table.source``) |
| a quote that makes one row of many lines of a table | an error that names its line |
| a row with nothing in its cells | skipped, and counted |
| a table's row without path or label, with a missing file or an unknown split | refused, with the reason |
| a table's name that several files have | refused: several files may be meant |
| a file listed twice under one label | used once; the other refused: listed twice |
| a file listed under two labels | both refused |
| rows without a split, where others have one | train |
| one class only, or no picture at all | an error that names what was found |

Entries are sorted by class, then path, by codepoint, so the order is the same on any file system.
"""

import os
from difflib import get_close_matches
from pathlib import Path

from kilat.data.archive import SUFFIXES as ARCHIVES
from kilat.data.archive import ArchiveSource
from kilat.data.arrays import ArraySource, PathsSource
from kilat.data.catalog import Catalog, Source
from kilat.data.datasets import DATASETS, open_dataset
from kilat.data.folder import FolderSource
from kilat.data.image_file import is_address, printable
from kilat.data.layout.advice import archives_instead, fitting_table, tables_instead
from kilat.data.layout.layout import HIDDEN, OTHER
from kilat.data.layout.no_classes import class_folders_hint, layout_error, one_training_class_error
from kilat.data.reading import Reading
from kilat.data.table.rows import TABLES, hint_for_other_table
from kilat.data.table.source import TableSource
from kilat.errors import SourceError, nearest
from kilat.locale import _, ngettext
from kilat.locale.escapes import shell_word
from kilat.runtime.files import require_possible
from kilat.runtime.progress import Advance, ignore

__all__ = [
    "TABLES",
    "ArchiveSource",
    "ArraySource",
    "FolderSource",
    "PathsSource",
    "TableSource",
    "find_source",
    "open_source",
    "require_classes",
    "require_pictures",
]

UNREADABLE_ARCHIVES = (".rar", ".7z", ".tar.zst", ".zst", ".lz4", ".z01", ".zip.001", ".7z.001")


def open_source(
    data: str | Path,
    *,
    root: Path | None = None,
    advance: Advance | None = None,
    reading: Reading | None = None,
    one_class: bool = False,
) -> Source:
    """Open the labelled pictures that ``data`` names, of at least two classes.

    Args:
        data: a folder, a table, an archive, or the name of a data set; what exists on disk comes before a name.
        root: a folder with copies of named data sets; ``data`` is then a name.
        advance: called with the bytes received and their total while a named data set is downloaded, or with those
            searched of a compressed archive.
        reading: what the user says about how it is read.
        one_class: whether one class is enough, such as to measure a model.

    Raises:
        SourceError: it cannot be read, its folders tell no classes, or it has fewer than two.
    """
    source = find_source(data, root=root, advance=advance, reading=reading)
    where = printable(os.path.expanduser(str(data)))
    if isinstance(source, FolderSource | ArchiveSource) and source.layout.problem:
        raise layout_error(source.layout, where, find_source)
    (require_pictures if one_class else require_classes)(source, where)
    return source


def find_source(
    data: str | Path, *, root: Path | None = None, advance: Advance | None = None, reading: Reading | None = None
) -> Source:
    """Open pictures like ``open_source``, also such as have no classes."""
    path, name, reading = Path(os.path.expanduser(data)), str(data), reading or Reading()
    for place in filter(None, (path, root)):
        require_possible(place)
    _require_fitting_options(path, name, reading, is_local=root is None and os.path.exists(path))
    if root is not None:
        return open_dataset(name, root=Path(os.path.expanduser(root)), advance=advance)
    if os.path.isdir(path):
        return FolderSource(path, class_from=reading.class_from)
    if os.path.exists(path):
        file_name = path.name.lower()
        if file_name.endswith(ARCHIVES):
            return ArchiveSource(path, class_from=reading.class_from, advance=advance or ignore)
        if file_name.endswith(TABLES):
            return TableSource(path, reading=reading)
        if file_name.endswith(UNREADABLE_ARCHIVES):
            raise SourceError(
                _("kilat does not read archives such as {path}.").format(path=printable(name)),
                hint=_("Unpack it and give the folder, or pack it again as one of {archives}.").format(
                    archives=", ".join(ARCHIVES)
                ),
            )
        raise SourceError(
            _("{path} is neither a table nor an archive that kilat reads.").format(path=printable(str(path))),
            hint=hint_for_other_table(file_name)
            or _("Give a folder of class folders, a table ({tables}) or an archive ({archives}).").format(
                tables=", ".join(TABLES), archives=", ".join(ARCHIVES)
            ),
        )
    if name in DATASETS:
        return open_dataset(name, advance=advance)
    if is_address(name):
        raise address_error(name)
    raise SourceError(
        _("There is no folder, table, archive or data set {name!r}.").format(name=printable(name)),
        hint=_nearest(path, name),
    )


def _require_fitting_options(path: Path, name: str, reading: Reading, *, is_local: bool) -> None:
    """Raise where an option was given that says nothing about this kind of data."""
    is_table = is_local and path.name.lower().endswith(TABLES) and not os.path.isdir(path)
    if reading.table_options and is_local and not is_table:
        raise SourceError(
            _("{options} is for tables; {data} is none.").format(
                options=", ".join(reading.table_options), data=printable(name)
            ),
            hint=_("Leave it out, or give the table: a file that ends in {tables}.").format(tables=", ".join(TABLES)),
        )
    if reading.class_from and (is_table or (not is_local and name in DATASETS)):
        raise SourceError(
            _("--class-from is for folders and archives; {data} is neither.").format(data=printable(name)),
            hint=_("Leave it out."),
        )


def address_error(name: str) -> SourceError:
    """Return the error that says that kilat does not download what an address names, with what does."""
    scheme, _colon, rest = name.partition(":")
    address = shell_word(f"{scheme}://{rest.lstrip('/')}" if rest else name)  # Path("s3://b") has one slash
    programs = {"s3": "aws s3 cp --recursive {} pictures/", "gs": "gcloud storage cp --recursive {} pictures/"}
    command = programs.get(scheme.lower(), "curl -L -O {}").format(address)
    hints = {
        "file": _("Give the path without 'file://'."),
        "data": _("Write the picture to a file, and give its path."),
    }
    download = _("Download it, then give the file or folder: {command}").format(command=command)
    return SourceError(
        _("{name} is an address, not a path: kilat does not download pictures.").format(name=printable(name)[:120]),
        hint=hints.get(scheme.lower(), download),
    )


def require_classes(source: Source, where: str) -> None:
    """Raise unless at least two classes of a source have pictures.

    Args:
        source: to check.
        where: as the user named it.

    Raises:
        SourceError: it names what was found, and what to do.
    """
    require_pictures(source, where)
    classes = {entry.label for entry in source.entries if not entry.refused}
    if len(classes) < 2:
        count = sum(not entry.refused for entry in source.entries)
        message = ngettext(
            "{where} has one class, {name!r}, with one picture; a classifier needs at least two classes.",
            "{where} has one class, {name!r}, with {count:,} pictures; a classifier needs at least two classes.",
            count,
        ).format(where=where, name=classes.pop(), count=count)
        hint = _hint(source, where)
        if isinstance(source, FolderSource | ArchiveSource):
            table = fitting_table(source.layout, where, find_source)
            message, hint = (f"{message} {table[0]}", table[1]) if table else (message, hint)
        raise SourceError(message, hint=hint)
    trained = {entry.label for entry in source.entries if not entry.refused and entry.split in ("", "train")}
    if len(trained) == 1 and isinstance(source, FolderSource | ArchiveSource):
        raise one_training_class_error(source.layout, where, trained.pop(), sorted(classes))


def require_pictures(source: Source, where: str) -> None:
    """Raise unless a picture of a source can be used.

    Args:
        source: to check.
        where: as the user named it.

    Raises:
        SourceError: it names what was found, and what to do.
    """
    if not source.entries:
        files = source.skipped.get(HIDDEN, 0) + source.skipped.get(OTHER, 0)
        found = _("No pictures in {where}: it is empty.")
        if files:
            found = ngettext(
                "No pictures in {where}: one file, which is not a picture.",
                "No pictures in {where}: {count:,} files, none of them a picture.",
                files,
            )
        looked_for = _("kilat looks for JPEG, PNG, WebP, GIF, BMP and TIFF files in class folders.")
        message, hint = f"{found.format(where=where, count=files)} {looked_for}", _hint(source, where)
        if isinstance(source, FolderSource | ArchiveSource) and source.layout.companions.archives:
            message, hint = archives_instead(source.layout, where)
        elif isinstance(source, FolderSource) and source.layout.companions.tables:
            message, hint = tables_instead(source.layout, where)
        raise SourceError(message, hint=hint)
    if all(entry.refused for entry in source.entries):
        raise SourceError(
            ngettext(
                "The only picture in {where} cannot be used: {reasons}.",
                "None of the {count:,} pictures in {where} can be used: {reasons}.",
                len(source.entries),
            ).format(
                count=len(source.entries), where=where, reasons=Catalog.from_entries(source.entries).refusal_summary()
            ),
            hint=_hint(source, where),
        )


def _hint(source: Source, where: str) -> str:
    if isinstance(source, TableSource):
        return _("Give every row a path, relative to the table's folder, and a label; use at least two labels.")
    return class_folders_hint(where)


def _nearest(path: Path, name: str) -> str:
    """Return a hint at what the user may have meant: something in the same folder, or a named data set."""
    folder = path.parent
    siblings = (
        [printable(each.name) for each in folder.iterdir()] if os.access(folder, os.R_OK) and folder.is_dir() else []
    )
    close = get_close_matches(path.name, siblings, n=3, cutoff=0.6)
    if close:
        names = _(" or ").join(repr(printable(str(folder / each))) for each in close)
        return _("Did you mean {names}?").format(names=names)
    if os.sep in name or "." in name:
        return _("Check the path, or give the name of a data set: {names}.").format(names=", ".join(DATASETS))
    return nearest(name, DATASETS)
