"""Tables whose quotes, rows, columns, values and pages go on without measure, beside ten good pictures.

Every table lies in a folder with the pictures ``a0.jpg`` to ``a4.jpg`` and ``b0.jpg`` to ``b4.jpg``, and ``c0.jpg`` to
``c4.jpg`` for rows that would contradict good ones.
"""

import io
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hostile_inputs.case import MIB, Corpus, Sparse
from hostile_inputs.jpeg import photo

TABLES = Corpus()

GOOD = [(f"{label}{number}.jpg", {"a": "apple", "b": "berry"}[label]) for label in "ab" for number in range(5)]
HEADER = "path,label\n"


def write_pictures(folder: Path) -> None:
    """Write the pictures that the tables name."""
    for number, name in enumerate([name for name, _label in GOOD] + [f"c{number}.jpg" for number in range(5)]):
        (folder / name).write_bytes(photo(24 + number))


def rows(*more: str, after: bool = True) -> bytes:
    """Return a good table of ten rows with more rows in its middle."""
    good = [f"{path},{label}\n" for path, label in GOOD]
    return (HEADER + "".join(good[:5]) + "".join(more) + "".join(good[5:] if after else [])).encode(
        "utf-8", "surrogatepass"
    )


for name, make in {
    "stray-quote.csv": lambda: rows('"a0.jpg,apple\n'),
    "stray-quote-in-a-label.csv": lambda: rows('a0.jpg,"apple\n'),
    "two-stray-quotes.csv": lambda: rows('"a0.jpg,apple\n') + b'x.jpg,"berry\n',
    "quote-at-the-end.csv": lambda: rows() + b'"a0.jpg,apple',
    "quote-inside.csv": lambda: rows('a0"x".jpg,apple\n'),
    "quote-before-text.csv": lambda: rows('"a0"x.jpg,apple\n'),
    "quoted-lines.csv": lambda: rows('"a\n0.jpg",apple\n', 'a1.jpg,"ap\r\nple"\n'),
    "quotes-without-end.csv": lambda: rows('"' * 100_001 + "\n"),
    "half-a-million-quotes.csv": lambda: rows('""' * 250_000 + ",apple\n"),
    "only-returns.csv": lambda: rows().replace(b"\n", b"\r"),
    "mixed-ends.csv": lambda: rows().replace(b"\na1", b"\ra1").replace(b"\na3", b"\r\na3"),
    "other-line-ends.csv": lambda: rows(
        "a0.jpg,ap\u2028ple\n", "a1.jpg,ap\x85ple\n", "a2.jpg,ap\x0bple\n", "a3.jpg,x\x1c\n"
    ),
    "nul-bytes.csv": lambda: rows("a0.jpg,ap\0ple\n") + b"\0" * 5_000,
    "controls.csv": lambda: rows("c0.jpg,\x1b[2J\x07evil\n", "c1.jpg,\u202eelppa\n", "c\u200b2.jpg,apple\n"),
    "formulas.csv": lambda: rows(
        "c0.jpg,=cmd|'/C calc'!A0\n", "c1.jpg,+1\n", "c2.jpg,@SUM(1)\n", "c3.jpg,-2\n", "c4.jpg,\tx\n"
    ),
    "field-of-a-mebibyte.csv": lambda: rows(f"a0.jpg,{'x' * MIB}\n"),
    "path-of-a-mebibyte.csv": lambda: rows(f"{'x/' * (MIB // 2)}.jpg,apple\n"),
    "line-of-50-mebibytes.csv": lambda: rows("x" * 50 * MIB + "\n"),
    "first-line-of-50-mebibytes.csv": lambda: b"path,label," + b"x" * 50 * MIB + b"\n" + rows()[11:],
    "100-thousand-columns.csv": lambda: (
        (HEADER[:-1] + "," + ",".join(f"c{n}" for n in range(100_000)) + "\n").encode() + rows()[11:] * 200
    ),
    "19-thousand-columns-2600-rows.csv": lambda: (
        (HEADER[:-1] + "," + ",".join(f"c{n}" for n in range(19_000)) + "\n").encode() + rows()[11:] * 260
    ),
    "row-of-a-million-cells.csv": lambda: rows("a0.jpg,apple" + "," * 1_000_000 + "\n"),
    "ten-million-empty-lines.csv": lambda: rows("\n" * 10_000_000),
    "five-million-rows-of-nothing.csv": lambda: rows(",\n" * 5_000_000),
    "million-missing-files.csv": lambda: rows(*(f"no{n}.jpg,apple\n" for n in range(1_000_000))),
    "million-times-the-same.csv": lambda: rows("a0.jpg,apple\n" * 1_000_000),
    "100-thousand-labels.csv": lambda: rows(*(f"a0.jpg,label{n}\n" for n in range(100_000))),
    "sep-line.csv": lambda: b"sep=\n" + rows(),
    "sep-of-a-quote.csv": lambda: b'sep="\n' + rows(),
    "sep-of-a-letter.csv": lambda: b"sep=a\n" + rows(),
    "sep-of-a-return.csv": lambda: b"sep=\r\n" + rows(),
    "delimiter-in-every-name.csv": lambda: rows("a0.jpg,apple,x,y,z\n" * 50),
    "utf-16.csv": lambda: rows().decode().encode("utf-16"),
    "utf-16-cut.csv": lambda: rows().decode().encode("utf-16")[:-1],
    "utf-16-surrogates.csv": lambda: b"\xff\xfe" + b"\x00\xd8" * 500,
    "utf-32.csv": lambda: rows().decode().encode("utf-32"),
    "latin-1.csv": lambda: rows("a0.jpg,äpple\n").decode().encode("latin-1"),
    "surrogates.csv": lambda: rows("a0.jpg,\ud800\n"),
    "no-header.csv": lambda: rows()[11:],
    "only-a-header.csv": HEADER.encode,
    "empty.csv": lambda: b"",
    "one-byte.csv": lambda: b"\xff",
    "blanks.csv": lambda: b" \n" * 1_000_000,
    "columns-of-one-name.csv": lambda: (
        b"path,path,label,label\n" + b"".join(f"{p},{p},{c},{c}\n".encode() for p, c in GOOD)
    ),
    "paths-outside.csv": lambda: rows("/dev/zero,apple\n", "/etc/passwd,apple\n", "../../../../dev/urandom,berry\n"),
    "paths-of-devices.csv": lambda: rows(
        "/dev/stdin,apple\n", "/proc/self/mem,apple\n", "/dev/tty,apple\n", ".,apple\n"
    ),
    "paths-with-nul.csv": lambda: rows(
        "a\\x000.jpg,apple\n", "%00.jpg,apple\n", "~root/x.jpg,berry\n", "$HOME/x.jpg,apple\n"
    ),
    "patterns.csv": lambda: rows("*.jpg,apple\n", "[a-z]0.jpg,apple\n", "**/a?.jpg,apple\n", "(a+)+$.jpg,apple\n"),
    "addresses.csv": lambda: rows(
        "http://127.0.0.1:9/x.jpg,apple\n", "file:///etc/passwd,apple\n", "data:;base64,AA,apple\n"
    ),
    "thousand-spaces.csv": lambda: rows(f"a0.jpg{' ' * 100_000},{' ' * 100_000}apple\n"),
    "other-digits.csv": lambda: rows(
        "a0.jpg,٣\n", "a1.jpg,\uff11\n", "a2.jpg,1e400\n", "a3.jpg,nan\n", f"a4.jpg,{'9' * 5_000}\n"
    ),
    "words.txt": lambda: b"".join(f"{p} {c}\n".encode() for p, c in GOOD) + b"x " * MIB,
    "names-and-blanks.txt": lambda: b"".join(f"{p} {c}\n".encode() for p, c in GOOD) + b"a.jpg" + b" " * 500_000 + b"9",
    "dots.txt": lambda: b"".join(f"{p} {c}\n".encode() for p, c in GOOD) + b".jpg" * 100_000 + b"\n",
    "tabs.tsv": lambda: rows().replace(b",", b"\t") + b"\t" * MIB,
}.items():
    TABLES.add(name)(make)


