"""Tables as people bring them: which columns are read, which files are meant, and what is said of it."""

import io
import json
import os
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from kilat.data.reading import Reading
from kilat.data.source import TableSource, find_source, open_source
from kilat.errors import PictureError, SourceError

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


def files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    return root


def write(root: Path, rows, name: str = "table.csv", delimiter: str = ",") -> Path:
    """Write rows of cells as a table in a folder."""
    path = root / name
    path.write_text("".join(delimiter.join(map(str, row)) + "\n" for row in rows), "utf-8")
    return path


def opened(path: Path, **options) -> TableSource:
    return find_source(path, reading=Reading.of(**options))


def found(source: TableSource) -> dict[str, str]:
    """The label of every used picture, by the file that is read for it, from the table's folder."""
    used = [row for row, entry in enumerate(source.entries) if not entry.refused]
    links = [source.link(row) for row in used]
    root = Path(links[0]).parent
    while not any(root.glob("*.csv")):
        root = root.parent
    return {
        os.path.relpath(link, root).replace(os.sep, "/"): source.entries[row].label
        for row, link in zip(used, links, strict=True)
    }


def counts(source) -> dict[tuple[str, str], int]:
    """How many pictures are used, by label and split."""
    return dict(Counter((entry.label, entry.split) for entry in source.entries if not entry.refused))


def refusals(source) -> list[str]:
    return sorted(f"{entry.path}: {entry.refused.sentence()}" for entry in source.entries if entry.refused)


def said(source) -> str:
    return "\n".join(note.sentence() for note in source.notes)


def pets(root: Path, form: str = "{folder}/{number:03}.jpg", folder: str = "images", count: int = 12) -> Path:
    """Lay out numbered pictures; the first half are cats, the others dogs."""
    return files(root, *(form.format(folder=folder, number=number) for number in range(count)))


