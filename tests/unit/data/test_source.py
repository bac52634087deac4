"""Folders, tables, arrays and names become the entries that the table in `kilat.data.source` promises."""

import importlib.util
import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kilat.data.image_file import MAX_BYTES, has_image_signature, printable
from kilat.data.layout.layout import EMPTY_CLASS, HIDDEN, LOOP, OTHER
from kilat.data.source import ArraySource, PathsSource, TableSource, find_source, open_source
from kilat.errors import PictureError, SourceError

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX file names and links")


def tree(root: Path, *files: str, content: bytes = JPEG) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def why(entry):
    """The code and the detail of an entry's refusal; empty where it is not refused."""
    if entry.refused is None:
        return ""
    return f"{entry.refused.code}: {entry.refused.detail}" if entry.refused.detail else entry.refused.code


def rows(source):
    return [(entry.path, entry.label, entry.split, why(entry)) for entry in source.entries]


def used(source):
    return [(entry.path, entry.label) for entry in source.entries if not entry.refused]


class TestFolder:
    def test_class_folders_at_any_depth_in_order(self, tmp_path):
        source = open_source(tree(tmp_path / "pets", "dogs/b.jpg", "cats/x/y/2.png", "cats/Z.jpg", "cats/a.jpg"))
        assert source.name == "pets"
        assert used(source) == [
            ("cats/Z.jpg", "cats"),
            ("cats/a.jpg", "cats"),
            ("cats/x/y/2.png", "cats"),
            ("dogs/b.jpg", "dogs"),
        ]
        assert source.read(0) == JPEG
        assert source.link(3) == str(tmp_path / "pets" / "dogs" / "b.jpg")

    def test_the_working_folder_has_a_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tree(tmp_path / "pets", "a/1.jpg", "b/1.jpg"))
        source = open_source(".")
        assert source.name == "pets"
        assert source.link(0) == str(tmp_path / "pets" / "a" / "1.jpg")

    def test_a_picture_beside_the_class_folders_is_refused(self, tmp_path):
        source = open_source(tree(tmp_path, "a/1.jpg", "b/1.jpg", "loose.jpg"))
        assert ("loose.jpg", "", "", "no_class_folder") in rows(source)

    @pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
    def test_ready_made_splits(self, tmp_path, validation):
        files = ("Train/a/1.jpg", "Train/b/x/1.jpg", f"{validation}/a/2.jpg", "test/b/3.jpg")
        source = open_source(tree(tmp_path, *files, "test/loose.jpg", "extra/a/1.jpg"))
        assert sorted(rows(source)) == sorted(
            [
                ("Train/a/1.jpg", "a", "train", ""),
                ("Train/b/x/1.jpg", "b", "train", ""),
                (f"{validation}/a/2.jpg", "a", "validation", ""),
                ("test/b/3.jpg", "b", "test", ""),
                ("test/loose.jpg", "", "test", "no_class_folder"),
                ("extra/a/1.jpg", "", "", "outside_splits"),
            ]
        )

    def test_train_and_test_can_be_classes(self, tmp_path):
        source = open_source(tree(tmp_path, "train/1.jpg", "test/1.jpg", "plane/1.jpg"))
        assert {(e.label, e.split) for e in source.entries} == {("train", ""), ("test", ""), ("plane", "")}

    def test_train_alone_is_not_a_class(self, tmp_path):
        source = open_source(tree(tmp_path, "train/a/1.jpg", "train/b/1.jpg"))
        assert {(e.label, e.split) for e in source.entries} == {("a", ""), ("b", "")}

    def test_wrappers_are_not_classes(self, tmp_path):
        source = open_source(
            tree(tmp_path, "w/flowers/train/a/1.jpg", "w/flowers/train/b/1.jpg", "w/flowers/val/a/2.jpg")
        )
        assert rows(source) == [
            ("w/flowers/train/a/1.jpg", "a", "train", ""),
            ("w/flowers/val/a/2.jpg", "a", "validation", ""),
            ("w/flowers/train/b/1.jpg", "b", "train", ""),
        ]

    def test_a_wrapper_with_pictures_of_its_own_is_a_class(self, tmp_path):
        with pytest.raises(SourceError, match="has one class, 'cats', with 3 pictures"):
            open_source(tree(tmp_path, "cats/1.jpg", "cats/x/2.jpg", "cats/y/3.jpg"))

    def test_helpers_and_other_files_are_counted_not_entered(self, tmp_path):
        tree(tmp_path, "a/1.jpg", "b/1.jpg")
        tree(tmp_path, ".DS_Store", "a/Thumbs.db", "a/._1.jpg", "a/.ipynb_checkpoints/1.jpg", "__MACOSX/a/1.jpg")
        tree(tmp_path, "b/notes.txt", "labels.csv", "README", "b/1.weird", content=b"some text")
        (tmp_path / "c").mkdir()
        source = open_source(tmp_path)
        assert used(source) == [("a/1.jpg", "a"), ("b/1.jpg", "b")]
        assert len(source.entries) == 2
        assert source.skipped == {HIDDEN: 5, OTHER: 4, EMPTY_CLASS: 1}

    def test_the_ending_or_else_the_first_bytes_make_a_picture(self, tmp_path):
        tree(tmp_path, "a/really-a.jpg", "a/no-ending", "a/odd.picture", content=PNG)
        tree(tmp_path, "b/text.jpg", "b/text", content=b"no picture at all")
        source = open_source(tmp_path)
        assert [path for path, _ in used(source)] == ["a/no-ending", "a/odd.picture", "a/really-a.jpg", "b/text.jpg"]

    def test_an_empty_file_is_refused_when_read(self, tmp_path):
        tree(tmp_path, "a/1.jpg", content=b"")
        source = open_source(tree(tmp_path, "b/1.jpg"))
        with pytest.raises(PictureError, match=r"^empty file$"):
            source.read(0)

    def test_a_vanished_or_oversized_file_is_refused_when_read(self, tmp_path):
        source = open_source(tree(tmp_path, "a/1.jpg", "b/1.jpg"))
        (tmp_path / "a/1.jpg").unlink()
        with pytest.raises(PictureError, match=r"^file not found$"):
            source.read(0)
        os.truncate(tmp_path / "b/1.jpg", MAX_BYTES + 1)
        with pytest.raises(PictureError, match=r"^larger than 256 MiB$"):
            source.read(1)

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
    def test_what_may_not_be_read_is_refused(self, tmp_path):
        source = open_source(tree(tmp_path, "a/1.jpg", "b/1.jpg", "c/1.jpg"))
        (tmp_path / "a/1.jpg").chmod(0)
        (tmp_path / "c").chmod(0)
        with pytest.raises(PictureError, match="cannot be read: permission denied"):
            source.read(0)
        again = rows(open_source(tmp_path))
        (tmp_path / "c").chmod(0o755)
        assert ("c", "", "", "folder_unreadable: permission denied") in again

    @posix
    def test_links(self, tmp_path):
        tree(tmp_path / "data", "a/1.jpg", "b/1.jpg")
        tree(tmp_path / "elsewhere", "deep/2.jpg")
        (tmp_path / "data/a/link.jpg").symlink_to(tmp_path / "data/b/1.jpg")
        (tmp_path / "data/c").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "data/b/broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
        (tmp_path / "data/b/itself.jpg").symlink_to(tmp_path / "data/b/itself.jpg")
        (tmp_path / "data/b/up").symlink_to(tmp_path / "data")
        source = open_source(tmp_path / "data")
        assert rows(source) == [
            ("a/1.jpg", "a", "", ""),
            ("a/link.jpg", "a", "", ""),
            ("b/1.jpg", "b", "", ""),
            ("b/broken.jpg", "b", "", "broken_link"),
            ("b/itself.jpg", "b", "", "broken_link"),
            ("c/deep/2.jpg", "c", "", ""),
        ]
        assert source.skipped == {LOOP: 1}
        assert source.read(5) == JPEG

    @posix
    def test_a_pipe_named_like_a_picture_is_refused_and_never_opened(self, tmp_path):
        tree(tmp_path, "a/1.jpg", "b/1.jpg")
        os.mkfifo(tmp_path / "a/0.jpg")
        source = open_source(tmp_path)
        assert rows(source)[0] == ("a/0.jpg", "a", "", "not_a_regular_file")
        with pytest.raises(PictureError, match="not a regular file"):
            source.read(0)

    def test_one_class_in_two_unicode_spellings(self, tmp_path):
        nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
        source = open_source(tree(tmp_path, f"{nfc}/1.jpg", f"{nfd}/2.jpg", "thé/1.jpg"))
        assert {label for _, label in used(source)} == {nfc, "thé"}
        assert all(source.read(i) == JPEG for i in range(3))

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
    def test_undecodable_names_are_shown_escaped_and_still_read(self, tmp_path):
        tree(tmp_path, "b/1.jpg")
        tree(tmp_path, os.fsdecode(b"caf\xe9/\xff.jpg"), content=PNG)
        source = open_source(tmp_path)
        assert used(source)[1] == ("caf\\xe9/\\xff.jpg", "caf\\xe9")
        assert source.read(1) == PNG
        assert source.link(1) is None

    def test_a_class_with_one_picture_is_fine_here(self, tmp_path):
        assert len(open_source(tree(tmp_path, "a/1.jpg", "b/1.jpg", "b/2.jpg")).entries) == 3


