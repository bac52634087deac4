"""Training resumes after kills, stops and full disks, and ends with the bytes of a run that never stopped."""

import csv
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import kilat
from kilat import recipe as recipes
from kilat.errors import KilatError, RunError
from kilat.learn.network import TrainingOptions
from kilat.runtime.timer import Timer
from kilat.verbs import run_folder, train
from kilat.verbs.open_data import open_data

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and limits")

RECIPE = {
    "data": {"test": 0.3, "validation": 0.2},
    "input": {"size": 8, "colour": "grey"},
    "augment": {"rotation": 10, "width_shift": 0.1, "cutout": 2},
    "model": {
        "layers": [
            {"conv": {"filters": 8, "padding": "same"}}, "batch_norm", "max_pool", "flatten",
            {"dense": 16}, {"dropout": 0.2}, {"dense": "classes"},
        ],
    },
    "fit": {
        "epochs": 3, "batch": 8, "optimizer": "adam", "ema": 0.95, "checkpoint": 0,
        "schedule": {"name": "performance", "patience": 1, "factor": 0.5},
    },
}  # fmt: skip
STEPS = 3 * 16
TIMINGS = ("seconds", "pictures_per_second")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    file = tmp_path_factory.mktemp("recipe") / "small.yaml"
    file.write_text(recipes.load(RECIPE).to_yaml(), "utf-8")
    return file


@pytest.fixture(scope="module")
def whole(small_digits, recipe, tmp_path_factory):
    """A run that was never stopped."""
    folder = kilat.train(small_digits, recipe, runs=tmp_path_factory.mktemp("whole")).folder
    assert steps(folder) == STEPS
    return folder


def history(folder):
    rows = list(csv.DictReader(io.StringIO((folder / "history.csv").read_text("utf-8"))))
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


def tensors(folder):
    """Weights, their averages, optimizer and best weights of the newest checkpoint."""
    file = max((folder / "checkpoints").glob("*.safetensors"))
    return file.name, file.read_bytes()


def steps(folder):
    """How many updates are before the newest checkpoint; -1 where there is none."""
    return max((int(file.stem[5:]) for file in (folder / "checkpoints").glob("step-*.json")), default=-1)


@pytest.fixture
def assert_equal(whole, assert_same_run) -> Callable[[Path], None]:
    def check(folder):
        assert tensors(folder) == tensors(whole)
        assert history(folder) == history(whole)
        assert_same_run(folder, whole)

    return check


def wait_until(happened: Callable[[], bool], process: Any) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


def start_folder(folder, data, recipe):
    """A run folder as it is before the first picture is read."""
    run_folder.begin(folder, recipes.load(recipe), run_folder.Start(str(data), None, "small"))
    return folder


def is_saving(folder):
    return any((folder / "checkpoints").glob(".step-*.partial"))


