"""``kilat eval`` and ``kilat.evaluate``: the same measures on other labelled pictures."""

import json
import re
import shutil
from pathlib import Path

import onnx
import pytest

import kilat
from kilat.bundle import training_digests
from kilat.errors import ModelFileError, SourceError


def copied(source, target, count):
    target.mkdir(parents=True)
    for path in sorted(source.iterdir())[:count]:
        shutil.copy(path, target)


def rows_of(run, *splits):
    catalog = run.catalog
    return catalog.loc[catalog["split"].isin(splits), ["path", "label"]].itertuples(index=False)


def test_on_its_own_data_a_model_is_measured_on_its_test_pictures_as_in_training(
    photos, photos_run, kilat_here, tmp_path
):
    evaluation, before = kilat.evaluate(photos_run.folder, photos), photos_run.metrics
    again = evaluation.test
    for name in ("n", "accuracy", "accuracy_interval", "balanced_accuracy", "confusion"):
        assert getattr(again, name) == getattr(before.test, name), name
    for name in ("log_loss", "brier"):
        assert getattr(again, name) == pytest.approx(getattr(before.test, name), abs=1e-3), name
    rest = before.data.used - before.test.n
    assert (evaluation.data.used, evaluation.data.train, evaluation.data.test) == (100, rest, before.test.n)
    assert (evaluation.train.n, evaluation.train.accuracy) == (rest, 1.0)
    assert evaluation.notes == []
    done = kilat_here("eval", photos_run.folder, photos)
    assert re.search(r"^Classifying pictures.* 100 pictures", done.stderr, re.MULTILINE)
    printed = done.stdout
    assert printed.startswith("100 pictures of 2 classes, 0 refused; ")
    assert f"on {before.test.n} test pictures" in printed
    assert f"{rest} more pictures are no test: the model was trained on them (accuracy 100.0%)" in printed
    assert "evaluation.html" in printed.splitlines()[-1]
    page = (tmp_path / "evaluation.html").read_text("utf-8")
    assert f"of {before.test.n} test pictures are answered rightly" in page
    assert "That agrees with the test of its own run" in page
    assert "data:image/jpeg;base64," in page
    assert "kilat eval " in page


def test_a_model_that_was_trained_on_all_pictures_is_not_measured(photos, photos_run, tmp_path, kilat_here):
    for path, label in rows_of(photos_run, "train"):
        (tmp_path / label).mkdir(exist_ok=True)
        shutil.copy(photos / path, tmp_path / label)
    done = kilat_here("eval", photos_run.folder / "model.onnx", tmp_path, "--corruptions", "--quiet")
    assert done.returncode == 0
    assert done.stderr == ""
    count = photos_run.metrics.data.train
    assert "There are no pictures to test on." in done.stdout
    assert f"{count} more pictures are no test" in done.stdout
    assert "test picture" not in done.stdout.replace("no pictures to test on", "")
    evaluation = kilat.evaluate(photos_run.folder, tmp_path, corruptions=True)
    assert (evaluation.test.n, evaluation.test.accuracy, evaluation.data.test) == (0, None, 0)
    assert evaluation.train.n == evaluation.data.used == count
    assert evaluation.robustness is None


def test_under_a_wrong_class_pictures_of_the_training_are_not_unknown(photos, photos_run, other_photos, tmp_path):
    copied(other_photos / "temple", tmp_path / "temple", 4)
    copied(other_photos / "flower", tmp_path / "plant", 3)
    for path, _label in list(rows_of(photos_run, "train"))[:5]:
        shutil.copy(photos / path, tmp_path / "plant" / f"trained-on-{Path(path).name}")
    evaluation = kilat.evaluate(photos_run.folder, tmp_path)
    assert evaluation.data.reasons == {"unknown_class": 8}
    assert evaluation.test.unknown.other_classes.n == 3
    assert evaluation.train is None


def test_a_file_that_does_not_say_what_it_was_trained_on(photos_run, other_photos, tmp_path):
    model = onnx.load(photos_run.folder / "model.onnx")
    kept = {one.key: one.value for one in model.metadata_props if one.key != training_digests.KEY}
    for name, more in (("old", {}), ("damaged", {training_digests.KEY: "AAAA"})):
        onnx.helper.set_model_props(model, kept | more)
        onnx.save(model, tmp_path / f"{name}.onnx")
    evaluation = kilat.evaluate(tmp_path / "old.onnx", other_photos)
    assert [note.code for note in evaluation.notes] == ["training_pictures_unknown"]
    assert evaluation.test.n == 24
    with pytest.raises(ModelFileError, match="damaged digests of its training pictures"):
        kilat.evaluate(tmp_path / "damaged.onnx", other_photos)


def test_the_command(kilat_here, photos_run, other_photos, json_lines):
    done = kilat_here("eval", photos_run.folder / "model.onnx", other_photos, "--json")
    assert done.returncode == 0, done.stderr
    (printed,) = json_lines(done.stdout)
    assert printed["model"] == str(photos_run.folder / "model.onnx")
    metrics = printed["metrics"]
    assert metrics["schema"] == 1
    assert metrics["notes"] == []
    counts = {"used": 24, "refused": 0, "reasons": {}, "train": 0, "test": 24}
    assert metrics["data"] == counts | {"classes": ["flower", "temple"]}
    assert metrics["test"]["n"] == 24
    assert metrics["test"]["accuracy"] > 0.9
    assert json.loads(json.dumps(metrics["timing"]))["total_s"] > 0