@TABLES.add("pipe.csv", may="refused")
def _pipe(path: Path) -> None:
    os.mkfifo(path)


@TABLES.add("zeros.csv", may="refused")
def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


@TABLES.add("folder.csv")
def _folder(path: Path) -> None:
    path.mkdir()


@TABLES.add("hundred-gigabytes.csv", may="refused")
def _hundred() -> Sparse:
    return Sparse(rows(), 100_000 * MIB)


@TABLES.add("two-gigabytes.csv", may="refused")
def _two() -> Sparse:
    return Sparse(rows(), 2_000 * MIB)


def lines(*more: str) -> bytes:
    good = [json.dumps({"file_name": path, "label": label}) + "\n" for path, label in GOOD]
    return "".join([*good[:5], *(f"{line}\n" for line in more), *good[5:]]).encode("utf-8", "surrogatepass")


for name, make in {
    "depth-of-100-thousand.jsonl": lambda: lines('{"file_name": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "depth-of-900.jsonl": lambda: lines('{"file_name": "a0.jpg", "label": ' + '{"a":' * 900 + "1" + "}" * 900 + "}"),
    "brackets-without-end.jsonl": lambda: lines("[" * MIB),
    "number-of-100-thousand-digits.jsonl": lambda: lines('{"file_name": "a0.jpg", "label": ' + "9" * 100_000 + "}"),
    "number-of-4300-digits.jsonl": lambda: lines('{"file_name": "a0.jpg", "label": ' + "9" * 4_301 + "}"),
    "numbers.jsonl": lambda: lines(
        '{"file_name": "a0.jpg", "label": 1e400}',
        '{"file_name": "a1.jpg", "label": NaN}',
        '{"file_name": 3, "label": -Infinity}',
        '{"file_name": null, "label": null}',
        '{"file_name": true, "label": []}',
    ),
    "surrogates.jsonl": lambda: lines(r'{"file_name": "\ud800.jpg", "label": "\udfff"}'),
    "escapes.jsonl": lambda: lines(r'{"file_name": "a0.jpg", "label": "\u001b[2J\n\u202e\u0000"}'),
    "names-twice.jsonl": lambda: lines('{"file_name": "a0.jpg", "file_name": "a1.jpg", "label": "x", "label": "y"}'),
    "names-of-many.jsonl": lambda: lines(
        *(
            json.dumps({"file_name": "a0.jpg", "label": "apple", **{f"k{r}-{c}": 1 for c in range(50)}})
            for r in range(2_000)
        )
    ),
    "name-of-a-mebibyte.jsonl": lambda: lines('{"' + "k" * MIB + '": 1}'),
    "list-of-a-million.jsonl": lambda: lines('{"file_name": "a0.jpg", "label": [' + "1," * 500_000 + "1]}"),
    "lists.jsonl": lambda: lines("[1, 2]", "3", '"text"', "null"),
    "no-json.jsonl": lambda: lines("{'file_name': 'a0.jpg'}"),
    "dots-in-names.jsonl": lambda: lines(
        '{"a": {"b": 1}, "a.b": 2, "": {"": 3}, "file_name": "a0.jpg", "label": "apple"}'
    ),
    "line-ends.jsonl": lambda: lines('{"file_name": "a0.jpg", "label": "ap\u2028ple\x85"}'),
    "million-lines.jsonl": lambda: lines(*["{}"] * 1_000_000),
    "numbers-as-paths.jsonl": lambda: lines(*(f'{{"file_name": {n}, "label": {n}}}' for n in range(1_000))),
}.items():
    TABLES.add(name)(make)


def parquet(columns: dict[str, object], **options: object) -> bytes:
    """Return a Parquet file; pyarrow makes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = options.pop("metadata", None)
    table = pa.table(columns)
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, file, **options)
    return file.getvalue()


def good_columns() -> dict[str, object]:
    return {"path": [path for path, _label in GOOD], "label": [label for _path, label in GOOD]}


def _features(document: str) -> Callable[[], bytes]:
    return partial(
        lambda text: parquet(good_columns() | {"label": [0, 1] * 5}, metadata={b"huggingface": text}), document.encode()
    )


for name, document in {
    "a-list": "[]",
    "a-number": "3",
    "no-info": '{"info": 3}',
    "features-of-a-list": '{"info": {"features": []}}',
    "names-of-numbers": '{"info": {"features": {"label": {"names": [1, null, {}]}}}}',
    "names-of-a-text": '{"info": {"features": {"label": {"names": "ab"}}}}',
    "names-within-names": '{"info": {"features": {"label": {"feature": {"feature": {"names": ["a"]}}}}}}',
    "depth": "[" * 100_000,
    "digits": "9" * 10_000,
    "million-names": json.dumps({"info": {"features": {"label": {"names": ["x" * 50] * 500_000}}}}),
    "hostile-names": json.dumps({"info": {"features": {"label": {"names": ["\x1b[2J\nevil", "=cmd()"]}}}}),
    "surrogates": r'{"info": {"features": {"label": {"names": ["\ud800", "b"]}}}}',
}.items():
    TABLES.add(f"features-{name}.parquet")(_features(document))


@TABLES.add("text-of-a-gigabyte.parquet")
def _text() -> bytes:
    """Each row has the same text of ten mebibytes, which the file holds once."""
    text = "x" * (10 * MIB)
    return parquet({"path": [text] * 400, "label": ["a", "b"] * 200}, use_dictionary=True)


@TABLES.add("note-of-a-gigabyte.parquet")
def _note() -> bytes:
    """A column that is neither path nor label."""
    columns = good_columns()
    return parquet(columns | {"note": ["x" * (100 * MIB)] * 10}, use_dictionary=True)


@TABLES.add("pictures-of-a-gigabyte.parquet")
def _pictures() -> bytes:
    blank = photo() + bytes(100 * MIB)
    return parquet({"image": [blank] * 20, "label": ["a", "b"] * 10}, use_dictionary=True, compression="zstd")


@TABLES.add("ten-million-rows.parquet")
def _rows() -> bytes:
    import numpy as np

    return parquet({"path": np.zeros(10_000_000, np.int8), "label": np.zeros(10_000_000, np.int8)})


@TABLES.add("lists-of-lists.parquet")
def _lists() -> bytes:
    nested: object = [1]
    for _ in range(40):
        nested = [nested]
    return parquet(good_columns() | {"deep": [nested] * 10})


@TABLES.add("million-in-a-list.parquet")
def _million() -> bytes:
    return parquet(good_columns() | {"many": [[0] * 3_000_000] * 10}, use_dictionary=True)


@TABLES.add("structures.parquet")
def _structures() -> bytes:
    return parquet({"image": [{"bytes": None, "path": None}] * 10, "label": ["a", "b"] * 5})


@TABLES.add("bytes-that-are-no-pictures.parquet")
def _no_pictures() -> bytes:
    return parquet({"image": [b"\xff\xd8\xff" + bytes(50)] * 10, "label": ["a", "b"] * 5})


@TABLES.add("bytes-of-numbers.parquet")
def _numbers() -> bytes:
    return parquet({"image": [{"bytes": 3, "path": "x"}] * 10, "label": ["a", "b"] * 5})


@TABLES.add("columns-of-one-name.parquet")
def _one_name() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    table = pa.Table.from_arrays([pa.array(["a0.jpg"] * 4), pa.array(["b"] * 4)], names=["path", "path"])
    pq.write_table(table, file)
    return file.getvalue()


@TABLES.add("20-thousand-columns.parquet")
def _columns() -> bytes:
    return parquet(good_columns() | {f"c{number}": [0] * 10 for number in range(20_000)})


@TABLES.add("times.parquet")
def _times() -> bytes:
    import pyarrow as pa

    far = {"far": pa.array([1 << 52] * 10, pa.timestamp("ms")), "day": pa.array([1 << 30] * 10, pa.date32())}
    return parquet(good_columns() | far)


@TABLES.add("damaged.parquet")
def _damaged() -> bytes:
    content = bytearray(parquet(good_columns()))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


@TABLES.add("footer-of-2-gib.parquet")
def _footer() -> bytes:
    return b"PAR1" + bytes(100) + b"\xff\xff\xff\x7fPAR1"


@TABLES.add("part-00000-of-00003.parquet", "part-00000-of-99999.parquet")
def _part() -> bytes:
    return parquet(good_columns())
