"""Training goes on after kills, stops and full disks, and ends with the bytes of a run that never stopped."""

import csv
import io
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import kilat
from kilat.errors import KilatError, RunError

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
        "epochs": 3, "batch": 64, "optimizer": "adam", "ema": 0.95, "checkpoint": 0,
        "schedule": {"name": "performance", "patience": 1, "factor": 0.5},
    },
}  # fmt: skip
STEPS = 3 * 16
TIMINGS = ("seconds", "pictures_per_second")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    from kilat import recipe as recipes

    file = tmp_path_factory.mktemp("recipe") / "small.yaml"
    file.write_text(recipes.load(RECIPE).to_yaml(), "utf-8")
    return file


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """A run that nobody disturbs."""
    return kilat.train("digits", recipe, runs=tmp_path_factory.mktemp("whole")).folder


def history(folder):
    rows = list(csv.DictReader(io.StringIO((folder / "history.csv").read_text("utf-8"))))
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


def tensors(folder):
    """Weights, mean, optimizer and best weights of the newest checkpoint."""
    file = max((folder / "checkpoints").glob("*.safetensors"))
    return file.name, file.read_bytes()


def steps(folder):
    """How many steps the newest checkpoint has behind it; -1 before there is any."""
    return max((int(file.stem[5:]) for file in (folder / "checkpoints").glob("step-*.json")), default=-1)


@pytest.fixture
def assert_equal(whole, assert_same_run) -> Callable[[Path], None]:
    def check(folder):
        assert tensors(folder) == tensors(whole)
        assert history(folder) == history(whole)
        assert_same_run(folder, whole)

    return check


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


def begun(folder, recipe):
    """A run folder as it is before the first picture is read."""
    from kilat.verbs import run_folder as run

    run.Start("digits", None, "small").write(folder)
    (folder / "recipe.yaml").write_bytes(recipe.read_bytes())
    return folder


def is_saving(folder):
    return any((folder / "checkpoints").glob(".step-*.partial"))


def test_killed_three_times(recipe, start, tmp_path, assert_equal):
    random = np.random.default_rng(7)
    folder = tmp_path / "digits"
    command = ("train", "digits", "--recipe", recipe, "--runs", tmp_path)
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
def test_told_to_stop(recipe, start, tmp_path, assert_equal, number, code):
    process = start("train", "digits", "--recipe", recipe, "--runs", tmp_path)
    folder = tmp_path / "digits"
    wait_until(lambda: steps(folder) >= 5, process)
    process.send_signal(number)
    printed, told = process.communicate(timeout=120)
    assert process.returncode == code
    assert printed == ""
    assert f"Stopped by {number.name}" in told
    assert "--resume" in told
    assert "Traceback" not in told
    kilat.train(resume=folder)
    assert_equal(folder)


def test_killed_before_the_first_checkpoint_and_while_the_report_was_written(recipe, whole, tmp_path, assert_equal):
    early = tmp_path / "early"
    early.mkdir()
    kilat.train(resume=begun(early, recipe))
    assert_equal(early)
    for file in ("metrics.json", "report.html", "predictions.csv"):
        (early / file).unlink()
    kilat.train(resume=early)
    assert_equal(early)


def test_streamed_from_the_disk(recipe, whole, tmp_path):
    run = kilat.train("digits", recipe, runs=tmp_path, **{"input.cache": "stream"})
    assert tensors(run.folder) == tensors(whole)
    assert history(run.folder) == history(whole)
    for name in ("predictions.csv", "catalog.csv"):
        assert (run.folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_what_cannot_go_on_is_said(recipe, whole, kilat_here, tmp_path):
    finished = kilat_here("train", "--resume", whole)
    assert finished.returncode == 2
    assert "is finished" in finished.stderr
    foreign = kilat_here("train", "--resume", tmp_path)
    assert foreign.returncode == 2
    assert "is not the folder of a run" in foreign.stderr
    folder = begun(tmp_path, recipe)
    for other in ({"epochs": 7}, {"recipe": "mlp-bn"}):
        with pytest.raises(KilatError, match="keeps its own recipe"):
            kilat.train(resume=folder, **other)


def test_pictures_that_changed_are_refused(make_photos, tmp_path):
    pictures = make_photos(tmp_path / "sights", seed=3, temple=15, flower=15)
    small = {**RECIPE, "input": {"size": 16}, "fit": {"epochs": 1}}
    folder = kilat.train(pictures, small, runs=tmp_path / "runs").folder
    (folder / "metrics.json").unlink()
    for gone in sorted(pictures.glob("temple/*"))[::3]:
        gone.unlink()
    with pytest.raises(RunError, match="pictures, or how they are split, were changed"):
        kilat.train(resume=folder)
    assert not (folder / "metrics.json").exists()


def test_a_full_disk_leaves_the_last_good_checkpoint(recipe, whole, cli, tmp_path, assert_equal):
    """A limit on the size of files stands in for a full disk: the first checkpoint, without optimizer, is smaller."""
    sizes = len(tensors(whole)[1])
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({sizes * 6 // 10}, {resource.RLIM_INFINITY}))"
    done = cli("train", "digits", "--recipe", recipe, "--runs", tmp_path, before=limit)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Make room" in done.stderr
    assert "Traceback" not in done.stderr
    folder = tmp_path / "digits"
    assert steps(folder) == 0
    assert not is_saving(folder)
    kilat.train(resume=folder)
    assert_equal(folder)


def test_a_time_limit_ends_with_a_finished_schedule_and_a_model(tmp_path):
    endless = {**RECIPE, "fit": {"epochs": 100_000, "schedule": "cosine"}, "runtime": {"time_limit": "13s"}}
    begin = time.monotonic()
    run = kilat.train("digits", endless, runs=tmp_path)
    assert time.monotonic() - begin < 60
    rates = [float(row["learning_rate"]) for row in history(run.folder)]
    assert run.metrics["fit"]["stop_reason"] == "time limit"
    assert rates[-1] < 0.05 * rates[0]
    assert len(run.classifier.classes) == 10
