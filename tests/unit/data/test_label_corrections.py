"""Corrections in a table change labels or leave pictures out; invalid ones are refused with a hint."""

import numpy as np
import pytest

from kilat.data.arrays import ArraySource
from kilat.data.catalog import Entry
from kilat.data.folder import FolderSource
from kilat.data.label_corrections import apply_corrections
from kilat.errors import SourceError
from kilat.locale.refusals import Refusal

LABELS = ["daisy", "daisy", "roses", "roses", "tulips"]


def source(labels=LABELS):
    pixels = np.zeros((len(labels), 4, 4, 3), np.uint8)
    pixels[:] = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    made = ArraySource(pixels, labels, "set")
    made.entries = [Entry(f"{e.label}/{i}.jpg", e.label, e.split) for i, e in enumerate(made.entries)]
    return made


def corrected(tmp_path, text, labels=LABELS, encoding="utf-8"):
    file = tmp_path / "suspects.csv"
    file.write_text(text, encoding=encoding, newline="")
    return apply_corrections(source(labels), file)


def test_labels_are_changed_left_and_left_out(tmp_path):
    made = corrected(
        tmp_path, "path,label,correct_label\ndaisy/0.jpg,daisy,roses\ndaisy/1.jpg,daisy,\nroses/2.jpg,roses,-\n"
    )
    assert [e.label for e in made.entries] == ["roses", "daisy", "roses", "roses", "tulips"]
    assert [e.refused for e in made.entries] == [
        None,
        None,
        Refusal("left_out_by_table", "suspects.csv"),
        None,
        None,
    ]
    assert made.counts == {"table": "suspects.csv", "relabelled": 1, "left_out": 1, "unchanged": 0}
    assert made.changed == {0, 2}
    assert made.read(3)[0, 0, 0] == 3
    assert (made.name, made.skipped, made.link(0)) == ("set", {}, None)


@pytest.mark.parametrize("mark", ["-", "–", "—", "−"])
def test_a_hyphen_that_a_spreadsheet_made_a_dash(tmp_path, mark):
    assert corrected(tmp_path, f"path,correct_label\ndaisy/0.jpg,{mark}\n").left_out == 1


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path;probability;correct_label\r\ndaisy/0.jpg;0,97;roses\r\n", "utf-8-sig"),
        ("path\tcorrect_label\ndaisy/0.jpg\troses", "utf-8"),
        (' Path , Correct_Label ,note\n daisy/0.jpg , roses ,"a, b"\n\n', "utf-8"),
        ('"correct_label","path"\n"roses","daisy\\0.jpg"\n', "utf-8"),
        ("path,correct_label\n./daisy/0.jpg,roses\n,roses\nroses/2.jpg\n", "utf-8"),
        ("path,correct_label\ndaisy/0.jpg,roses\ndaisy/0.jpg,roses\ngone.jpg,\n", "utf-8"),
    ],
)
def test_what_spreadsheets_make_of_a_table_is_understood(tmp_path, text, encoding):
    made = corrected(tmp_path, text, encoding=encoding)
    assert (made.relabelled, made.entries[0].label) == (1, "roses")


def test_numbers_that_became_decimals(tmp_path):
    assert corrected(tmp_path, "path,correct_label\n3/0.jpg,7.0\n", ["3", "7"]).entries[0].label == "7"


def test_a_confirmed_label_is_counted_and_changes_nothing(tmp_path):
    made = corrected(tmp_path, "path,correct_label\ndaisy/0.jpg,daisy\n")
    assert (made.unchanged, made.relabelled, made.changed) == (1, 0, frozenset())


def test_a_new_class_needs_two_rows(tmp_path):
    rows = "path,correct_label\ndaisy/0.jpg,lily\ntulips/4.jpg,lily\n"
    assert [e.label for e in corrected(tmp_path, rows).entries] == ["lily", "daisy", "roses", "roses", "lily"]
    with pytest.raises(
        SourceError, match=r"gives a correct label that no picture of the data has: 'lily'.*\n.*at least 2 rows"
    ):
        corrected(tmp_path, "path,correct_label\ndaisy/0.jpg,lily\n")


@pytest.mark.parametrize("slip", ["Roses", "rosse", "rose"])
def test_a_misspelt_class_is_not_a_new_one(tmp_path, slip):
    with pytest.raises(SourceError, match="Did you mean 'roses'"):
        corrected(tmp_path, f"path,correct_label\ndaisy/0.jpg,{slip}\ndaisy/1.jpg,{slip}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,correct_label\ndaisy/00.jpg,roses\n",
            r"pictures that the data does not have .*: 'daisy/00.jpg'.*\nDid you mean",
        ),
        ("path,correct_label\ndaisy/0.jpg,roses\ndaisy/0.jpg,-\n", "'daisy/0.jpg' twice, to 'roses' and to '-'"),
        ("path,label\ndaisy/0.jpg,roses\n", "no column 'correct_label'. Its columns: 'path', 'label'"),
        ("file,correct_label\n", "no column 'path'"),
        ("", "it is empty"),
        ('path,correct_label\n"' + "a" * 200_000, "cannot be read as a table"),
    ],
)
def test_invalid_corrections_are_refused(tmp_path, text, message):
    with pytest.raises(SourceError, match=message):
        corrected(tmp_path, text)


def test_no_table_and_no_text(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        apply_corrections(source(), tmp_path / "none.csv")
    (tmp_path / "sheet.xlsx").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(SourceError, match="spreadsheet or an archive"):
        apply_corrections(source(), tmp_path / "sheet.xlsx")


def test_many_moved_files_are_counted(tmp_path):
    rows = "".join(f"old/{i}.jpg,roses\n" for i in range(9))
    with pytest.raises(SourceError, match="and 4 more"):
        corrected(tmp_path, f"path,correct_label\n{rows}")


def test_what_was_refused_stays_refused(tmp_path):
    made = source()
    made.entries[0] = Entry("daisy/0.jpg", "daisy", "", Refusal("broken_link"))
    (tmp_path / "s.csv").write_text("path,correct_label\ndaisy/0.jpg,-\n")
    assert apply_corrections(made, tmp_path / "s.csv").entries[0].refused == Refusal("broken_link")


def test_the_folder_is_as_it_was(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "1.png").write_bytes(label.encode())
    (tmp_path / "s.csv").write_text("path,correct_label\na/1.png,b\n")
    folder = FolderSource(tmp_path / "data")
    made = apply_corrections(folder, tmp_path / "s.csv")
    assert [e.label for e in made.entries] == ["b", "b"]
    assert [e.label for e in folder.entries] == ["a", "b"]
    assert made.read(0) == b"a"
    assert made.link(0) == str(tmp_path / "data" / "a" / "1.png")
