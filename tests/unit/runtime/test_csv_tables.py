"""Tables in CSV: no cell is a formula to a spreadsheet, numbers stay numbers, and every cell is read back exactly."""

import csv
import io
import re

import numpy as np
import pandas as pd
import pytest

from hostile_texts import FORMULAS, HOSTILE, MARKUP, ORDINARY
from kilat.runtime.csv_tables import from_csv, is_own, quoted, rows_to_csv, to_csv, unquoted

TEXTS = [*FORMULAS, *HOSTILE.values(), *MARKUP.values(), *ORDINARY, "", "'"]
TEXTS = [text for text in TEXTS if not re.search("[\ud800-\udfff]", text)]  # in paths and labels they are escaped


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_like_a_formula(text):
    assert quoted(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1", "+1.5", "-.5e-3", "-1.", "kucing", "a=b", "a-1", "'tis", "", "1+1"])
def test_numbers_and_other_text_stay_as_they_are(text):
    assert quoted(text) == text
    assert unquoted(text) == text


@pytest.mark.parametrize("text", TEXTS)
def test_every_cell_is_read_back(text):
    assert unquoted(quoted(text)) == text
    rows = [["path", "label"], [text, "x"], ["y", text]]
    read = list(csv.reader(io.StringIO(rows_to_csv(rows), newline="")))
    assert [[unquoted(cell) for cell in row] for row in read] == rows
    table = pd.DataFrame({"path": [text, "y"], "width": [-1, 2], "probability": [np.nan, 0.25]})
    written = to_csv(table)
    again = pd.read_csv(
        io.BytesIO(written.encode()), dtype={"path": str}, keep_default_na=False, na_values={"path": []}
    )
    assert from_csv(again, ["path"])["path"].tolist() == [text, "y"]
    (_head, first, second) = csv.reader(io.StringIO(written, newline=""))
    assert [unquoted(first[0]), *first[1:]] == [text, "-1", ""]
    assert second == ["y", "2", "0.25"]


def test_an_ordinary_table_is_written_as_pandas_does():
    table = pd.DataFrame({"path": ["a,b.jpg", "c"], "label": ["x", None], "width": [3, -1], "used": [True, False]})
    assert to_csv(table) == table.to_csv(index=False)


def test_tables_of_kilat_are_known_by_their_columns():
    assert is_own(["path", "label", "split", "status", "code", "detail", "digest", "width"])
    assert is_own(["path", "label", "correct_label"])
    assert not is_own(["path", "label"])
    assert not is_own(["answer", "unknown", "set"])
