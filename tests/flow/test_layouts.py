"""Folders as people bring them, through whole verbs: what was read into them is on the terminal and in the metrics."""

import json
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40))


def fill(folder: Path, kind: int, count: int, start: int = 0) -> None:
    """Write pictures of one kind: noise of its own colour."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        noise = np.random.default_rng([kind, number, len(str(folder.name))]).integers(-40, 40, (24, 24, 3))
        Image.fromarray(np.clip(np.array(COLOURS[kind]) + noise, 0, 255).astype(np.uint8)).save(
            folder / f"{number:03}.png"
        )


def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text("utf-8"))


def note_codes(run: Path) -> list[str]:
    return [note["code"] for note in metrics(run)["notes"]]


def test_splits_under_other_names_are_kept(kilat_here, tmp_path):
    for split, count in (("training", 12), ("testing", 5)):
        for kind in range(3):
            fill(tmp_path / "data" / split / str(kind), kind, count, start=100 * (split == "testing"))
    done = kilat_here("train", tmp_path / "data", "--runs", tmp_path / "runs")
    assert done.returncode == 0
    assert "The folders are taken for a split: 'testing' (test), 'training' (train)." in done.stdout
    found = metrics(tmp_path / "runs/data")
    assert found["data"]["classes"] == ["0", "1", "2"]
    assert (found["test"]["n"], found["data"]["refused"]) == (15, 0)
    assert "The folders are taken for a split" in (tmp_path / "runs/data/report.html").read_text("utf-8")


def test_without_a_training_folder_the_validation_pictures_train(kilat_here, tmp_path):
    for split, count in (("val", 12), ("test", 5)):
        for kind, name in enumerate(("cat", "dog")):
            fill(tmp_path / "data" / split / name, kind, count, start=100 * (split == "test"))
    done = kilat_here("train", tmp_path / "data", "--runs", tmp_path / "runs")
    assert (
        "There is no training folder with classes: the pictures in 'val' count as training pictures "
        "(validated by cross-validation), those in 'test' as the test set."
    ) in done.stdout
    found = metrics(tmp_path / "runs/data")
    assert found["data"]["classes"] == ["cat", "dog"]
    assert (found["test"]["n"], found["validation"]["n"]) == (10, 24)


@pytest.fixture
def hierarchy(tmp_path) -> Path:
    for kind, folder in enumerate(("a/airfield", "a/alley", "b/bank/indoor", "b/bank/outdoor")):
        fill(tmp_path / "places" / folder, kind, 12)
    return tmp_path / "places"


def test_classes_that_hold_only_folders(kilat_here, hierarchy, tmp_path):
    done = kilat_here("train", hierarchy, "--runs", tmp_path / "runs")
    assert (
        "The classes 'a', 'b' hold only folders: 'airfield', 'alley', 'indoor', 'outdoor'. If these are the classes, "
        "add --class-from last-folder."
    ) in done.stdout
    assert metrics(tmp_path / "runs/places")["data"]["classes"] == ["a", "b"]


def test_the_last_folders_as_classes_in_every_verb(kilat_here, hierarchy, tmp_path):
    leaves = ["airfield", "alley", "indoor", "outdoor"]
    done = kilat_here("train", hierarchy, "--class-from", "last-folder", "--runs", tmp_path / "runs")
    run = tmp_path / "runs/places"
    assert done.returncode == 0
    assert metrics(run)["data"]["classes"] == leaves
    assert note_codes(run) == []
    evaluated = json.loads(kilat_here("eval", run, hierarchy, "--class-from", "last-folder", "--json").stdout)
    assert evaluated["metrics"]["data"]["refused"] == 0
    checked = json.loads(
        kilat_here("check", hierarchy, "--class-from", "last-folder", "--out", tmp_path, "--json").stdout
    )
    assert checked["data"]["classes"] == dict.fromkeys(leaves, 12)


def test_a_resumed_run_reads_its_folders_as_it_began(kilat_here, hierarchy, tmp_path):
    kilat_here("train", hierarchy, "--class-from", "folders", "--runs", tmp_path / "runs")
    run = tmp_path / "runs/places"
    (run / "metrics.json").unlink()
    assert kilat_here("train", "--resume", run).returncode == 0
    assert metrics(run)["data"]["classes"] == ["a/airfield", "a/alley", "b/bank/indoor", "b/bank/outdoor"]


def test_flat_splits_name_their_table_with_a_command_that_works(kilat_here, tmp_path, monkeypatch):
    fill(tmp_path / "my data/train", 0, 15)
    fill(tmp_path / "my data/train", 1, 15, start=15)
    fill(tmp_path / "my data/test", 0, 5, start=50)
    rows = {"path": [f"train/{i:03}.png" for i in range(30)], "label": ["a"] * 15 + ["b"] * 15}
    pd.DataFrame(rows).to_csv(tmp_path / "my data/train_labels.csv", index=False)
    monkeypatch.chdir(tmp_path)
    done = kilat_here("train", "my data")
    assert done.returncode == 2
    assert "named like a split" in done.stderr
    command = next(line for line in done.stderr.splitlines() if line.startswith("To use it: ")).partition(": ")[2]
    assert command == "kilat train 'my data/train_labels.csv'"
    assert kilat_here(*shlex.split(command)[1:]).returncode == 0
    assert metrics(tmp_path / "runs/train_labels")["data"]["classes"] == ["a", "b"]


def test_an_archive_in_an_archive_is_named(kilat_here, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("train.zip", b"PK")
    done = kilat_here("train", tmp_path / "all.zip")
    assert done.returncode == 2
    assert "No pictures in" in done.stderr
    assert "but an archive: 'train.zip'." in done.stderr
