"""Several processes train as one would, stop as one, and say what went wrong; devices that are not here are refused."""

import csv
import io
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.numpy import load_file  # noqa: E402

import kilat  # noqa: E402
from kilat import recipe as recipes  # noqa: E402
from kilat.errors import RecipeError, RunError  # noqa: E402
from kilat.fit.distributed.launch import HELPER  # noqa: E402
from kilat.learn.device import inference_device  # noqa: E402

# The last batch of an epoch has two pictures for three processes: one of them computes a picture that does not count.
RECIPE = {
    "data": {"test": 0.3, "validation": 0.2, "near_duplicates": "apart"},
    "input": {"size": 8, "colour": "grey", "cache": "stream"},
    "augment": {"rotation": 10, "width_shift": 0.1, "mixup": 0.2},
    "model": {
        "activation": "gelu",  # smooth, so that float errors are not magnified where slopes jump
        "layers": [
            {"conv": {"filters": 8, "padding": "same"}}, "batch_norm", "avg_pool", "flatten", {"dense": 16},
            {"dense": "classes"},
        ],
    },
    "fit": {
        "epochs": 4, "batch": 61, "optimizer": {"name": "nesterov", "learning_rate": 0.05}, "ema": 0.9,
        "clip": {"global_norm": 1}, "precision": "fp32", "class_weight": "balanced", "checkpoint": 0, "watch": "layers",
    },
}  # fmt: skip
TIMINGS = ("seconds", "pictures_per_second")

needs_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")


def children(of: int) -> list[int]:
    """The processes that a process has started and that are still there."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == of and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def history(folder: Path) -> list[dict[str, float]]:
    rows = csv.DictReader(io.StringIO((folder / "history.csv").read_text("utf-8")))
    return [{key: float(value) for key, value in row.items() if key not in TIMINGS} for row in rows]


def newest(folder: Path) -> dict[str, np.ndarray]:
    return load_file(max((folder / "checkpoints").glob("*.safetensors")))


def until(happened, process):
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    file = tmp_path_factory.mktemp("recipe") / "small.yaml"
    file.write_text(recipes.load(RECIPE).to_yaml(), "utf-8")
    return file


@pytest.fixture(scope="module")
def several(small_digits, tmp_path_factory):
    return kilat.train(small_digits, RECIPE, runs=tmp_path_factory.mktemp("runs"), name="several", devices=3)


def test_three_processes_are_as_one(small_digits, several, tmp_path):
    one = kilat.train(small_digits, RECIPE, runs=tmp_path, name="one")
    assert one.metrics.data.train % 61 == 2
    for row, same in zip(history(several.folder), history(one.folder), strict=True):
        assert row == pytest.approx(same, rel=1e-4)
    shared, alone = newest(several.folder), newest(one.folder)
    assert shared.keys() == alone.keys()
    for name, value in alone.items():
        assert np.abs(shared[name] - value).max() <= 1e-4 * np.abs(value).max() + 1e-6, name
    assert {path.name for path in several.folder.iterdir()} == {path.name for path in one.folder.iterdir()}
    assert several.metrics.test.log_loss == pytest.approx(one.metrics.test.log_loss, rel=1e-3)
    layers, numbers = several.layers, several.layers.columns.drop(["layer", "kind"])
    assert list(layers["layer"]) == list(one.layers["layer"])
    assert layers[numbers].to_numpy() == pytest.approx(one.layers[numbers].to_numpy(), rel=1e-2, abs=1e-4, nan_ok=True)
    assert several.metrics.fit.devices == 3
    assert several.metrics.parity.pictures > 0
    assert torch.get_num_threads() == 1


@needs_proc
def test_nobody_is_left_behind(several):
    assert several.folder.is_dir()
    assert not [child for child in children(os.getpid()) if HELPER in command(child)]


def command(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text("utf-8", "replace")
    except OSError:
        return ""


@pytest.mark.slow  # five processes are started, stopped, and started again
@needs_proc
def test_told_to_stop_all_stop_and_resume_to_the_same_bytes(small_digits, several, start, recipe, tmp_path):
    process = start("train", small_digits, "--recipe", recipe, "--devices", 3, "--runs", tmp_path, "--name", "several")
    folder = tmp_path / "several"
    until(lambda: list(folder.glob("checkpoints/*.json")), process)
    helpers = children(process.pid)
    os.kill(helpers[1], signal.SIGTERM)  # whichever of them gets it
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert printed == ""
    assert "Stopped by SIGTERM; everything up to here is saved" in errors
    assert "Traceback" not in errors
    assert len(helpers) == 2
    assert not any(Path(f"/proc/{helper}").exists() for helper in helpers)
    again = kilat.train(resume=folder)
    assert history(again.folder) == history(several.folder)
    for name, value in newest(several.folder).items():
        assert newest(again.folder)[name].tobytes() == value.tobytes(), name


@pytest.mark.slow  # three processes are started
@needs_proc
def test_a_helper_that_is_killed_ends_in_a_sentence(small_digits, start, recipe, tmp_path):
    many = ("--devices", 2, "--epochs", 400, "--runs", tmp_path)
    process = start("train", small_digits, "--recipe", recipe, *many)
    until((tmp_path / "digits" / "history.csv").exists, process)
    (helper,) = children(process.pid)
    os.kill(helper, signal.SIGKILL)
    _printed, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "Process 2 of 2 was ended from outside (SIGKILL)" in errors
    assert "Traceback" not in errors


def test_a_frozen_backbone_needs_one_device(small_digits, tmp_path):
    with pytest.raises(RecipeError, match=r"runtime\.devices: a frozen backbone runs on one device"):
        kilat.train(small_digits, runs=tmp_path, devices=2)
    with pytest.raises(RecipeError, match=r"runtime\.devices"):
        kilat.train(small_digits, RECIPE, runs=tmp_path, devices=0)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU here")
def test_devices_that_are_not_here(small_digits, tmp_path):
    with pytest.raises(RunError, match="no Apple GPU"):
        kilat.train(small_digits, RECIPE, runs=tmp_path, device="mps")
    with pytest.raises(RunError, match="torch_xla, which is not installed"):
        kilat.train(small_digits, RECIPE, runs=tmp_path, device="xla")
    assert not list(tmp_path.iterdir())
    assert inference_device("mps") == inference_device("xla") == "cpu"