class TestNothingToUse:
    def test_one_class(self, tmp_path):
        with pytest.raises(SourceError) as caught:
            open_source(tree(tmp_path, "cats/1.jpg"))
        assert (
            "has one class, 'cats', with one picture; a classifier needs at least two classes." in caught.value.message
        )
        assert f"{tmp_path}/dogs/1.jpg" in caught.value.hint
        assert len(find_source(tmp_path).entries) == 1

    def test_no_pictures(self, tmp_path):
        tree(tmp_path, "a.txt", "b/c.txt", ".hidden", content=b"text")
        with pytest.raises(SourceError, match=r"3 files, none of them a picture\. kilat looks for JPEG"):
            open_source(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(SourceError, match="it is empty"):
            open_source(tmp_path / "empty")

    def test_only_loose_pictures(self, tmp_path):
        with pytest.raises(SourceError, match=r"The 2 pictures in .* stand in no class folders\."):
            open_source(tree(tmp_path, "1.jpg", "2.jpg"))

    def test_for_a_missing_path_the_nearest_is_named(self, tmp_path):
        tree(tmp_path, "flowers/a/1.jpg")
        with pytest.raises(SourceError, match="There is no folder, table, archive or data set") as caught:
            open_source(tmp_path / "flowrs")
        assert str(tmp_path / "flowers") in caught.value.hint

    def test_a_missing_name_gets_the_nearest_set(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SourceError, match="Did you mean 'digits'"):
            open_source("digit")
        with pytest.raises(SourceError, match="Valid names: digits, flowers, cifar10, fashion-mnist"):
            open_source("zzz")

    def test_a_folder_goes_before_a_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tree(tmp_path, "digits/a/1.jpg", "digits/b/1.jpg"))
        assert len(open_source("digits").entries) == 2

    def test_a_single_file_of_another_kind(self, tmp_path):
        with pytest.raises(SourceError, match="neither a table nor an archive") as caught:
            open_source(tree(tmp_path, "photo.jpg") / "photo.jpg")
        assert ".tar.gz" in caught.value.hint


