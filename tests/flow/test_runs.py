"""``kilat runs``: what each run folder says of itself, whatever state it is in."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def runs(digits_run, photos_run, tmp_path):
    """A folder with two finished runs, two unfinished ones, broken ones, and what has nothing to do with runs."""
    folder = tmp_path / "runs"
    for run, name in ((digits_run, "digits"), (photos_run, "photos\tof a holiday")):
        shutil.copytree(run.folder, folder / name, ignore=shutil.ignore_patterns("model.onnx", "report.html"))
    for name in ("stopped", "begun", "from-python"):
        (folder / name).mkdir()
        shutil.copy(digits_run.folder / "run.json", folder / name)
    (folder / "stopped" / "history.csv").write_text("epoch,loss\n1,2.0\n2,1.5\n")
    python = folder / "from-python" / "run.json"
    python.write_text(python.read_text().replace('"data": "digits"', '"data": null'))
    (folder / "numbers").mkdir()
    (folder / "numbers" / "run.json").write_text('{"data": 5, "root": null, "network": "transfer"}')
    for name, content in (("cut", "{"), ("other", '{"schema": 1}')):
        (folder / name).mkdir()
        (folder / name / "metrics.json").write_text(content)
    (folder / "notes").mkdir()
    (folder / "list.txt").write_text("mine")
    return folder


def test_every_run_has_a_line_with_data_recipe_accuracy_and_time(kilat_here, runs, digits_run):
    done = kilat_here("runs", runs)
    assert done.returncode == 0
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["run", "data", "recipe", "accuracy", "(95%", "interval)", "time"]
    (line,) = [line for line in lines if line.startswith("digits ")]
    low, high = digits_run.metrics.test.accuracy_interval
    assert f"{digits_run.metrics.test.accuracy:.1%} ({low:.1%} to {high:.1%})" in line
    assert "transfer" in line
    assert any(line.startswith("photos\\tof a holiday  sights  ") for line in lines)
    assert not any(str(runs / name) in done.stdout for name in ("notes", "list.txt"))


def test_unfinished_ones_have_the_command_that_goes_on(kilat_here, runs):
    printed = kilat_here("runs", runs).stdout
    assert f"{runs / 'stopped'}: not finished (after 2 epochs)" in printed
    assert f"kilat train --resume {runs / 'begun'}" in printed
    assert f"kilat.train(data, labels=labels, resume='{runs / 'from-python'}')" in printed


def test_a_broken_one_is_a_sentence(kilat_here, runs):
    printed = kilat_here("runs", runs).stdout
    assert f"{runs / 'cut' / 'metrics.json'} cannot be read: it is not valid JSON, from line 1, column 2 on." in printed
    assert f"{runs / 'other' / 'metrics.json'} was not written by this version of kilat" in printed
    assert f"{runs / 'numbers'} is not the folder of a run that was begun" in printed


def test_as_json(kilat_here, json_lines, runs, digits_run):
    (document,) = json_lines(kilat_here("runs", runs, "--json").stdout)
    finished = {run["name"]: run for run in document["runs"]}
    assert finished.keys() == {"digits", "photos\tof a holiday"}
    assert finished["digits"]["accuracy"] == digits_run.metrics.test.accuracy
    assert finished["digits"]["accuracy_interval"] == list(digits_run.metrics.test.accuracy_interval)
    assert (finished["digits"]["data"], finished["digits"]["part"]) == ("digits", "test")
    assert {run["name"]: run["epochs"] for run in document["unfinished"]} == {
        "stopped": 2, "begun": 0, "from-python": 0,
    }  # fmt: skip
    assert {run["name"] for run in document["broken"]} == {"cut", "other", "numbers"}


def test_one_run_alone_an_empty_folder_and_none(kilat_here, runs, tmp_path):
    assert len(kilat_here("runs", runs / "digits").stdout.splitlines()) == 2
    assert "There are no runs in" in kilat_here("runs", runs / "notes").stdout
    done = kilat_here("runs", tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no folder" in done.stderr


def test_neither_pandas_nor_a_model_is_loaded_for_it():
    """What takes long to import is not needed to read what runs say of themselves."""
    code = "import sys, kilat.cli, kilat.verbs.runs; print({'pandas', 'onnxruntime', 'torch', 'rich'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=Path("/")).strip() == "set()"
