"""Parquet files as tables, with or without the pictures' bytes in them."""

import importlib.util
import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from kilat.data.table.cells import Cells, Embedded, cell_text
from kilat.data.table.parquet_columns import EmbeddedPictures, ParquetColumns
from kilat.data.table.text_columns import require_bounds
from kilat.errors import SourceError
from kilat.locale import _
from kilat.locale.excerpt import shortened
from kilat.locale.system_errors import system_reason

_LONGEST_REASON = 300
"""Characters of what the library says is wrong with a file."""

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.parquet", re.IGNORECASE)
"""How Hugging Face Datasets names the files that are one table together."""


def read_parquet(file: Path) -> Cells:
    """Return the columns of a Parquet file as text; bytes of pictures are left where they are.

    The names of classes that Hugging Face Datasets keeps beside a column of numbers take their place. A file that is
    one of several (``train-00000-of-00002.parquet``) is read with the others beside it.

    Raises:
        SourceError: it cannot be read, or pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise SourceError(
            _("Reading {file} needs pyarrow, which is not installed.").format(file=file), hint=_("pip install pyarrow")
        )
    shard = _SHARD.fullmatch(file.name)
    if shard is None or int(shard[3]) == 1:
        return _read_one(file)
    names = [f"{shard[1]}-{number:05}-of-{shard[3]}.parquet" for number in range(int(shard[3]))]
    files = [file.parent / name for name in names if (file.parent / name).exists()]
    tables = _read_shards(files)
    columns = [[cell for table in tables for cell in table.columns[i]] for i in range(len(tables[0].names))]
    picture_columns = {i for table in tables for i in table.embedded}
    embedded: dict[int, Embedded] = {
        i: ShardedPictures([(len(t), t.embedded.get(i)) for t in tables]) for i in picture_columns
    }
    unread = list(dict.fromkeys(name for table in tables for name in table.unread))
    return Cells(tables[0].names, columns, embedded=embedded, unread=unread, shards=(len(tables), len(names)))


def _read_shards(files: list[Path]) -> list[Cells]:
    """Return the files that are one table together.

    Raises:
        SourceError: one of them has other columns than the first, or together they have more rows than are read.
    """
    tables: list[Cells] = []
    for file in files:
        tables.append(_read_one(file))
        if tables[-1].names != tables[0].names:
            raise SourceError(
                _("{file} has other columns than {first}, and both are one table by their names.").format(
                    file=file, first=files[0].name
                ),
                hint=_("Give the files other names, then each is a table of its own."),
            )
        require_bounds(file, sum(map(len, tables)), len(tables[0].names))
    return tables


class ShardedPictures:
    """The pictures in a column of several files that are one table.

    Args:
        shards: of each file how many rows it has, and the pictures in it; None where it has none.
    """

    def __init__(self, shards: Sequence[tuple[int, Embedded | None]]) -> None:
        self._pictures = [pictures for _rows, pictures in shards]
        self._ends = list(accumulate(rows for rows, _pictures in shards))

    def read(self, row: int) -> bytes | None:
        """Return the bytes in a row; None where there are none."""
        shard = bisect_right(self._ends, row)
        pictures = self._pictures[shard]
        return pictures.read(row - (self._ends[shard - 1] if shard else 0)) if pictures else None


def _read_one(file: Path) -> Cells:
    try:
        return _read_columns(ParquetColumns(file))
    except SourceError:
        raise
    except OSError as error:  # pyarrow's own have no number
        reason = system_reason(error) if error.errno else shortened(str(error), _LONGEST_REASON)
        raise SourceError(_("{file} cannot be read as Parquet: {error}.").format(file=file, error=reason)) from error
    except Exception as error:
        # The library may raise anything on hostile bytes, and so may what makes values of Python from its own.
        reason = shortened(str(error) or type(error).__name__, _LONGEST_REASON)
        raise SourceError(_("{file} cannot be read as Parquet: {error}.").format(file=file, error=reason)) from error


def _read_columns(table: ParquetColumns) -> Cells:
    classes = _class_names(table.schema.metadata or {})
    names: list[str] = []
    columns: list[list[str]] = []
    embedded: dict[int, Embedded] = {}
    unread: list[str] = []
    for field in table.schema:
        if field.name.startswith("__index_level_"):  # the row numbers of pandas
            continue
        parts = _parts(field.type)
        if "bytes" in parts or _is_binary(field.type):
            pictures = EmbeddedPictures(table, field.name, in_struct="bytes" in parts)
            if pictures.are_pictures:
                embedded[len(columns)] = pictures
        if len(columns) in embedded and "path" not in parts:
            texts: list[str] | None = [""] * table.rows
        elif "bytes" in parts:
            texts = table.texts(f"{field.name}.path", lambda value: cell_text(value and value["path"]))
        else:
            texts = table.texts(field.name, partial(_text, classes=classes.get(field.name, [])))
        if texts is None:
            unread.append(field.name)
        names.append(field.name)
        columns.append(texts or [""] * table.rows)
    return Cells(names, columns, embedded=embedded, unread=unread)


def _parts(kind: Any) -> list[str]:
    """Return the names of what stands in a structure; none of any other type."""
    import pyarrow as pa

    return [kind.field(i).name for i in range(kind.num_fields)] if pa.types.is_struct(kind) else []


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _text(value: Any, classes: list[str]) -> str:
    """Return a value as text, the number of a class as its name."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return cell_text(_class_name(value, classes) if classes else value)


def _class_name(value: Any, classes: list[str]) -> Any:
    """Return the name of a class, of several a list; -1 stands for no class."""
    if isinstance(value, list):
        return [_class_name(one, classes) for one in value]
    return classes[value] if isinstance(value, int) and 0 <= value < len(classes) else None


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Return the names of classes by column, as Hugging Face Datasets writes them into the schema."""
    try:
        document = json.loads(metadata.get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):
        return {}
    found = {}
    for column, feature in _inner(_inner(document, "info"), "features").items():
        names = (_inner(feature, "feature") or _inner({"feature": feature}, "feature")).get("names")
        if isinstance(names, list):
            found[column] = [str(name) for name in names]
    return found


def _inner(document: Any, key: str) -> dict[str, Any]:
    """Return an object in another one; an empty one where there is none."""
    inner = document.get(key) if isinstance(document, dict) else None
    return inner if isinstance(inner, dict) else {}
