"""``kilat eval`` and ``kilat.evaluate``: the same measures on other labelled pictures."""

import json
import shutil

import pandas as pd
import pytest

import kilat
from kilat.errors import ModelFileError, SourceError


def copied(source, target, count):
    target.mkdir(parents=True)
    for path in sorted(source.iterdir())[:count]:
        shutil.copy(path, target)


def test_the_same_measures_as_training_on_the_same_pictures(photos, photos_run, tmp_path):
    catalog = pd.read_csv(photos_run.folder / "catalog.csv")
    for path, label in catalog.loc[catalog["split"] == "test", ["path", "label"]].itertuples(index=False):
        (tmp_path / label).mkdir(exist_ok=True)
        shutil.copy(photos / path, tmp_path / label)
    again, before = kilat.evaluate(photos_run.folder, tmp_path).test, photos_run.metrics.test
    for name in ("n", "accuracy", "accuracy_interval", "balanced_accuracy", "confusion"):
        assert getattr(again, name) == getattr(before, name), name
    for name in ("log_loss", "brier"):
        assert getattr(again, name) == pytest.approx(getattr(before, name), abs=1e-3), name


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


def test_of_ready_made_splits_only_the_test_split_is_used(photos_run, photos, other_photos, tmp_path):
    for label in ("temple", "flower"):
        copied(photos / label, tmp_path / "train" / label, 6)
        copied(other_photos / label, tmp_path / "test" / label, 4)
    evaluation = kilat.evaluate(photos_run.folder, tmp_path)
    assert evaluation.test.n == 8
    assert evaluation.data.refused == 12
    assert evaluation.data.reasons == {"other_split": 12}


def test_duplicates_count_once_and_broken_pictures_are_named(photos_run, other_photos, tmp_path):
    copied(other_photos / "temple", tmp_path / "temple", 4)
    first = next((tmp_path / "temple").iterdir())
    shutil.copy(first, tmp_path / "temple" / "copy.jpg")
    (tmp_path / "temple" / "empty.jpg").write_bytes(b"")
    evaluation = kilat.evaluate(photos_run.folder, tmp_path)
    assert evaluation.data.used == evaluation.test.n == 4
    assert evaluation.data.refused == 2
    assert evaluation.data.reasons == {"duplicate": 1, "empty_file": 1}


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