class TestTable:
    def table(self, tmp_path: Path, text: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
        tree(tmp_path, "x/1.jpg", "x/2.jpg", "x/3.jpg")
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    def test_paths_and_labels(self, tmp_path):
        away = tree(tmp_path / "away", "4.jpg") / "4.jpg"
        source = open_source(self.table(tmp_path, f"path,label\nx/2.jpg,b\nx/1.jpg,a\n{away},a\n\n"))
        assert source.name == "table"
        assert used(source) == [(str(away), "a"), ("x/1.jpg", "a"), ("x/2.jpg", "b")]
        assert source.read(1) == JPEG
        assert source.link(1) == str(tmp_path / "x" / "1.jpg")

    @pytest.mark.parametrize(
        ("text", "encoding"),
        [
            ("Filename;ignored;CLASS\nx/1.jpg;7;a\nx/2.jpg;8;b\n", "utf-8-sig"),
            ("image_path\ttarget\r\nx/1.jpg\ta\r\nx/2.jpg\tb\r\n", "utf-8"),
            ('category,image\na,"x/1.jpg"\nb,x/2.jpg', "utf-8"),
        ],
    )
    def test_other_names_delimiters_and_orders(self, tmp_path, text, encoding):
        assert used(open_source(self.table(tmp_path, text, encoding=encoding))) == [("x/1.jpg", "a"), ("x/2.jpg", "b")]

    def test_labels_stay_as_they_are_written(self, tmp_path):
        source = open_source(self.table(tmp_path, "path,label\nx/1.jpg,01\nx/2.jpg,NA\nx/3.jpg,1.50\n"))
        assert [label for _, label in used(source)] == ["01", "1.50", "NA"]

    def test_bad_rows_are_refused_one_by_one(self, tmp_path):
        text = "path,label\nx/1.jpg,a\nx/2.jpg,b\nx/3.jpg,\n,a\nx/9.jpg,a\nx/8.jpg\n"
        refused = {(path, reason) for path, _, _, reason in rows(open_source(self.table(tmp_path, text))) if reason}
        assert refused == {
            ("x/3.jpg", "no_label"),
            ("row 4", "no_path"),
            ("x/9.jpg", "file_not_found"),
            ("x/8.jpg", "no_label"),
        }

    def test_split_values_and_rows_without_one(self, tmp_path):
        tree(tmp_path, "x/4.jpg", "x/5.jpg")
        text = "path,label,split\nx/1.jpg,a,Training\nx/2.jpg,b,dev\nx/3.jpg,a,TEST\nx/4.jpg,b,\nx/5.jpg,b,sometime\n"
        source = open_source(self.table(tmp_path, text))
        assert {path: split for path, _, split, _ in rows(source)} == {
            "x/1.jpg": "train",
            "x/2.jpg": "validation",
            "x/3.jpg": "test",
            "x/4.jpg": "train",
            "x/5.jpg": "",
        }
        assert rows(source)[-1][3] == "unknown_split: sometime"

    def test_an_empty_split_column_leaves_it_to_kilat(self, tmp_path):
        source = open_source(self.table(tmp_path, "path,label,split\nx/1.jpg,a,\nx/2.jpg,b,\n"))
        assert {entry.split for entry in source.entries} == {""}

    def test_listed_again(self, tmp_path):
        text = "path,label\nx/1.jpg,a\n./x/1.jpg,a\nx/2.jpg,b\nx/3.jpg,b\nx/3.jpg,a\n"
        assert rows(open_source(self.table(tmp_path, text))) == [
            ("./x/1.jpg", "a", "", "listed_twice"),
            ("x/1.jpg", "a", "", ""),
            ("x/3.jpg", "a", "", "several_labels: a, b"),
            ("x/2.jpg", "b", "", ""),
            ("x/3.jpg", "b", "", "several_labels: a, b"),
        ]

    def test_a_name_that_is_nearly_that_of_labels(self, tmp_path):
        with pytest.raises(SourceError, match=r"No column of .* looks like labels") as caught:
            open_source(self.table(tmp_path, "path,lable\nx/1.jpg,a\nx/2.jpg,b\n"))
        assert "--label-column lable" in caught.value.hint

    def test_the_first_name_settles_what_else_would_be_ambiguous(self, tmp_path):
        source = open_source(self.table(tmp_path, "image,path,class,label\n7,x/1.jpg,q,a\n8,x/2.jpg,q,b\n"))
        assert used(source) == [("x/1.jpg", "a"), ("x/2.jpg", "b")]

    def test_another_encoding_is_named_not_guessed(self, tmp_path):
        with pytest.raises(SourceError, match="not UTF-8: byte 0xe9 in line 2") as caught:
            open_source(self.table(tmp_path, "path,label\nx/1.jpg,café\n", encoding="latin-1"))
        assert "CSV UTF-8" in caught.value.hint

    def test_one_label(self, tmp_path):
        with pytest.raises(SourceError, match="has one class, 'a'") as caught:
            open_source(self.table(tmp_path, "path,label\nx/1.jpg,a\n"))
        assert "Give every row" in caught.value.hint

    @pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is here")
    def test_parquet_without_pyarrow(self, tmp_path):
        with pytest.raises(SourceError, match="needs pyarrow") as caught:
            TableSource(tree(tmp_path, "t.parquet") / "t.parquet")
        assert caught.value.hint == "pip install pyarrow"

    def test_parquet(self, tmp_path):
        pytest.importorskip("pyarrow")
        tree(tmp_path, "1.jpg", "2.jpg", "3.jpg")
        table = pd.DataFrame({"path": ["1.jpg", "2.jpg", "3.jpg"], "label": [1, 2, None]}).astype({"label": "Int64"})
        table.to_parquet(tmp_path / "t.parquet")
        source = open_source(tmp_path / "t.parquet")
        assert rows(source) == [("3.jpg", "", "", "no_label"), ("1.jpg", "1", "", ""), ("2.jpg", "2", "", "")]
        (tmp_path / "t.parquet").write_bytes(b"not parquet at all")
        with pytest.raises(SourceError, match="cannot be read as Parquet"):
            TableSource(tmp_path / "t.parquet")


class TestGivenInAProgram:
    def test_arrays(self):
        source = ArraySource(
            [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3)), np.zeros((4, 5, 4), np.uint8)], list("aba"), "x"
        )
        assert [entry.path for entry in source.entries] == ["x[0]", "x[1]", "x[2]"]
        assert source.read(0).shape == (4, 5)
        assert source.link(0) is None
        with pytest.raises(PictureError, match=r"must be uint8 .*, not float64 \[4, 5, 3\]"):
            source.read(1)
        with pytest.raises(PictureError, match=r"must be uint8 .*, not uint8 \[4, 5, 4\]"):
            source.read(2)
        with pytest.raises(SourceError, match="1 picture, but 2 labels"):
            ArraySource(np.zeros((1, 2, 2), np.uint8), ["a", "b"], "x")

    def test_paths(self, tmp_path):
        tree(tmp_path, "2.jpg", "1.jpg")
        source = PathsSource([tmp_path / "2.jpg", str(tmp_path / "1.jpg"), "nowhere.jpg"], ["b", "a", "a"])
        assert used(source) == [(str(tmp_path / "2.jpg"), "b"), (str(tmp_path / "1.jpg"), "a"), ("nowhere.jpg", "a")]
        assert source.read(1) == JPEG
        assert source.link(0) == str(tmp_path / "2.jpg")
        with pytest.raises(PictureError, match="file not found"):
            source.read(2)
        with pytest.raises(SourceError, match="1 path, but 0 labels"):
            PathsSource(["a.jpg"], [])


@pytest.mark.parametrize(
    ("head", "picture"),
    [
        (JPEG, True),
        (PNG, True),
        (b"GIF89a" + bytes(20), True),
        (b"RIFF\0\0\0\0WEBPVP8 ", True),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        (b"II*\0" + bytes(20), True),
        (b"BM" + bytes(12) + b"\x28\0\0\0" + bytes(14), True),
        (b"BMW is a maker of cars, and more", False),
        (b"", False),
    ],
)
def test_first_bytes(head, picture):
    assert has_image_signature(head) is picture


def test_names_are_printed_as_text_that_can_be_written():
    assert printable("thé.jpg") == "thé.jpg"
    assert printable("\ud800.jpg") == "\\ud800.jpg"
