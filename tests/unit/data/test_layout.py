"""Folders as people bring them become the classes and splits that they mean, or an error with the command that does."""

import os
import re
import shlex
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from kilat.data.layout.layout import Layout, class_in_name
from kilat.data.layout.tree import FoundFile
from kilat.data.reading import Reading
from kilat.data.source import find_source, open_source
from kilat.errors import SourceError

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


def each(splits, classes):
    return [f"{split}/{name}" for split in splits for name in classes]


def layout(*folders, class_from=None, pictures=("1.jpg", "2.jpg")):
    """The layout of folders with two pictures in each."""
    found = [FoundFile(f"{folder}/{name}") for folder in folders for name in pictures]
    above = {folder.rsplit("/", up)[0] for folder in folders for up in range(folder.count("/") + 1)}
    return Layout(found, above, class_from=class_from)


def used(layout):
    """How many pictures of each class and split are used."""
    assert layout.problem is None
    return dict(Counter((entry.label, entry.split) for entry in layout.entries if not entry.refused))


def refused(layout):
    return dict(Counter(entry.refused.code for entry in layout.entries if entry.refused))


def notes(layout):
    return {note.code: note.values for note in layout.notes}


def both(*splits, classes=("cat", "dog")):
    return {(name, split): 2 for name in classes for split in splits}