@pytest.mark.slow  # four processes are started, one after the other
def test_killed_three_times(small_digits, recipe, start, tmp_path, assert_equal):
    random = np.random.default_rng(7)
    folder = tmp_path / "digits"
    command = ("train", small_digits, "--recipe", recipe, "--runs", tmp_path)
    for number, goal in enumerate(np.sort(random.integers(0, STEPS - 4, 3))):
        process = start(*command)
        wait_until(lambda goal=goal: steps(folder) >= goal, process)
        if number == 1:  # in the middle of a save
            wait_until(lambda goal=goal: is_saving(folder) or steps(folder) > goal + 8, process)
        process.kill()
        process.communicate()
        assert not (folder / "metrics.json").exists()
        command = ("train", "--resume", folder)
    assert kilat.train(resume=folder).folder == folder
    assert_equal(folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_told_to_stop(small_digits, recipe, start, tmp_path, assert_equal, number, code):
    process = start("train", small_digits, "--recipe", recipe, "--runs", tmp_path)
    folder = tmp_path / "digits"
    wait_until(lambda: steps(folder) >= 5, process)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert printed == ""
    assert f"Stopped by {number.name}; everything up to here is saved." in errors
    assert f"Go on with it:\n  kilat train --resume {folder}\n" in errors
    assert "Traceback" not in errors
    assert steps(folder) < STEPS
    kilat.train(resume=folder)
    assert_equal(folder)


def test_two_at_once_on_one_run(small_digits, recipe, start, kilat_here, tmp_path, json_lines, assert_equal):
    """The second one is told so, whatever it wants; whoever is killed holds nothing."""
    folder = tmp_path / "digits"
    first = start("train", small_digits, "--recipe", recipe, "--runs", tmp_path)
    wait_until(lambda: steps(folder) >= 3, first)
    first.send_signal(signal.SIGSTOP)
    refused = kilat_here("train", "--resume", folder)
    assert refused.returncode == 2
    assert f"{folder} is in use: process {first.pid} works in it.\nWait until it is done" in refused.stderr
    assert f"{folder}: still trains (" in kilat_here("runs", tmp_path).stdout
    (listed,) = json_lines(kilat_here("runs", tmp_path, "--json").stdout)[0]["unfinished"]
    assert listed["training"]
    for verb in ("report", "compare"):
        done = kilat_here(verb, folder)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"It still trains (process {first.pid}); wait until it is done." in done.stderr
    first.kill()
    first.communicate()
    assert (folder / ".lock").exists()
    assert f"{folder}: not finished (" in kilat_here("runs", tmp_path).stdout
    kilat.train(resume=folder)
    assert not (folder / ".lock").exists()
    assert_equal(folder)


def test_killed_before_the_first_checkpoint_and_while_the_report_was_written(
    small_digits, recipe, whole, tmp_path, assert_equal
):
    early = tmp_path / "early"
    early.mkdir()
    kilat.train(resume=start_folder(early, small_digits, recipe))
    assert_equal(early)
    for file in ("metrics.json", "report.html", "predictions.csv"):
        (early / file).unlink()
    kilat.train(resume=early)
    assert_equal(early)


def test_streamed_from_the_disk(small_digits, recipe, whole, tmp_path):
    run = kilat.train(small_digits, recipe, runs=tmp_path, **{"input.cache": "stream"})
    assert tensors(run.folder) == tensors(whole)
    assert history(run.folder) == history(whole)
    for name in ("predictions.csv", "catalog.csv"):
        assert (run.folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_what_cannot_be_resumed_is_refused(small_digits, recipe, whole, kilat_here, tmp_path):
    finished = kilat_here("train", "--resume", whole)
    assert finished.returncode == 2
    assert "is finished" in finished.stderr
    foreign = kilat_here("train", "--resume", tmp_path)
    assert foreign.returncode == 2
    assert "is not the folder of a run" in foreign.stderr
    folder = start_folder(tmp_path, small_digits, recipe)
    for other in ({"epochs": 7}, {"recipe": "mlp-bn"}):
        with pytest.raises(KilatError, match="keeps its own recipe"):
            kilat.train(resume=folder, **other)


def test_a_checkpoint_of_another_version_is_refused(small_digits, recipe, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "digits")
    (folder / "metrics.json").unlink()
    for file in (folder / "checkpoints").glob("*.json"):
        document = json.loads(file.read_text("utf-8"))
        del document["digest"]
        document["document"]["state"]["of_a_later_version"] = 1
        digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()
        file.write_text(json.dumps({"digest": digest, **document}), "utf-8")
    with pytest.raises(RunError, match="was not written by this version of kilat") as refused:
        kilat.train(resume=folder)
    assert "start a new run without --resume" in refused.value.hint


def test_pictures_that_changed_are_refused(make_photos, tmp_path):
    pictures = make_photos(tmp_path / "sights", seed=3, temple=15, flower=15)
    small = {**RECIPE, "input": {"size": 16}, "fit": {"epochs": 1}}
    folder = kilat.train(pictures, small, runs=tmp_path / "runs").folder
    (folder / "metrics.json").unlink()
    for gone in sorted(pictures.glob("temple/*"))[::3]:
        gone.unlink()
    with pytest.raises(RunError, match="its pictures, or how they are split, have changed"):
        kilat.train(resume=folder)
    assert not (folder / "metrics.json").exists()


def test_a_full_disk_leaves_the_last_good_checkpoint(small_digits, recipe, whole, start, tmp_path, assert_equal):
    """A limit on the size of files stands in for a full disk: the first checkpoint, without optimizer, is smaller."""
    size = len(tensors(whole)[1])
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size * 6 // 10}, {resource.RLIM_INFINITY}))"
    process = start("train", small_digits, "--recipe", recipe, "--runs", tmp_path, before=limit)
    _printed, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "cannot be written" in errors
    assert "Free some space" in errors
    assert "Traceback" not in errors
    folder = tmp_path / "digits"
    assert steps(folder) == 0
    assert not is_saving(folder)
    kilat.train(resume=folder)
    assert_equal(folder)


def test_a_time_limit_ends_with_a_finished_schedule_and_a_model(small_digits, tmp_path):
    class Clock:
        """Ten milliseconds pass at every call."""

        time = 0.0

        def __call__(self):
            self.time += 0.01
            return self.time

    endless = {**RECIPE, "fit": {"epochs": 100_000, "schedule": "cosine"}, "runtime": {"time_limit": "14s"}}
    clock, rows = Clock(), []
    source = open_data(small_digits)
    outcome = train.fit(
        source, recipes.load(endless), Timer(clock), options=TrainingOptions(tmp_path, on_epoch=rows.append)
    )
    assert outcome.sections["fit"]["stop_reason"] == "time_limit"
    assert rows[-1]["learning_rate"] < 0.05 * rows[0]["learning_rate"]
    assert len(outcome.classifier.classes) == 10
    assert clock.time < 14
