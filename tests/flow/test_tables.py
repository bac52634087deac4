"""A table whose columns have to be said, from the command line to metrics.json, through every verb that reads one."""

import csv

import pytest

import kilat
from kilat import recipe as recipes
from kilat.data.reading import Reading
from kilat.verbs import run_folder


@pytest.fixture
def fruits(make_photos, tmp_path):
    """A table in a folder of its own, with two columns that may be labels, about pictures in another folder."""
    photos = make_photos(tmp_path / "photos", seed=4, temple=12, flower=12)
    (tmp_path / "lists").mkdir()
    rows = [
        (path.stem, path.parent.name, "ab"[number % 2]) for number, path in enumerate(sorted(photos.rglob("*.jpg")))
    ]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in photos.rglob("*.jpg"):
        path.rename(pictures / f"{path.parent.name}-{path.name}")
    table = tmp_path / "lists" / "fruits.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("id", "what", "who"), *((f"{what}-{stem}", what, who) for stem, what, who in rows)]
        )
    return table, pictures


def test_what_was_said_reaches_every_verb(fruits, tmp_path, kilat_here, json_lines):
    table, pictures = fruits
    refused = kilat_here("train", table, "--images", pictures, "--runs", tmp_path)
    assert refused.returncode == 2
    assert "may hold the labels: 'what', 'who'" in refused.stderr
    options = ("--label-column", "what", "--images", pictures)
    run = kilat.train(table, label_column="what", images=pictures, runs=tmp_path / "runs", test=0.5)
    assert list(run.metrics.data.classes) == ["flower", "temple"]
    sentence = "Table fruits.csv: pictures from column 'id' (ending '.jpg' added), labels from 'what'."
    assert sentence in run.metrics.sentences
    evaluated = kilat_here("eval", run.folder, table, *options, "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "table_read" in [note["code"] for note in json_lines(evaluated.stdout)[0]["metrics"]["notes"]]
    drifted = kilat_here("drift", run.folder, table, "--images", pictures, "--json")
    assert drifted.returncode in (0, 3), drifted.stderr
    assert json_lines(drifted.stdout)[0]["pictures"] == 24
    checked = kilat_here("check", table, *options, "--out", tmp_path / "checks")
    assert sentence in checked.stdout


def test_a_resumed_run_remembers_it(fruits, tmp_path, monkeypatch):
    table, pictures = fruits
    monkeypatch.chdir(pictures.parent)
    reading = Reading.of(label_column="what", images=pictures.name)
    folder = tmp_path / "runs" / "fruits"
    folder.mkdir(parents=True)
    start = run_folder.Start.of(table, None, None, "transfer", reading)
    run_folder.begin(folder, recipes.load("transfer", {}), start)
    assert run_folder.Start.read(folder).reading == Reading(label_column="what", images=str(pictures))
    monkeypatch.chdir(tmp_path / "runs")
    run = kilat.train(resume=folder)
    assert set(run.metrics.data.classes) == {"flower", "temple"}