class TestSplits:
    @pytest.mark.parametrize(
        "train",
        [
            "train", "TRAIN", "Training", "trn", "tr", "train_set", "trainset", "TrainSet", "train-images",
            "train_data", "images_train", "Training Set", "01_train", "train2017", "train (1)", "trainval",
            "train_val", "learning", "latih", "Data Latih", "entrenamiento", "treino", "训练集", "my train data",
        ],
    )  # fmt: skip
    def test_every_usual_name_for_training(self, train):
        found = layout(*each((train, "test"), ("cat", "dog")))
        assert used(found) == both("train", "test")

    @pytest.mark.parametrize(
        ("name", "split"),
        [
            (name, "validation")
            for name in ("val", "Valid", "validation", "dev", "devel", "val_images", "validasi", "eval")
        ]
        + [
            (name, "test")
            for name in (
                "TEST",
                "testing",
                "tst",
                "test1",
                "holdout",
                "hold-out",
                "Hold_Out",
                "held out",
                "uji",
                "PrivateTest",
            )
        ],
    )
    def test_every_usual_name_for_the_other_splits(self, name, split):
        assert used(layout(*each(("train", name), ("cat", "dog")))) == both("train", split)

    def test_unusual_names_are_said_and_usual_ones_are_not(self):
        found = layout(*each(("training", "testing"), "012"))
        assert notes(found) == {"splits_by_name": {"folders": {"testing": "test", "training": "train"}}}
        assert layout(*each(("Train", "val", "test"), "012")).notes == []

    @pytest.mark.parametrize(
        "folders",
        [
            each(("flowers_train", "flowers_test"), ("cat", "dog")),
            each(("seg_train/seg_train", "seg_test/seg_test"), ("cat", "dog")),
            each(("w/train/train", "w/test/test"), ("cat", "dog")),
            each(("train/images", "test/images"), ("cat", "dog")),
            each(("training_set/pets", "test_set/pets"), ("cat", "dog")),
            each(("train/train", "test"), ("cat", "dog")),
        ],
    )
    def test_levels_that_repeat_themselves(self, folders):
        assert used(layout(*folders)) == both("train", "test")

    def test_a_folder_that_is_a_class_elsewhere_is_no_wrapper(self):
        found = layout(*each(("train",), ("cat", "dog")), "test/dog/pug", "test/dog/husky")
        assert used(found) == {("cat", "train"): 2, ("dog", "train"): 2, ("dog", "test"): 4}

    def test_evaluation_is_the_test_set_beside_a_validation_folder(self):
        found = layout(*each(("training", "validation", "evaluation"), ("cat", "dog")))
        assert used(found) == both("train", "validation", "test")

    def test_without_a_training_folder_validation_is_trained_on(self):
        found = layout(*each(("val", "test"), ("cat", "dog")))
        assert used(found) == both("train", "test")
        assert notes(found) == {"no_training_folder": {"validation": ["val"], "test": ["test"]}}

    def test_a_test_folder_alone_is_said(self):
        found = layout(*each(("test",), ("cat", "dog")))
        assert used(found) == both("")
        assert notes(found) == {"only_folder_of_split": {"folder": "test"}}

    def test_a_flat_test_folder_is_left_out(self):
        found = layout(*each(("train",), ("cat", "dog")), "test")
        assert used(found) == both("train")
        assert refused(found) == {"no_class_folder": 2}
        assert notes(found) == {"split_without_labels": {"folder": "test", "count": 2}}

    def test_a_flat_training_folder_beside_a_labelled_test_folder(self):
        found = layout("train", *each(("test",), ("cat", "dog")))
        assert used(found) == both("")
        assert set(notes(found)) == {"split_without_labels", "only_folder_of_split"}

    @pytest.mark.parametrize("beside", ["single_prediction", "seg_pred/seg_pred", "extra", "chest_xray/train/cat"])
    def test_folders_beside_the_splits_are_named(self, beside):
        found = layout(*each(("train", "test"), ("cat", "dog")), beside)
        assert used(found) == both("train", "test")
        assert refused(found) == {"outside_splits": 2}
        assert notes(found)["folders_beside_splits"] == {"folders": [beside.partition("/")[0]], "count": 2}

    def test_names_with_split_and_class(self):
        assert used(layout("train_cat", "train_dog", "test_cat", "test_dog")) == both("train", "test")
        assert used(layout(*(f"class{i}_{split}" for i in (1, 2) for split in ("train", "test")))) == both(
            "train", "test", classes=("class1", "class2")
        )
        assert used(layout("trainA", "trainB", "testA", "testB")) == both("train", "test", classes=("A", "B"))
        repeated = layout("train/train_cat", "train/train_dog", "test/test_cat", "test/test_dog")
        assert used(repeated) == both("train", "test")
        assert "splits_in_names" in notes(repeated)

    def test_splits_inside_the_classes(self):
        found = layout(*each(("cat", "dog"), ("train", "test")))
        assert used(found) == both("train", "test")
        assert notes(found) == {"splits_in_classes": {"classes": ["cat", "dog"]}}
        assert used(layout(*each(("cat", "dog"), ("train", "test")), "fox")) == both("train", "test") | {("fox", ""): 2}

    def test_the_folder_with_the_name_of_the_others_is_for_training(self):
        assert used(layout(*each(("rps/rps", "rps-test-set/rps-test-set"), ("cat", "dog")))) == both("train", "test")

    def test_a_split_among_the_classes(self):
        found = layout("cat", "dog", "test/cat", "test/dog")
        assert used(found) == both("", "test")
        assert notes(found)["nested_split"] == {"folder": "test", "count": 4, "split": "test"}


class TestClassesNamedLikeSplits:
    @pytest.mark.parametrize(
        "classes",
        [
            ("train", "car", "plane"),
            ("test", "control"),
            ("valid", "invalid"),
            ("train_station", "bus_station"),
            ("test_tube", "train_station"),
            ("test_positive", "test_negative"),
            ("eval", "production"),
            ("fit", "unfit"),
            ("mask", "no_mask"),
            ("training", "match"),
            ("part_time", "full_time"),
            ("class1", "class2"),
            ("0", "1"),
        ],
    )
    def test_are_classes(self, classes):
        found = layout(*classes)
        assert used(found) == {(name, ""): 2 for name in classes}
        assert set(notes(found)) <= {"doubtful_classes"}

    @pytest.mark.parametrize(
        ("doubtful", "others"), [(["train"], ["car", "plane"]), (["test", "train"], ["car"]), (["unlabeled"], ["cat"])]
    )
    def test_doubtful_names_are_said(self, doubtful, others):
        found = layout(*doubtful, *others)
        assert {label for label, _ in used(found)} == {*doubtful, *others}
        assert notes(found)["doubtful_classes"] == {"folders": doubtful, "others": others, "count": len(doubtful)}

    def test_a_class_with_folders_of_its_own(self):
        found = layout("train/steam", "train/diesel", "car/small", "car/large", "bus")
        assert {label for label, _ in used(found)} == {"train", "car", "bus"}