def test_the_command_in_sentences(kilat_here, photos_run, other_photos, tmp_path):
    done = kilat_here("eval", photos_run.folder, other_photos)
    assert done.returncode == 0
    assert "24 test pictures" in done.stdout
    for model, data in ((photos_run.folder, tmp_path / "gone"), (tmp_path / "gone", other_photos)):
        failed = kilat_here("eval", model, data)
        assert failed.returncode == 2
        assert "gone" in failed.stderr
        assert "Traceback" not in failed.stderr


def test_an_unknown_class_is_left_out_and_named(photos_run, other_photos, tmp_path, kilat_here):
    copied(other_photos / "temple", tmp_path / "temple", 4)
    copied(other_photos / "flower", tmp_path / "flowr", 3)
    evaluation = kilat.evaluate(photos_run.folder, tmp_path)
    assert evaluation.data.used == evaluation.test.n == 4
    assert evaluation.data.refused == 3
    assert evaluation.data.reasons == {"unknown_class": 3}
    (note,) = evaluation.notes
    assert note.code == "unknown_class"
    assert note.values == {"count": 3, "label": "flowr", "classes": ["flower"]}
    printed = kilat_here("eval", photos_run.folder, tmp_path).stdout
    assert "3 pictures of class “flowr” were left out: the model has no such class, but 'flower'." in printed


def test_one_class_is_enough(photos_run, other_photos, tmp_path):
    copied(other_photos / "temple", tmp_path / "temple", 5)
    test = kilat.evaluate(photos_run.folder, tmp_path).test
    assert test.n == 5
    assert test.per_class["temple"].support == 5
    assert test.per_class["flower"].recall is None


def test_of_ready_made_splits_only_the_test_split_is_used(photos_run, photos, other_photos, tmp_path, kilat_here):
    for label in ("temple", "flower"):
        copied(photos / label, tmp_path / "train" / label, 6)
        copied(other_photos / label, tmp_path / "test" / label, 4)
    evaluation = kilat.evaluate(photos_run.folder, tmp_path)
    assert evaluation.test.n == 8
    assert evaluation.data.refused == 12
    assert evaluation.data.reasons == {"other_split": 12}
    (note,) = evaluation.notes
    assert note.code == "other_split"
    assert note.values == {"count": 12, "splits": ["train"]}
    printed = kilat_here("eval", photos_run.folder, tmp_path).stdout
    assert "12 pictures of other splits ('train') were left out" in printed


def test_duplicates_count_once_and_broken_pictures_are_named(photos_run, other_photos, tmp_path):
    copied(other_photos / "temple", tmp_path / "temple", 4)
    first = next((tmp_path / "temple").iterdir())
    shutil.copy(first, tmp_path / "temple" / "copy.jpg")
    (tmp_path / "temple" / "empty.jpg").write_bytes(b"")
    evaluation = kilat.evaluate(photos_run.folder, tmp_path)
    assert evaluation.data.used == evaluation.test.n == 4
    assert evaluation.data.refused == 2
    assert evaluation.data.reasons == {"duplicate": 1, "empty_file": 1}
    assert sorted(note.values["code"] for note in evaluation.notes) == ["duplicate", "empty_file"]


def test_of_many_unknown_classes_the_commonest_are_named_and_the_others_counted(photos_run, other_photos, tmp_path):
    copied(other_photos / "temple", tmp_path / "temple", 4)
    for number, path in enumerate(sorted((other_photos / "flower").iterdir())[:8]):
        (tmp_path / f"class{number % 7}").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / f"class{number % 7}")
    notes = kilat.evaluate(photos_run.folder, tmp_path).notes
    assert [note.code for note in notes] == ["unknown_class"] * 5 + ["unknown_class_more"]
    assert notes[0].values["label"] == "class0"
    assert notes[-1].values == {"count": 2, "pictures": 2}


def test_no_picture_of_a_known_class(photos_run, other_photos, tmp_path):
    copied(other_photos / "temple", tmp_path / "zebra", 3)
    with pytest.raises(SourceError, match="None of the 3 pictures"):
        kilat.evaluate(photos_run.folder, tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelFileError):
        kilat.evaluate(tmp_path, other_photos)


@pytest.mark.data
def test_flowers_that_were_held_out(flowers, tmp_path):
    """A model trained on part of the photos is measured on the rest."""
    for label in sorted(path.name for path in flowers.iterdir() if path.is_dir()):
        pictures = sorted((flowers / label).glob("*.jpg"))
        for split, some in (("train", pictures[:60]), ("other", pictures[60:90])):
            (tmp_path / split / label).mkdir(parents=True)
            for picture in some:
                (tmp_path / split / label / picture.name).symlink_to(picture)
    run = kilat.train(tmp_path / "train", runs=tmp_path / "runs")
    test = kilat.evaluate(run.folder, tmp_path / "other").test
    assert test.n == 150
    assert test.accuracy > 0.8
