"""Parquet files as tables, with or without the pictures' bytes in them."""

import importlib.util
import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from kilat.data.image_file import SIGNATURE_BYTES, has_image_signature
from kilat.data.table.cells import Cells, Embedded, cell_text
from kilat.errors import SourceError
from kilat.locale import _

_BATCH = 32
"""Rows of pictures that are in memory at a time."""


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
    tables = [_read_one(file.parent / name) for name in names if (file.parent / name).exists()]
    columns = [[cell for table in tables for cell in table.columns[i]] for i in range(len(tables[0].names))]
    picture_columns = {i for table in tables for i in table.embedded}
    embedded: dict[int, Embedded] = {
        i: ShardedPictures([(len(t), t.embedded.get(i)) for t in tables]) for i in picture_columns
    }
    return Cells(tables[0].names, columns, embedded=embedded, shards=(len(tables), len(names)))


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
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file)
        schema = parquet.schema_arrow
        classes = _class_names(schema.metadata or {})
        names: list[str] = []
        columns: list[list[str]] = []
        embedded: dict[int, Embedded] = {}
        for field in schema:
            if field.name.startswith("__index_level_"):  # the row numbers of pandas
                continue
            parts = (
                [field.type.field(i).name for i in range(field.type.num_fields)]
                if pa.types.is_struct(field.type)
                else []
            )
            if "bytes" in parts or _is_binary(field.type):
                pictures = EmbeddedPictures(parquet, field.name, in_struct="bytes" in parts)
                if pictures.are_pictures:
                    embedded[len(columns)] = pictures
            names.append(field.name)
            is_picture = len(columns) in embedded
            columns.append(_texts(parquet, field, parts, classes.get(field.name, []), is_picture=is_picture))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceError(_("{file} cannot be read as Parquet: {error}.").format(file=file, error=error)) from error
    return Cells(names, columns, embedded=embedded)


class EmbeddedPictures:
    """The pictures in a column of bytes, or of bytes with a path, read a few rows at a time.

    Rows are best read in their order; whoever goes back reads the rows of a group again.

    Args:
        parquet: the open file.
        column: its name.
        in_struct: whether the bytes stand in a structure with a path.
    """

    def __init__(self, parquet: Any, column: str, *, in_struct: bool) -> None:
        self._parquet, self._column, self._in_struct = parquet, column, in_struct
        groups = range(parquet.metadata.num_row_groups)
        self._ends = list(accumulate(parquet.metadata.row_group(group).num_rows for group in groups))
        self._first, self._rows = 0, list[bytes | None]()  # the rows in memory, and the number of the first of them
        self._batches: Iterator[Any] = iter(())
        self._group = -1

    @property
    def are_pictures(self) -> bool:
        """Whether the first bytes in the column are those of a picture."""
        head = next((found for row in range(min(self._count, _BATCH)) if (found := self.read(row))), None)
        return head is not None and has_image_signature(head[:SIGNATURE_BYTES])

    @property
    def _count(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, row: int) -> bytes | None:
        """Return the bytes in a row; None where there are none."""
        group = bisect_right(self._ends, row)
        if group != self._group or row < self._first:
            self._group, self._first, self._rows = group, self._ends[group - 1] if group else 0, []
            names = [f"{self._column}.bytes" if self._in_struct else self._column]
            self._batches = self._parquet.iter_batches(_BATCH, row_groups=[group], columns=names)
        while row >= self._first + len(self._rows):
            self._first += len(self._rows)
            column = next(self._batches).column(0)
            self._rows = (column.field(0) if self._in_struct else column).to_pylist()
        return self._rows[row - self._first]


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _texts(parquet: Any, field: Any, parts: list[str], classes: list[str], *, is_picture: bool) -> list[str]:
    """Return a column as text: of a structure with bytes its path, of numbers of classes their names."""
    if is_picture and "path" not in parts:
        return [""] * parquet.metadata.num_rows
    name = f"{field.name}.path" if "bytes" in parts else field.name
    values = parquet.read(columns=[name]).column(0).to_pylist()
    if "bytes" in parts:
        values = [None if value is None else value["path"] for value in values]
    if classes:
        values = [_class_name(value, classes) for value in values]
    return [cell_text(value.decode("utf-8", "replace") if isinstance(value, bytes) else value) for value in values]


def _class_name(value: Any, classes: list[str]) -> Any:
    """Return the name of a class, of several a list; -1 stands for no class."""
    if isinstance(value, list):
        return [_class_name(one, classes) for one in value]
    return classes[value] if isinstance(value, int) and 0 <= value < len(classes) else None


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Return the names of classes by column, as Hugging Face Datasets writes them into the schema."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    except ValueError:
        return {}
    found = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
        if isinstance(inner, dict) and isinstance(inner.get("names"), list):
            found[column] = [str(name) for name in inner["names"]]
    return found