class TestClasses:
    def test_classes_that_hold_only_folders_are_said(self):
        found = layout("a/airfield", "a/alley", "b/bank/indoor", "b/bank/outdoor")
        assert used(found) == {("a", ""): 4, ("b", ""): 4}
        folders = ["airfield", "alley", "indoor", "outdoor"]
        assert notes(found) == {
            "classes_hold_only_folders": {"classes": ["a", "b"], "folders": folders, "option": "last-folder"}
        }
        assert found.notes[0].sentence() == (
            "The classes 'a', 'b' hold only folders: 'airfield', 'alley', 'indoor', 'outdoor'. "
            "If these are the classes, add --class-from last-folder."
        )

    def test_one_folder_in_each_is_as_good(self):
        assert notes(layout("a/airfield", "b/bank"))["classes_hold_only_folders"]["classes"] == ["a", "b"]

    def test_where_the_last_folders_share_names_all_of_them_are_suggested(self):
        found = layout(
            "a/airfield", "a/abbey", "b/bank/indoor", "b/bank/outdoor", "c/cafe/indoor", "c/cellar", "c/cliff"
        )
        assert notes(found)["classes_hold_only_folders"]["option"] == "folders"

    @pytest.mark.parametrize("inner", ["images", "2021", "photos/jpg"])
    def test_one_and_the_same_folder_in_every_class_says_nothing(self, inner):
        found = layout(f"cat/{inner}", f"dog/{inner}")
        assert used(found) == both("")
        assert found.notes == []

    def test_years_with_pictures_are_classes(self):
        assert used(layout("2019", "2020")) == {("2019", ""): 2, ("2020", ""): 2}

    def test_years_are_no_classes(self):
        assert used(layout(*each(("cat", "dog"), ("2021", "2022")))) == {("cat", ""): 4, ("dog", ""): 4}

    @pytest.mark.parametrize("outer", [("camera1", "camera2"), ("color", "grayscale", "segmented"), ("x", "y")])
    def test_the_same_folders_in_every_class_are_asked_about(self, outer):
        found = layout(*each(outer, ("cat", "dog", "fox")))
        assert found.problem.kind == "same_folders"
        assert (found.problem.names, found.problem.inner) == (sorted(outer), ["cat", "dog", "fox"])

    def test_also_where_one_has_fewer_of_them_or_masks_beside(self):
        assert layout("camera1/cat", "camera1/dog", "camera2/cat").problem.kind == "same_folders"
        visa = [
            f"{name}/Data/{inner}" for name in ("candle", "fryum") for inner in ("Images/ok", "Images/bad", "Masks/bad")
        ]
        assert layout(*visa).problem.inner == ["bad", "ok"]
        found = layout(*visa, class_from="last-folder")
        assert used(found) == {("ok", ""): 4, ("bad", ""): 4}
        assert refused(found) == {"annotation_folder": 4}

    def test_also_inside_of_splits(self):
        assert (
            layout(*each(("train/left", "train/right", "test/left", "test/right"), "01")).problem.kind == "same_folders"
        )

    @pytest.mark.parametrize("stem", ["fold", "fold_", "part-", "Batch "])
    def test_numbered_parts_are_joined(self, stem):
        found = layout(*each([f"{stem}{i}" for i in range(1, 6)], ("cat", "dog")))
        assert used(found) == {("cat", ""): 10, ("dog", ""): 10}
        assert "parts_joined" in notes(found)

    def test_years_with_the_same_folders_are_joined(self):
        assert used(layout(*each(("2019", "2020"), ("cat", "dog")))) == {("cat", ""): 4, ("dog", ""): 4}

    def test_unlabelled_folders_beside_the_one_with_the_classes_are_left_out(self):
        found = layout(*each(("labeled",), ("cat", "dog")), "unlabeled")
        assert used(found) == both("")
        assert refused(found) == {"unlabelled_folder": 2}

    @pytest.mark.parametrize(
        "folders", [("images_001", "images_002"), ("HAM_part_1", "HAM_part_2"), ("fold1", "fold2")]
    )
    def test_parts_without_classes_are_refused(self, folders):
        assert layout(*folders).problem.kind == "flat_parts"

    def test_a_copy_of_all_classes_among_them_is_more_of_the_same(self):
        found = layout(*each(("P", "P/P"), ("apple", "corn", "potato")))
        assert used(found) == {(name, ""): 4 for name in ("apple", "corn", "potato")}
        assert notes(found) == {"nested_copy": {"folder": "P", "count": 6}}

    def test_data_sets_side_by_side_are_refused(self):
        sets = each(("bottle/train", "bottle/test", "cable/train", "cable/test"), ("good",))
        found = layout(*sets, "bottle/test/cut", "cable/test/bent", "bottle/ground_truth/cut")
        assert found.problem.kind == "several_data_sets"
        assert found.problem.names == ["bottle", "cable"]
        one = layout(*each(("photos/train", "photos/test", "crops"), ("cat", "dog")))
        assert (one.problem.kind, one.problem.names) == ("several_data_sets", ["photos"])

    def test_a_folder_called_data_is_no_class(self):
        found = layout("data/cat", "data/dog", "docs/figures")
        assert (found.problem.kind, found.problem.names) == ("data_folder", ["data"])

    @pytest.mark.parametrize(
        ("folders", "left"),
        [
            (each(("COVID", "Normal"), ("images", "masks")), 4),
            (each(("images", "masks"), ("COVID", "Normal")), 4),
            ([*each(("train", "test"), ("COVID", "Normal")), "ground_truth/COVID"], 2),
            ([*each(("train/img", "test/img"), ("COVID", "Normal")), "train/annotations/x"], 2),
            ([*each(("train",), ("COVID", "Normal")), "train_masks/COVID"], 2),
        ],
    )
    def test_masks_are_left_out(self, folders, left):
        found = layout(*folders)
        assert {label for label, _ in used(found)} == {"COVID", "Normal"}
        assert refused(found) == {"annotation_folder": left}
        assert notes(found)["annotation_folders"]["count"] == left