def labelled(value, count: int = 12, labels=("cat", "dog")):
    """Rows of what ``value`` makes of a number, with the label of each."""
    return [(value(number), labels[number >= count // 2]) for number in range(count)]


PETS = {f"images/{number:03}.jpg": "cat" if number < 6 else "dog" for number in range(12)}


class TestPaths:
    @pytest.mark.parametrize(
        ("value", "how"),
        [
            (lambda n: f"images/{n:03}.jpg", ""),
            (lambda n: f"./images/{n:03}.jpg", ""),
            (lambda n: f" images/{n:03}.jpg ", ""),
            (lambda n: f"images\\{n:03}.jpg", "\\ read as /"),
            (lambda n: f".\\images\\{n:03}.jpg", "\\ read as /"),
            (lambda n: f"{n:03}.jpg", "found in images/"),
            (lambda n: f"{n:03}.JPG", "found in images/"),
            (lambda n: f"{n:03}.png", "ending '.jpg' added"),
            (lambda n: f"IMAGES/{n:03}.jpg", "in another spelling"),
            (lambda n: f"{n:03}", "ending '.jpg' added"),
            (lambda n: n, "read as numbers"),
            (lambda n: f"{n}.0", "read as numbers"),
            (lambda n: f"data/images/{n:03}.jpg", "without data/"),
            (lambda n: f"../other/images/{n:03}.jpg", "without ../other/"),
            (lambda n: f"/home/other/pets/images/{n:03}.jpg", "without /home/other/pets/"),
            (lambda n: f"/kaggle/input/pets/images/{n:03}.jpg", "without /kaggle/input/pets/"),
            (lambda n: f"/content/drive/My Drive/{n:03}.jpg", "without /content/drive/My Drive/"),
            (lambda n: f"C:\\Users\\me\\pets\\images\\{n:03}.jpg", "without C:/Users/me/pets/"),
            (lambda n: f"\\\\server\\share\\images\\{n:03}.jpg", "without /server/share/"),
            (lambda n: f"file:///home/me/my%20pets/images/{n:03}.jpg", "without /home/me/my pets/"),
            (lambda n: f"https://example.org/pets/images/{n:03}.jpg?size=1", "without /example.org/pets/"),
            (lambda n: f"gs://bucket/images/{n:03}.jpg", "without /bucket/"),
            (lambda n: f"/data/local-files/?d=images/{n:03}.jpg", "in another spelling"),
            (lambda n: f"/data/upload/1/0a1b2c3d-{n:03}.jpg", "found in images/"),
        ],
    )
    def test_however_they_are_written(self, tmp_path, value, how):
        source = opened(write(pets(tmp_path), [("path", "label"), *labelled(value)]))
        assert found(source) == PETS
        assert refusals(source) == []
        assert how in said(source)
        assert source.read(0) == JPEG

    def test_absolute_ones_that_exist(self, tmp_path):
        away = pets(tmp_path / "away")
        here = tmp_path / "here"
        here.mkdir()
        source = opened(write(here, [("path", "label"), *labelled(lambda n: away / f"images/{n:03}.jpg")]))
        assert [Path(source.link(row)).parent for row in range(12)] == [away / "images"] * 12

    def test_names_alone_in_class_folders(self, tmp_path):
        files(tmp_path, "a/x/1.jpg", "a/x/2.jpg", "b/3.jpg", "b/y/4.jpg")
        source = opened(
            write(tmp_path, [("image", "kind"), ("1.jpg", "p"), ("2.jpg", "p"), ("3.jpg", "q"), ("4.jpg", "q")])
        )
        assert found(source) == {"a/x/1.jpg": "p", "a/x/2.jpg": "p", "b/3.jpg": "q", "b/y/4.jpg": "q"}
        assert "found by name in 3 folders" in said(source)

    def test_pictures_beside_the_folder_of_the_table(self, tmp_path):
        pets(tmp_path)
        (tmp_path / "lists").mkdir()
        source = opened(write(tmp_path / "lists", [("id", "label"), *labelled(lambda n: f"{n:03}")], "all.csv"))
        assert counts(source) == {("cat", ""): 6, ("dog", ""): 6}
        assert "found in ../images/" in said(source)

    def test_a_folder_that_was_said(self, tmp_path):
        pets(tmp_path / "here")
        pets(tmp_path / "elsewhere", folder="pictures")
        table = write(tmp_path / "here", [("id", "label"), *labelled(lambda n: f"{n:03}")])
        source = opened(table, images=tmp_path / "elsewhere")
        assert {Path(source.link(row)).parent for row in range(12)} == {tmp_path / "elsewhere/pictures"}

    def test_a_folder_that_is_not_there(self, tmp_path):
        table = write(pets(tmp_path), [("id", "label"), *labelled(lambda n: f"{n:03}")])
        with pytest.raises(SourceError, match="there is no folder images") as caught:
            opened(table, images="images")
        assert str(tmp_path / "images") in caught.value.hint

    def test_of_names_in_two_folders_the_one_that_has_them_all(self, tmp_path):
        pets(tmp_path, folder="train")
        pets(tmp_path, folder="test", count=5)
        source = opened(write(tmp_path, [("id", "label"), *labelled(lambda n: f"{n:03}")]))
        assert set(found(source)) == {f"train/{n:03}.jpg" for n in range(12)}

    def test_a_picture_that_is_missing_there_is_not_taken_from_another_folder(self, tmp_path):
        pets(tmp_path, folder="train", count=20)
        pets(tmp_path, folder="test", count=5)
        (tmp_path / "train/003.jpg").unlink()
        source = opened(write(tmp_path, [("id", "label"), *labelled(lambda n: f"{n:03}", 20)]))
        assert refusals(source) == ["003: file not found"]

    def test_a_table_is_about_the_split_that_it_is_called_after(self, tmp_path):
        pets(tmp_path, folder="train")
        pets(tmp_path, folder="test")
        table = write(tmp_path, [("id", "label"), *labelled(lambda n: f"{n:03}")], "train_labels.csv")
        assert set(found(opened(table))) == {f"train/{n:03}.jpg" for n in range(12)}

    @pytest.mark.parametrize(
        "value", ["{label}/{n}.jpg", "/kaggle/input/pets/train/{label}/{n}.jpg", "data/{label}/{n}.JPG"]
    )
    def test_so_it_is_with_class_folders_in_each_split(self, tmp_path, value):
        files(tmp_path, *(f"{split}/{label}/{n}.jpg" for split in ("train", "val") for label in "ab" for n in range(6)))
        rows = [(value.format(label=label, n=n), label) for label in "ab" for n in range(6)]
        source = opened(write(tmp_path, [("filenames", "kind"), *rows], "train.csv"))
        assert found(source) == {f"train/{label}/{n}.jpg": label for label in "ab" for n in range(6)}

    def test_otherwise_it_is_not_guessed(self, tmp_path):
        pets(tmp_path, folder="images")
        pets(tmp_path, folder="masks", form="{folder}/{number:03}.png")
        table = write(tmp_path, [("id", "label"), *labelled(lambda n: f"{n:03}")])
        with pytest.raises(SourceError, match=r"'000' may be .*images/000.jpg, .*masks/000.png") as caught:
            opened(table)
        assert f"kilat train {table} --images {tmp_path / 'images'}" in caught.value.hint

    def test_the_folder_of_training_pictures_is_advised(self, tmp_path):
        pets(tmp_path, folder="test_images")
        pets(tmp_path, folder="train_images")
        table = write(tmp_path, [("id", "label"), *labelled(lambda n: f"{n:03}")])
        with pytest.raises(SourceError, match="are not clear") as caught:
            opened(table)
        assert f"--images {tmp_path / 'train_images'}" in caught.value.hint

    def test_the_label_or_the_split_of_a_row_names_the_folder(self, tmp_path):
        files(
            tmp_path, *(f"{split}/{label}/{n}.jpg" for split in ("train", "test") for label in "ab" for n in range(3))
        )
        rows = [(f"{n}.jpg", label, split) for split in ("Training", "test") for label in "ab" for n in range(3)]
        source = opened(write(tmp_path, [("file", "label", "set"), *rows]))
        assert counts(source) == {("a", "train"): 3, ("b", "train"): 3, ("a", "test"): 3, ("b", "test"): 3}
        assert all(f"/{entry.label}/" in source.link(row) for row, entry in enumerate(source.entries))

    def test_so_does_any_other_column(self, tmp_path):
        files(tmp_path, *(f"one/{n}.jpg" for n in range(12)), *(f"two/{n}.jpg" for n in range(6, 12)))
        rows = [(f"{n}.jpg", ("one", "two")[n >= 6], "ab"[n % 2]) for n in range(12)]
        source = opened(write(tmp_path, [("image", "site", "label"), *rows]))
        assert sorted(found(source)) == sorted(f"{site}/{name}" for name, site, _label in rows)

    def test_other_pictures_of_the_same_name_are_not_taken(self, tmp_path):
        """Where the folders of a table are there, a picture that is missing in one is not one of another folder."""
        files(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg", "test/b/4.jpg")
        rows = [("a/1.jpg", "p"), ("a/2.jpg", "p"), ("b/3.jpg", "q"), ("b/4.jpg", "q")]
        assert refusals(opened(write(tmp_path, [("path", "label"), *rows]))) == ["b/4.jpg: file not found"]

    def test_names_without_their_folder_among_others_with_it(self, tmp_path):
        source = opened(
            write(pets(tmp_path), [("path", "label"), *labelled(lambda n: f"{'images/' * (n % 2)}{n:03}.jpg")])
        )
        assert found(source) == PETS

    def test_folders_in_which_paths_differ_are_never_left_out(self, tmp_path):
        files(tmp_path, "site1/1.jpg", "site1/2.jpg")
        rows = [("site1/1.jpg", "p"), ("site1/2.jpg", "q"), ("site2/1.jpg", "q"), ("site2/2.jpg", "p")]
        source = opened(write(tmp_path, [("path", "label"), *rows]))
        assert refusals(source) == ["site2/1.jpg: file not found", "site2/2.jpg: file not found"]

    def test_a_table_of_training_pictures_takes_none_from_the_test_folder(self, tmp_path):
        files(tmp_path, *(f"train/{n:03}.jpg" for n in range(10)), *(f"test/{n:03}.jpg" for n in range(10, 12)))
        table = write(tmp_path, [("id", "label"), *labelled(lambda n: f"{n:03}")], "train.csv")
        assert refusals(opened(table)) == ["010: file not found", "011: file not found"]

    def test_training_pictures_are_not_those_of_the_test_folder(self, tmp_path):
        pets(tmp_path, folder="test")
        with pytest.raises(SourceError, match="None of the 12 pictures"):
            opened(write(tmp_path, [("path", "label"), *labelled(lambda n: f"train/{n:03}.jpg")]))

    def test_none_is_there(self, tmp_path):
        pets(tmp_path)
        table = write(tmp_path, [("path", "label"), *labelled(lambda n: f"pictures/cat-{n:03}.jpg")])
        with pytest.raises(SourceError) as caught:
            opened(table)
        assert (
            f"tried {tmp_path}/pictures/cat-000.jpg. The nearest picture is {tmp_path}/images/000.jpg"
            in caught.value.message
        )
        assert f"kilat train {table} --images {tmp_path}/images" in caught.value.hint

    def test_some_are_missing(self, tmp_path):
        source = opened(write(pets(tmp_path, count=10), [("path", "label"), *labelled(lambda n: f"images/{n:03}.jpg")]))
        assert len(refusals(source)) == 2
        assert "2 of 12 pictures in the table were not found" in said(source)
        assert f"tried {tmp_path}/images/010.jpg; nearest: {tmp_path}/images/0" in said(source)

    def test_paths_of_two_computers(self, tmp_path):
        homes = ("C:\\Users\\anna\\pets", "/home/ben/pets")
        source = opened(
            write(pets(tmp_path), [("path", "label"), *labelled(lambda n: f"{homes[n % 2]}/images/{n:03}.jpg")])
        )
        assert found(source) == PETS

    def test_paths_of_two_people_with_a_folder_that_was_said(self, tmp_path):
        table = write(pets(tmp_path), [("path", "label"), *labelled(lambda n: f"/home/{'ab'[n % 2]}/{n:03}.jpg")])
        with pytest.raises(SourceError, match="None of the 12 pictures"):
            opened(table)
        assert counts(opened(table, images=tmp_path / "images")) == {("cat", ""): 6, ("dog", ""): 6}

    def test_two_paths_are_never_one_picture(self, tmp_path):
        files(tmp_path, "1.jpg", "2.jpg")
        rows = [("/data/a/1.jpg", "p"), ("/data/b/1.jpg", "p"), ("/data/a/2.jpg", "q")]
        source = opened(write(tmp_path, [("path", "label"), *rows]), images=tmp_path)
        assert refusals(source) == ["/data/a/1.jpg: file not found", "/data/b/1.jpg: file not found"]

    def test_two_letters_in_one_spelling(self, tmp_path):
        files(tmp_path, "images/cafe\u0301.jpg", "images/the\u0301.jpg")
        source = opened(write(tmp_path, [("path", "label"), ("images/café.jpg", "a"), ("images/thé.jpg", "b")]))
        assert refusals(source) == []


class TestColumns:
    @pytest.mark.parametrize(
        ("path", "label"),
        [
            *(("image_id", "label"), ("Filename", "Class"), ("ImageID", "diagnosis"), ("file name", "dx")),
            *(
                ("img", "cats"),
                ("bild", "klasse"),
                ("文件", "标签"),
                ("X", "y"),
                ("label", "target"),
                ("class", "path"),
            ),
        ],
    )
    def test_whatever_they_are_called(self, tmp_path, path, label):
        source = opened(write(pets(tmp_path), [(path, label), *labelled(lambda n: f"images/{n:03}.jpg")]))
        assert found(source) == PETS
        assert f"pictures from column '{path}', labels from '{label}'" in said(source)

    def test_the_row_numbers_of_pandas_are_no_pictures(self, tmp_path):
        rows = [(number, f"{number + 1:03}", label) for number, label in labelled(lambda n: n)]
        source = opened(write(pets(tmp_path, count=13), [("", "id", "label"), *rows]))
        assert found(source) == {f"images/{n + 1:03}.jpg": "cat" if n < 6 else "dog" for n in range(12)}

    def test_labels_that_are_names_of_files_too(self, tmp_path):
        source = opened(write(pets(tmp_path), [("who", "what"), *labelled(lambda n: f"{n:03}", labels=(0, 1))]))
        assert counts(source) == {("0", ""): 6, ("1", ""): 6}

    @pytest.mark.parametrize(
        "other",
        ["width", "file_size", "xmin", "created_at", "confidence", "fold", "age", "patient_id", "author", "lead_time"],
    )
    def test_columns_about_something_else_are_no_labels(self, tmp_path, other):
        rows = [
            (path, 640 + number % 2, label) for number, (path, label) in enumerate(labelled(lambda n: f"{n:03}.jpg"))
        ]
        source = opened(write(pets(tmp_path), [("f", other, "pet"), *rows]))
        assert counts(source) == {("cat", ""): 6, ("dog", ""): 6}

    @pytest.mark.parametrize("other", ["width", "age", "score", "timestamp"])
    def test_nor_where_they_stand_alone(self, tmp_path, other):
        rows = [(f"{number:03}.jpg", 640 + number % 2) for number in range(12)]
        with pytest.raises(SourceError, match=r"No column of .* looks like labels") as caught:
            opened(write(pets(tmp_path), [("f", other), *rows]))
        assert f"--label-column {other}" in caught.value.hint

    def test_numbers_with_fractions_are_no_labels(self, tmp_path):
        rows = [(f"{number:03}.jpg", 0.5 + number % 2) for number in range(12)]
        with pytest.raises(SourceError, match="looks like labels"):
            opened(write(pets(tmp_path), [("image", "label"), *rows]))

    def test_several_that_may_be_labels_are_named(self, tmp_path):
        rows = [(path, number % 3, label) for number, (path, label) in enumerate(labelled(lambda n: f"{n:03}.jpg"))]
        table = write(pets(tmp_path), [("image", "zone", "pet"), *rows])
        with pytest.raises(SourceError, match=r"Several columns of .* may hold the labels: 'zone', 'pet'") as caught:
            opened(table)
        assert caught.value.hint == f"Say which: kilat train {table} --label-column zone"
        assert counts(opened(table, label_column="pet")) == {("cat", ""): 6, ("dog", ""): 6}

    @pytest.mark.parametrize("numbers", ["class_id", "label", "target"])
    @pytest.mark.parametrize("names", ["class_name", "pet"])
    def test_of_numbers_and_names_that_say_the_same_the_names(self, tmp_path, numbers, names):
        rows = [(path, int(label == "dog"), label) for path, label in labelled(lambda n: f"{n:03}.jpg")]
        source = opened(write(pets(tmp_path), [("image", numbers, names), *rows]))
        assert counts(source) == {("cat", ""): 6, ("dog", ""): 6}
        assert f"labels from '{names}'" in said(source)

    def test_label_is_the_label(self, tmp_path):
        rows = [(path, number % 3, label) for number, (path, label) in enumerate(labelled(lambda n: f"{n:03}.jpg"))]
        source = opened(write(pets(tmp_path), [("image", "category", "label"), *rows]))
        assert counts(source) == {("cat", ""): 6, ("dog", ""): 6}

    def test_two_columns_of_pictures(self, tmp_path):
        pets(tmp_path, folder="before")
        pets(tmp_path, folder="after")
        rows = [(f"before/{n:03}.jpg", f"after/{n:03}.jpg", label) for n, label in labelled(lambda n: n)]
        table = write(tmp_path, [("before", "after", "label"), *rows])
        with pytest.raises(SourceError, match="may hold the pictures: 'before', 'after'") as caught:
            opened(table)
        assert "--path-column before" in caught.value.hint
        assert set(found(opened(table, path_column="after"))) == {f"after/{n:03}.jpg" for n in range(12)}

    @pytest.mark.parametrize(
        ("options", "message", "hint"),
        [
            (
                {"label_column": "lable"},
                "--label-column: .* no column 'lable'. Its columns: 'image', 'label'",
                "'label'",
            ),
            ({"path_column": "imge"}, "--path-column: .* no column 'imge'", "'image'"),
            ({"split_column": "split"}, "--split-column: .* no column 'split'", "image, label"),
            ({"label_column": "9"}, "no column '9'", "image, label"),
        ],
    )
    def test_columns_that_were_said_and_are_not_there(self, tmp_path, options, message, hint):
        table = write(pets(tmp_path), [("image", "label"), *labelled(lambda n: f"{n:03}.jpg")])
        with pytest.raises(SourceError, match=message) as caught:
            opened(table, **options)
        assert hint in caught.value.hint

    @pytest.mark.parametrize("name", ["Pet Kind", "pet_kind", "2"])
    def test_columns_that_were_said_in_another_spelling_or_by_number(self, tmp_path, name):
        table = write(
            pets(tmp_path),
            [
                ("image", "Pet Kind", "label"),
                *((path, label, "x") for path, label in labelled(lambda n: f"{n:03}.jpg")),
            ],
        )
        assert counts(opened(table, label_column=name)) == {("cat", ""): 6, ("dog", ""): 6}

    def test_options_of_tables_are_not_for_folders(self, tmp_path):
        pets(tmp_path)
        with pytest.raises(SourceError, match="--label-column is for tables"):
            opened(tmp_path, label_column="x")

    def test_a_table_without_labels_where_none_are_needed(self, tmp_path):
        table = write(pets(tmp_path), [("id",), *((f"{n:03}",) for n in range(12))])
        assert len(find_source(table, reading=Reading(is_labelled=False)).entries) == 12
        with pytest.raises(SourceError, match="has no column with labels"):
            find_source(table)

    @pytest.mark.parametrize("name", ["pixel{}", "{}", "{0}x{0}", "px_{}"])
    def test_pixels_in_a_table(self, tmp_path, name):
        rows = [(n % 2, *([n] * 64)) for n in range(30)]
        table = write(tmp_path, [("label", *map(name.format, range(64))), *rows])
        with pytest.raises(SourceError, match="holds pixels"):
            opened(table)
        with pytest.raises(SourceError, match="holds pixels"):
            opened(write(tmp_path, rows))

    def test_pixels_in_one_cell(self, tmp_path):
        rows = [(n % 7, "70 80 82" * 100, "Training") for n in range(30)]
        with pytest.raises(SourceError, match="holds pixels"):
            opened(write(tmp_path, [("emotion", "pixels", "Usage"), *rows]))

    @pytest.mark.parametrize("columns", [("xmin", "ymin", "xmax", "ymax"), ("bbox",)])
    def test_objects_in_pictures(self, tmp_path, columns):
        rows = [(f"{n // 2:03}.jpg", "cat", *range(n, n + len(columns))) for n in range(24)]
        with pytest.raises(SourceError, match="lists objects in pictures"):
            opened(write(pets(tmp_path), [("filename", "class", *columns), *rows]))

    def test_objects_in_pictures_without_a_header(self, tmp_path):
        rows = [(f"{n // 2:03}.jpg", n, n + 3, n + 40, n + 51, "cat") for n in range(24)]
        with pytest.raises(SourceError, match="lists objects in pictures"):
            opened(write(pets(tmp_path), rows))

    def test_one_box_a_picture_is_no_matter(self, tmp_path):
        rows = [(path, label, 1, 1, 9, 9) for path, label in labelled(lambda n: f"{n:03}.jpg")]
        source = opened(write(pets(tmp_path), [("Path", "ClassId", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2"), *rows]))
        assert counts(source) == {("cat", ""): 6, ("dog", ""): 6}


class TestHeader:
    @pytest.mark.parametrize("value", [lambda n: f"images/{n:03}.jpg", lambda n: f"{n:03}", lambda n: n])
    def test_there_is_none(self, tmp_path, value):
        source = opened(write(pets(tmp_path), labelled(value)))
        assert found(source) == PETS
        assert "pictures from column '1'" in said(source)
        assert "labels from '2', no header, columns are numbered" in said(source)

    def test_none_and_the_first_picture_is_missing(self, tmp_path):
        files(tmp_path, *(f"images/{number:03}.jpg" for number in range(1, 12)))
        source = opened(write(tmp_path, labelled(lambda n: f"{n:03}")))
        assert refusals(source) == ["000: file not found"]

    def test_columns_by_number(self, tmp_path):
        rows = [(label, number % 4, path) for number, (path, label) in enumerate(labelled(lambda n: f"{n:03}.jpg"))]
        source = opened(write(pets(tmp_path), rows), label_column="1", path_column="3")
        assert counts(source) == {("cat", ""): 6, ("dog", ""): 6}

    def test_names_of_classes_that_are_numbers(self, tmp_path):
        rows = [(f"{n:03}.jpg", int(n < 6), int(n >= 6)) for n in range(12)]
        source = opened(write(pets(tmp_path), [("image", "0", "1"), *rows]))
        assert counts(source) == {("0", ""): 6, ("1", ""): 6}


class TestLabels:
    @pytest.mark.parametrize(
        ("written", "read"),
        [
            (("01", "1"), ("01", "1")),
            (("1.0", "0.0"), ("1", "0")),
            (("352.0", "353"), ("352", "353")),
            (("1.50a", "NA"), ("1.50a", "NA")),
            (("None", "none "), ("None", "none")),
            ((" cat", "dog\u00a0"), ("cat", "dog")),
            (("['cat']", "['dog']"), ("cat", "dog")),
            (('"[""cat""]"', '"[""dog""]"'), ("cat", "dog")),
            (('"{""choices"": [""cat""]}"', '"{""choices"": [""dog""]}"'), ("cat", "dog")),
            (('"tench, Tinca tinca"', '"shark, Carcharodon"'), ("tench, Tinca tinca", "shark, Carcharodon")),
            (("golden retriever", "old dog"), ("golden retriever", "old dog")),
        ],
    )
    def test_as_they_are_written(self, tmp_path, written, read):
        source = opened(write(pets(tmp_path), [("image", "label"), *labelled(lambda n: f"{n:03}.jpg", labels=written)]))
        assert counts(source) == {(read[0], ""): 6, (read[1], ""): 6}

    def test_numbers_that_were_written_as_fractions_are_said(self, tmp_path):
        source = opened(
            write(pets(tmp_path), [("image", "label"), *labelled(lambda n: f"{n:03}.jpg", labels=("1.0", "0.0"))])
        )
        assert "1.0 read as 1" in said(source)

    @pytest.mark.parametrize("missing", ["", " ", "nan", "NaN", "<NA>"])
    def test_none(self, tmp_path, missing):
        rows = [*labelled(lambda n: f"{n:03}.jpg", 10), ("010.jpg", missing), ("011.jpg", missing)]
        source = opened(write(pets(tmp_path), [("image", "label"), *rows]))
        assert refusals(source) == ["images/010.jpg: no label", "images/011.jpg: no label"]

    @pytest.mark.parametrize("several", ["scab {}", "scab|{}", "scab;{}", '"scab,{}"', "\"['scab', '{}']\""])
    def test_several_in_one_cell(self, tmp_path, several):
        names = ["scab", "rust", several.format("rust"), "healthy"]
        rows = [(f"{n:03}.jpg", names[n // 3]) for n in range(12)]
        source = opened(write(pets(tmp_path), [("image", "labels"), *rows]))
        assert sorted(counts(source).values()) == [3, 3, 3, 3]
        assert "One label of the table is a combination of several, and a class of its own" in said(source)

    def test_one_combination_in_two_orders_is_one_class(self, tmp_path):
        names = ["scab", "rust", "scab rust", "rust scab"]
        source = opened(
            write(pets(tmp_path), [("image", "labels"), *((f"{n:03}.jpg", names[n % 4]) for n in range(12))])
        )
        assert counts(source) == {("scab", ""): 3, ("rust", ""): 3, ("scab rust", ""): 6}

    @pytest.mark.parametrize(
        ("no", "yes"),
        [("0", "1"), ("0.0", "1.0"), ("False", "True"), (" 0", " 1 "), ("", "1"), ("no", "yes"), ("", "x")],
    )
    def test_one_column_for_each(self, tmp_path, no, yes):
        rows = [(f"images/{n:03}.jpg", *(yes if n // 4 == k else no for k in range(3))) for n in range(12)]
        source = opened(
            write(pets(tmp_path), [("filename", " Chairs", " Big Doors ", " windows"), *rows], "_classes.csv")
        )
        assert counts(source) == {("Chairs", ""): 4, ("Big Doors", ""): 4, ("windows", ""): 4}
        assert "one label a row from the columns 'Chairs', 'Big Doors', 'windows'" in said(source)

    def test_one_column_for_each_of_many_numbers(self, tmp_path):
        rows = [(f"{n:03}.jpg", *(int(n % 70 == k) for k in range(70))) for n in range(140)]
        source = opened(write(pets(tmp_path, count=140), [("image", *range(70)), *rows]))
        assert counts(source) == {(str(k), ""): 2 for k in range(70)}

    def test_none_or_several_in_a_row(self, tmp_path):
        rows = [(f"{n:03}.jpg", int(n < 6), int(n >= 6)) for n in range(10)] + [("010.jpg", 0, 0), ("011.jpg", 1, 1)]
        source = opened(write(pets(tmp_path), [("image", "a", "b"), *rows]))
        assert counts(source) == {("a", ""): 6, ("b", ""): 4, ("a + b", ""): 1}
        assert refusals(source) == ["images/010.jpg: no label"]
        assert "a class of its own: 'a + b'" in said(source)

    def test_columns_of_yes_and_no_that_do_not_exclude_each_other(self, tmp_path):
        rows = [(f"{n:03}.jpg", n % 2, n % 3 == 0, n % 5 == 0) for n in range(12)]
        table = write(pets(tmp_path), [("image", "smiling", "male", "young"), *rows])
        with pytest.raises(
            SourceError, match=r"columns of yes and no .*'smiling', 'male', 'young'.* one label a picture"
        ):
            opened(table)
        assert counts(opened(table, label_column="smiling")) == {("0", ""): 6, ("1", ""): 6}

    def test_columns_that_were_said_one_for_each_label(self, tmp_path):
        rows = [(f"{n:03}.jpg", "x", int(n < 6), int(n >= 6), n % 2) for n in range(12)]
        table = write(pets(tmp_path), [("image", "label", "a", "b", "verified"), *rows])
        assert counts(opened(table, label_column="a,b")) == {("a", ""): 6, ("b", ""): 6}


class TestSplits:
    @pytest.mark.parametrize("name", ["split", "data set", "Usage", "subset", "ML_USE", "fase"])
    @pytest.mark.parametrize(
        "values",
        [("train", "valid", "test"), ("TRAIN", "VALIDATION", "TEST"), ("Training", "PublicTest", "PrivateTest")],
    )
    def test_whatever_the_column_is_called(self, tmp_path, name, values):
        rows = [(f"{n:03}.jpg", "ab"[n % 2], values[n // 4]) for n in range(12)]
        source = opened(write(pets(tmp_path), [("image", "label", name), *rows]))
        splits = ("train", "validation", "test")
        assert counts(source) == {(label, split): 2 for label in "ab" for split in splits}
        assert f"split from '{name}'" in said(source)

    @pytest.mark.parametrize(
        ("name", "split", "other"),
        [("is_valid", "validation", "train"), ("is_test", "test", "train"), ("is_train", "train", "test")],
    )
    @pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("1", "0")])
    def test_yes_and_no(self, tmp_path, name, split, other, yes, no):
        rows = [(f"{n:03}.jpg", "ab"[n % 2], yes if n < 4 else no) for n in range(12)]
        source = opened(write(pets(tmp_path), [("name", "label", name), *rows]))
        assert counts(source) == {("a", split): 2, ("b", split): 2, ("a", other): 4, ("b", other): 4}

    def test_numbers_of_folds_are_not_used_and_that_is_said(self, tmp_path):
        rows = [(f"{n:03}.jpg", "ab"[n % 2], n % 3) for n in range(12)]
        source = opened(write(pets(tmp_path), [("image", "label", "fold"), *rows]))
        assert counts(source) == {("a", ""): 6, ("b", ""): 6}
        assert "The column 'fold' of the table may be about the split" in said(source)

    def test_a_column_called_split_that_says_none(self, tmp_path):
        rows = [(f"{n:03}.jpg", "ab"[n % 2], n % 3) for n in range(12)]
        source = opened(write(pets(tmp_path), [("image", "label", "split"), *rows]))
        assert counts(source) == {("a", ""): 6, ("b", ""): 6}
        assert "The column 'split' of the table may be about the split" in said(source)

    def test_unassigned(self, tmp_path):
        rows = [("UNASSIGNED", f"gs://bucket/{n:03}.jpg", "ab"[n % 2]) for n in range(12)]
        assert counts(opened(write(pets(tmp_path), rows))) == {("a", ""): 6, ("b", ""): 6}

    def test_a_column_that_was_said(self, tmp_path):
        rows = [(f"{n:03}.jpg", "ab"[n % 2], ("train", "test")[n % 3 == 0], ("test", "odd")[n > 8]) for n in range(12)]
        source = opened(write(pets(tmp_path), [("image", "label", "split", "mine"), *rows]), split_column="mine")
        assert refusals(source) == [
            f"images/{n:03}.jpg: unknown split 'odd': use train, validation or test" for n in (9, 10, 11)
        ]


def gs(number):
    return f"gs://bucket/pets/{number:03}.jpg"


class TestExports:
    """What labelling tools and data hubs write."""

    def test_vertex_csv(self, tmp_path):
        uses = ["TRAIN"] * 8 + ["VALIDATION"] * 2 + ["TEST"] * 2
        rows = [(uses[n], gs(n), label) for n, label in labelled(lambda n: n)]
        source = opened(write(pets(tmp_path), rows))
        assert counts(source) == {
            ("cat", "train"): 6,
            ("dog", "train"): 2,
            ("dog", "validation"): 2,
            ("dog", "test"): 2,
        }

    @pytest.mark.parametrize(
        "record",
        [
            lambda n, label: {
                "imageGcsUri": gs(n),
                "classificationAnnotation": {"displayName": label},
                "dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": "training"},
            },
            lambda n, label: {  # SageMaker Ground Truth
                "source-ref": f"s3://bucket/{n:03}.jpg",
                "pets": int(label == "dog"),
                "pets-metadata": {
                    "confidence": 0.5 + n / 100,
                    "class-name": label,
                    "type": "groundtruth/image-classification",
                    "human-annotated": "yes",
                    "job-name": "labeling-job/pets",
                    "creation-date": "2026-01-01T00:00:00",
                },
            },
            lambda n, label: {  # Azure Machine Learning
                "image_url": f"azureml://subscriptions/1/datastores/store/paths/{n:03}.jpg",
                "image_details": {"format": "jpg", "width": "640px", "height": "480px"},
                "label": label,
            },
            lambda n, label: {"file_name": f"images/{n:03}.jpg", "label": label},  # Hugging Face
            lambda n, label: {"image": f"images/{n:03}.jpg", "label": [label], "text": None},
        ],
    )
    def test_json_lines(self, tmp_path, record):
        lines = [json.dumps(record(n, label)) for n, label in labelled(lambda n: n)]
        (pets(tmp_path) / "metadata.jsonl").write_text("\n".join(lines) + "\n\n")
        source = opened(tmp_path / "metadata.jsonl")
        assert Counter(entry.label for entry in source.entries if not entry.refused) == {"cat": 6, "dog": 6}

    def test_label_studio(self, tmp_path):
        header = ("annotation_id", "annotator", "choice", "created_at", "id", "image", "lead_time", "updated_at")
        rows = [
            (
                n + 7,
                1,
                label,
                "2026-01-01T00:00:00Z",
                n,
                f"/data/upload/3/{n:08x}-{n:03}.jpg",
                1.5 + n,
                "2026-01-02T00:00:00Z",
            )
            for n, label in labelled(lambda n: n)
        ]
        source = opened(write(pets(tmp_path), [header, *rows]))
        assert found(source) == PETS
        assert "pictures from column 'image'" in said(source)

    def test_image_net_lists(self, tmp_path):
        rows = [(f"{n:03}.jpg", int(n >= 6)) for n in range(12)]
        source = opened(write(pets(tmp_path), rows, "train.txt", " "))
        assert counts(source) == {("0", ""): 6, ("1", ""): 6}

    def test_lst(self, tmp_path):
        rows = [(n, f"{int(n >= 6)}.000000", f"images/{n:03}.jpg") for n in range(12)]
        source = opened(write(pets(tmp_path), rows, "train.lst", "\t"))
        assert counts(source) == {("0", ""): 6, ("1", ""): 6}

    def test_ham10000(self, tmp_path):
        files(tmp_path, *(f"part_{1 + n % 2}/ISIC_{n:07}.jpg" for n in range(24)))
        rows = [
            (
                f"HAM_{n // 2:07}",
                f"ISIC_{n:07}",
                ("nv", "mel")[n % 2],
                ("histo", "follow_up")[n % 3 == 0],
                40 + n % 3,
                "male",
                "back",
            )
            for n in range(24)
        ]
        header = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
        assert counts(opened(write(tmp_path, [header, *rows]))) == {("nv", ""): 12, ("mel", ""): 12}

    def test_via(self, tmp_path):
        header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
        row = '{:03}.jpg,9,"{{}}",1,0,"{{""name"":""rect""}}","{{""class"":""cat""}}"'
        (pets(tmp_path) / "via.csv").write_text("\n".join([header, *(row.format(n) for n in range(12))]))
        with pytest.raises(SourceError, match="lists objects in pictures"):
            opened(tmp_path / "via.csv")


class TestFiles:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_delimiters(self, tmp_path, delimiter):
        rows = [("image", "kind of pet", "weight"), *((*row, "1") for row in labelled(lambda n: f"{n:03}.jpg"))]
        assert counts(opened(write(pets(tmp_path), rows, delimiter=delimiter))) == {("cat", ""): 6, ("dog", ""): 6}

    def test_decimal_commas_between_semicolons(self, tmp_path):
        rows = [("image", "label", "weight"), *((*row, "1,5") for row in labelled(lambda n: f"{n:03}.jpg"))]
        assert counts(opened(write(pets(tmp_path), rows, delimiter=";"))) == {("cat", ""): 6, ("dog", ""): 6}

    def test_what_excel_writes(self, tmp_path):
        rows = [("sep=;",), ("image", "label"), *labelled(lambda n: f"{n:03}.jpg")]
        text = "".join(";".join(row) + "\r\n" for row in rows)
        (pets(tmp_path) / "table.csv").write_bytes(text.encode("utf-8-sig"))
        assert counts(opened(tmp_path / "table.csv")) == {("cat", ""): 6, ("dog", ""): 6}
        (tmp_path / "table.csv").write_bytes(text.partition("\n")[2].replace(";", "\t").encode("utf-16"))
        source = opened(tmp_path / "table.csv")
        assert counts(source) == {("cat", ""): 6, ("dog", ""): 6}
        assert "encoded in UTF-16" in said(source)

    def test_line_breaks_in_quotes(self, tmp_path):
        rows = [
            ("image", "note", "label"),
            *((path, '"two\nlines"', label) for path, label in labelled(lambda n: f"{n:03}.jpg")),
        ]
        assert counts(opened(write(pets(tmp_path), rows))) == {("cat", ""): 6, ("dog", ""): 6}

    def test_a_row_with_too_many_cells(self, tmp_path):
        rows = [("image", "label"), *labelled(lambda n: f"{n:03}.jpg"), ("003.jpg", "cat", " domestic")]
        assert "more cells than the table has columns: 3 > 2" in refusals(opened(write(pets(tmp_path), rows)))[0]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"PK\x03\x04\x00\x00", "a spreadsheet or an archive"),
            (b"\x1f\x8b\x08\x00", "gzip"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
            ("image,label\n".encode("utf-16-le"), "not text"),
            ("path,label\nx.jpg,café\n".encode("cp1252"), "not UTF-8"),
            (b"", "is empty"),
            (b"path,label\n", "no rows"),
        ],
    )
    def test_files_that_are_no_tables(self, tmp_path, content, message):
        (tmp_path / "table.csv").write_bytes(content)
        with pytest.raises(SourceError, match=message) as caught:
            opened(tmp_path / "table.csv")
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("name", "hint"),
        [("t.xlsx", "CSV UTF-8"), ("t.json", "JSON Lines"), ("t.csv.gz", "Unpack"), ("t.pkl", "pandas")],
    )
    def test_tables_of_other_kinds(self, tmp_path, name, hint):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(SourceError, match="neither a table nor an archive") as caught:
            opened(tmp_path / name)
        assert hint in caught.value.hint

    @pytest.mark.parametrize("line", ['{"a": 1', "[1, 2]", "path,label"])
    def test_lines_that_are_not_json(self, tmp_path, line):
        (tmp_path / "table.jsonl").write_text(f'{{"a": 1}}\n{line}\n')
        with pytest.raises(SourceError, match="Line 2 of"):
            opened(tmp_path / "table.jsonl")


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG")
    return file.getvalue()


class TestParquet:
    @pytest.fixture(autouse=True)
    def _needs_pyarrow(self):
        pytest.importorskip("pyarrow")

    def write(self, path: Path, columns, classes=None, group=5) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(columns)
        if classes:
            features = {name: {"names": names, "_type": "ClassLabel"} for name, names in classes.items()}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, path, row_group_size=group)
        return path

    def test_pictures_inside_with_names_of_classes(self, tmp_path):
        pictures = [{"bytes": png(n), "path": None} for n in range(12)]
        path = self.write(
            tmp_path / "t.parquet", {"image": pictures, "label": [0, 1] * 6}, {"label": ["dark", "bright"]}
        )
        source = open_source(path)
        assert [entry.label for entry in source.entries] == ["dark", "bright"] * 6
        assert [entry.path for entry in source.entries[:2]] == ["t[0]", "t[1]"]
        assert [source.read(row) for row in (0, 1, 7, 11, 3, 2)] == [png(row) for row in (0, 1, 7, 11, 3, 2)]
        assert source.link(0) is None
        assert "pictures in column 'image' itself, labels from 'label'" in said(source)

    def test_plain_bytes_and_names_beside_them(self, tmp_path):
        columns = {"img": [png(n) for n in range(12)], "kind": ["a", "b"] * 6, "split": ["train"] * 8 + ["test"] * 4}
        source = open_source(self.write(tmp_path / "t.parquet", columns))
        assert counts(source) == {("a", "train"): 4, ("b", "train"): 4, ("a", "test"): 2, ("b", "test"): 2}

    def test_a_picture_that_is_missing(self, tmp_path):
        pictures = [{"bytes": png(n) if n != 3 else None, "path": f"{n}.png"} for n in range(12)]
        source = open_source(self.write(tmp_path / "t.parquet", {"image": pictures, "label": [0, 1] * 6}))
        assert [entry.path for entry in source.entries][:2] == ["0.png", "1.png"]
        with pytest.raises(PictureError, match="empty file"):
            source.read(3)

    def test_classes_without_names_and_without_label(self, tmp_path):
        pictures = [{"bytes": png(n), "path": None} for n in range(12)]
        labels = [0, 1] * 5 + [-1, -1]
        path = self.write(tmp_path / "t.parquet", {"image": pictures, "label": labels}, {"label": ["dark", "bright"]})
        assert refusals(open_source(path)) == ["t[10]: no label", "t[11]: no label"]

    def test_files_that_are_one_table(self, tmp_path):
        for shard in range(2):
            pictures = [{"bytes": png(6 * shard + n), "path": None} for n in range(6)]
            columns = {"image": pictures, "label": [shard] * 6}
            self.write(
                tmp_path / f"train-0000{shard}-of-00002.parquet", columns, {"label": ["dark", "bright"]}, group=4
            )
        source = open_source(tmp_path / "train-00001-of-00002.parquet")
        assert [entry.label for entry in source.entries] == ["dark"] * 6 + ["bright"] * 6
        assert [source.read(row) for row in (0, 5, 6, 11)] == [png(row) for row in (0, 5, 6, 11)]
        assert "2 of 2 files" in said(source)

    def test_numbers_with_gaps(self, tmp_path):
        pets(tmp_path)
        frame = pd.DataFrame({"id": range(12), "grade": [0.0, 1.0] * 5 + [None, None]})
        frame.to_parquet(tmp_path / "t.parquet")
        source = open_source(tmp_path / "t.parquet")
        assert counts(source) == {("0", ""): 5, ("1", ""): 5}
        assert refusals(source) == ["images/010.jpg: no label", "images/011.jpg: no label"]

    def test_paths_in_the_structure_of_a_picture(self, tmp_path):
        pets(tmp_path)
        pictures = [{"bytes": None, "path": f"images/{n:03}.jpg"} for n in range(12)]
        source = open_source(self.write(tmp_path / "t.parquet", {"image": pictures, "label": ["a", "b"] * 6}))
        assert counts(source) == {("a", ""): 6, ("b", ""): 6}
        assert source.read(0) == JPEG