class TestClassFrom:
    TREE = ("a/airfield", "b/bank/indoor", "b/cafe/indoor")

    @pytest.mark.parametrize(
        ("class_from", "classes"),
        [
            ("first-folder", {"a": 2, "b": 4}),
            ("last-folder", {"airfield": 2, "indoor": 4}),
            ("folders", {"a/airfield": 2, "b/bank/indoor": 2, "b/cafe/indoor": 2}),
        ],
    )
    def test_what_names_the_class(self, class_from, classes):
        found = layout(*self.TREE, class_from=class_from)
        assert used(found) == {(name, ""): count for name, count in classes.items()}

    def test_inside_of_splits(self):
        tree = each(("train", "test"), self.TREE)
        assert used(layout(*tree, class_from="folders"))["b/bank/indoor", "test"] == 2

    def test_one_name_in_several_places_is_said(self):
        found = layout(*self.TREE, class_from="last-folder")
        assert notes(found)["classes_joined"] == {"classes": ["indoor"], "folders": ["b/bank/indoor", "b/cafe/indoor"]}

    def test_data_sets_can_be_taken_together(self):
        tree = each(each(("photo", "sketch"), ("train", "test")), ("cat", "dog"))
        found = used(layout(*tree, class_from="last-folder"))
        assert found == {(name, split): 4 for name in ("cat", "dog") for split in ("train", "test")}

    @pytest.mark.parametrize("folders", [("train", "test"), ("images_001", "images_002"), ("photo/cat", "sketch/cat")])
    def test_the_first_folder_is_taken_as_it_is(self, folders):
        assert used(layout(*folders, class_from="first-folder")) == {
            (name.partition("/")[0], ""): 2 for name in folders
        }

    def test_the_name_of_the_file(self):
        pictures = ("cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "7.jpg")
        found = layout("train", "test1", class_from="file-name", pictures=pictures)
        assert used(found) == {("cat", "train"): 2, ("dog", "train"): 1, ("cat", "test"): 2, ("dog", "test"): 1}
        assert refused(found) == {"no_class_in_name": 2}

    @pytest.mark.parametrize(
        ("name", "label"),
        [
            ("cat.12.jpg", "cat"),
            ("dog_12.png", "dog"),
            ("great_pyrenees_108.jpg", "great_pyrenees"),
            ("cat (12).jpg", "cat"),
            ("rose12.jpg", "rose"),
            ("3_870.jpg", "3"),
            ("12_great_dane.jpg", "great_dane"),
            ("0001.jpg", ""),
            ("photo.jpg", ""),
            ("12", ""),
        ],
    )
    def test_the_class_in_a_name(self, name, label):
        assert class_in_name(name) == label

    def test_an_unknown_way_gets_the_nearest(self):
        with pytest.raises(SourceError, match="The class cannot be taken from 'last'") as caught:
            Reading.of(class_from="last")
        assert "'last-folder'" in caught.value.hint

    def test_it_is_for_folders_and_archives(self, tmp_path):
        (tmp_path / "t.csv").write_text("path,label\n")
        for data in (tmp_path / "t.csv", "digits"):
            with pytest.raises(SourceError, match="--class-from is for folders and archives"):
                find_source(data, reading=Reading(class_from="last-folder"))


NAMES = (
    "train test val Training valid evaluation cat dog a b images masks labels data fold1 fold2 2019 2020 "
    "train_cat test_dog seg_train seg_test pred unlabeled images_001 extra holdout"
).split()


def grow(random: Random, above: str = "", depth: int = 1) -> list[str]:
    """Pictures in folders of names that mean something, up to four deep."""
    found = []
    for name in random.sample(NAMES, random.randint(1, 4)):
        kind = random.random()
        if kind < 0.55 or depth == 4:
            found += [f"{above}{name}/{number}.jpg" for number in range(random.randint(1, 2))]
        if kind > 0.45 and depth < 4:
            found += grow(random, f"{above}{name}/", depth + 1)
    return found


@pytest.mark.parametrize("class_from", [None, "first-folder", "last-folder", "folders", "file-name"])
def test_any_tree_is_read_whatever_the_order_of_its_files(class_from):
    for seed in range(100):
        random = Random(seed)
        paths = grow(random)
        shuffled = random.sample(paths, len(paths))
        one, other = (Layout([FoundFile(p) for p in order], (), class_from=class_from) for order in (paths, shuffled))
        assert {entry.path: entry for entry in one.entries} == {entry.path: entry for entry in other.entries}
        assert len(one.entries) == len(paths)
        assert (one.notes, one.problem) == (other.notes, other.problem)
        assert all(bool(entry.label) is not bool(entry.refused) for entry in one.entries)
        assert all(note.sentence() for note in one.notes)


def write(root: Path, *files: str, **texts: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG if file.endswith(".jpg") else b"text")
    return root


def numbered(folder: str, count: int = 3) -> list[str]:
    return [f"{folder}/{i}.jpg" for i in range(count)]


def error(data: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_source(data)
    return caught.value


def paste(hint: str):
    """Open what the first command in a hint names, as the command line would."""
    words = shlex.split(re.search(r"kilat train (.*)", hint)[1])
    class_from = words[words.index("--class-from") + 1] if "--class-from" in words else None
    return open_source(words[0], reading=Reading.of(class_from=class_from))


def labels(source) -> set[str]:
    return {entry.label for entry in source.entries if not entry.refused}


class TestErrors:
    @pytest.mark.parametrize("place", ["my data/labels.csv", "my data/train/labels.csv", "labels.csv"])
    def test_the_table_of_flat_splits_is_named_with_a_command_that_works(self, tmp_path, monkeypatch, place):
        write(tmp_path / "my data", *numbered("train", 4), *numbered("test"))
        table = tmp_path / place
        rows = [(os.path.relpath(tmp_path / "my data/train" / f"{i}.jpg", table.parent), "ab"[i % 2]) for i in range(4)]
        table.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
        (tmp_path / "my data" / "sample_submission.csv").write_text("path,label\ntest/0.jpg,a\ntest/1.jpg,b\n")
        monkeypatch.chdir(tmp_path)
        found = error("my data")
        assert (
            "my data holds 'test', 'train', named like a split, but there are no class folders in them."
            in found.message
        )
        assert f"The table {place} has labels for 4 of them." in found.message
        assert f"kilat train {shlex.quote(place)}" in found.hint
        assert len(paste(found.hint).entries) == 4

    def test_a_table_beside_a_flat_folder(self, tmp_path):
        write(tmp_path, *numbered("leaves"))
        (tmp_path / "train.csv").write_text("path,label\nleaves/0.jpg,a\nleaves/1.jpg,b\n")
        for data in (tmp_path, tmp_path / "leaves"):
            assert labels(paste(error(data).hint)) == {"a", "b"}

    def test_a_table_that_is_not_understood_is_named(self, tmp_path):
        write(tmp_path, *numbered("images_001"), *numbered("images_002"))
        (tmp_path / "meta.csv").write_text("one,other\nx,y\n")
        assert f"There is a table, {tmp_path}/meta.csv, but kilat finds no labels" in error(tmp_path).message
        assert "--path-column NAME --label-column NAME" in error(tmp_path).hint

    def test_a_list_of_pictures_and_labels(self, tmp_path):
        write(tmp_path, *numbered("images", 4), "README.txt")
        (tmp_path / "train.txt").write_text("".join(f"images/{i}.jpg {i % 2}\n" for i in range(4)))
        assert labels(paste(error(tmp_path).hint)) == {"0", "1"}

    def test_a_spreadsheet_is_to_be_saved_as_csv(self, tmp_path):
        found = error(write(tmp_path, *numbered("train"), *numbered("test"), "labels.xlsx"))
        assert f"There is a table, {tmp_path}/labels.xlsx" in found.message
        assert "CSV UTF-8" in found.hint

    def test_classes_in_the_names(self, tmp_path):
        files = [f"train/{name}.{i}.jpg" for name in ("cat", "dog") for i in range(3)]
        write(tmp_path, *files, "test1/1.jpg", "sampleSubmission.csv")
        found = error(tmp_path)
        assert "The names of the pictures may tell their classes: 'cat', 'dog'." in found.message
        assert labels(paste(found.hint)) == {"cat", "dog"}

    @pytest.mark.parametrize(
        ("files", "named"),
        [
            (["train/images/a.jpg", "val/images/b.jpg", "train/labels/a.txt", "data.yaml"], "'data.yaml', 'labels/'"),
            (["images/train/a.jpg", "images/val/b.jpg", "labels/train/a.txt"], "'labels/'"),
            (["train2017/a.jpg", "val2017/b.jpg", "annotations/instances_val2017.json"], "'annotations/'"),
            (["train/a.jpg", "valid/b.jpg", "train/_annotations.coco.json"], "'train/_annotations.coco.json'"),
            (["JPEGImages/a.jpg", "Annotations/a.xml"], "'Annotations/'"),
            (["train/a.jpg", "test/b.jpg", "train/a.xml"], "'train/a.xml'"),
            (["images/a.jpg", "images/b.jpg", "masks/a.jpg"], "'masks/'"),
        ],
    )
    def test_layouts_for_detection_and_segmentation(self, tmp_path, files, named):
        assert (
            f"With {named} it looks like data for object detection or segmentation"
            in error(write(tmp_path, *files)).message
        )

    def test_texts_beside_class_folders_are_no_annotations(self, tmp_path):
        write(tmp_path, "a/1.jpg", "a/1.txt", "b/1.jpg", "b/1.xml", "data.yaml", "labels/1.txt")
        assert labels(open_source(tmp_path)) == {"a", "b"}

    @pytest.mark.parametrize(
        ("folders", "sentence", "classes"),
        [
            (
                each(("camera1", "camera2"), ("cat", "dog")),
                "hold the same folders, 'cat', 'dog': either may be the classes.",
                {"cat", "dog"},
            ),
            (
                [*each(each(("bottle", "cable"), ("train", "test")), ("good", "bad"))],
                "Each of the folders 'bottle', 'cable' in",
                {"good", "bad"},
            ),
            (["photo set/train/a", "photo set/train/b", "photo set/test/a", "x/a"], "it is a data set", {"a", "b"}),
            (["my data/a", "my data/b", "docs"], "holds 'my data' with the folders 'a', 'b' in it", {"a", "b"}),
            (["train/good", "test/good", "test/bad"], "only class 'good' has training pictures", {"good", "bad"}),
        ],
    )
    def test_the_command_in_the_hint_works(self, tmp_path, folders, sentence, classes):
        write(tmp_path, *(file for folder in folders for file in numbered(folder)))
        found = error(tmp_path)
        assert sentence in found.message
        assert labels(paste(found.hint)) == classes

    def test_one_class_is_enough_to_measure_a_model_but_not_none(self, tmp_path):
        write(tmp_path, *numbered("a/cat"), *numbered("b"))
        assert labels(open_source(tmp_path / "a", one_class=True)) == {"cat"}
        with pytest.raises(SourceError, match="stand in no class folders"):
            open_source(tmp_path / "b", one_class=True)


class TestArchives:
    TREES = (
        each(("training", "testing"), ("cat", "dog")),
        [*each(("seg_train/seg_train", "seg_test/seg_test"), ("cat", "dog")), "seg_pred/seg_pred"],
        each(("val", "test"), ("cat", "dog")),
        ["a/airfield", "a/alley", "b/bank/indoor", "b/bank/outdoor"],
        each(("COVID", "Normal"), ("images", "masks")),
        ["train", "test"],
        each(("camera1", "camera2"), ("cat", "dog")),
    )

    @pytest.mark.parametrize("tree", TREES)
    @pytest.mark.parametrize("class_from", [None, "last-folder"])
    def test_are_read_like_folders(self, tmp_path, tree, class_from):
        folder = write(tmp_path / "data", *(file for one in tree for file in numbered(one)))
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as file:
            for path in folder.rglob("*"):
                file.write(path, path.relative_to(folder))
        with tarfile.open(tmp_path / "data.tar", "w") as file:
            file.add(folder, ".")
        sources = [
            find_source(tmp_path / name, reading=Reading(class_from=class_from))
            for name in ("data", "data.zip", "data.tar")
        ]
        assert sources[0].entries == sources[1].entries == sources[2].entries
        assert sources[0].notes == sources[1].notes == sources[2].notes
        assert sources[0].layout.problem == sources[1].layout.problem == sources[2].layout.problem

    def test_archives_in_an_archive_are_named(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
            file.writestr("test.tar.gz", "x")
            file.writestr("train.zip", "x")
        found = error(tmp_path / "all.zip")
        assert found.message == f"No pictures in {tmp_path}/all.zip, but 2 archives: 'train.zip', 'test.tar.gz'."
        assert f"Unpack {tmp_path}/all.zip and give what is in it: kilat train {tmp_path}/all/train.zip" in found.hint

    def test_a_folder_of_archives(self, tmp_path):
        write(tmp_path, "train.zip", "test.zip")
        assert f"kilat train {tmp_path}/train.zip" in error(tmp_path).hint

    def test_an_archive_beside_class_folders_is_said(self, tmp_path):
        source = open_source(write(tmp_path, "a/1.jpg", "b/1.jpg", "more.7z"))
        assert [note.values for note in source.notes] == [{"archives": ["more.7z"]}]

    @pytest.mark.parametrize("name", ["data.rar", "data.7z", "data.tar.zst"])
    def test_those_that_kilat_does_not_read(self, tmp_path, name):
        found = error(write(tmp_path, name) / name)
        assert found.message == f"kilat does not read archives such as {tmp_path}/{name}."
        assert "Unpack it and give the folder" in found.hint

    def test_a_table_in_an_archive_is_to_be_unpacked(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
            for name in ("train/1.jpg", "test/1.jpg", "train_labels.csv"):
                file.writestr(name, JPEG)
        found = error(tmp_path / "all.zip")
        assert "There is a table in the archive: train_labels.csv." in found.message
        assert f"unpack {tmp_path}/all.zip, then: kilat train {tmp_path}/all/train_labels.csv" in found.hint
