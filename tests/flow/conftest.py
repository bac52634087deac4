"""What tests of whole verbs share: the command in a process of its own, real photos, one trained run of each kind."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

import kilat
from kilat import Run
from kilat.cli import main

Done = subprocess.CompletedProcess[str]
Cli = Callable[..., Done]
Start = Callable[..., "Started"]


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs the command line in a process of its own; ``before`` is Python that runs first, ``env`` is added."""

    def run(*arguments: object, before: str = "", cwd: Path | None = None, env: dict[str, str] | None = None) -> Done:
        command = [sys.executable, "-c", f"{before}\nfrom kilat.cli import main; main()", *map(str, arguments)]
        environment = {**os.environ, **(env or {})}
        return subprocess.run(
            command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=240, check=False
        )

    return run


@pytest.fixture
def kilat_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs the command line inside this process, which is quicker: for what depends on nothing left in memory.

    What is written into the current folder by default, such as pages, goes to the test's own.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # so that no sentence of the option parser is broken into lines

    def run(*arguments: object) -> Done:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["kilat", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(sys.argv, code, printed.out, printed.err)

    return run


# A fresh interpreter takes seconds to import torch and kilat; processes that are only started to be stopped are forked
# from one that has done so.
FORKS = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
COMMAND = """
import os, sys
os.environ.clear()
os.environ.update(environment)
for descriptor, path in ((1, out), (2, err)):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
sys.argv = ["kilat", *arguments]
exec(before)
from kilat.cli import main
main()
"""


class Started:
    """A command line that runs in a process of its own, with the methods of ``subprocess.Popen``."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], before: str, folder: Path) -> None:
        self._printed = (folder / "out", folder / "err")
        out, err = map(str, self._printed)
        given = {"arguments": arguments, "environment": environment, "before": before, "out": out, "err": err}
        self._process = FORKS.Process(target=exec, args=(COMMAND, given))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired("kilat", timeout or 0.0)
        out, err = (path.read_text("utf-8") if path.exists() else "" for path in self._printed)
        return out, err


@pytest.fixture(scope="session")
def _forks() -> None:
    """Let what is forked have imported everything."""
    FORKS.set_forkserver_preload(["kilat.cli", "kilat.verbs.train", "kilat.fit.prepare"])


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _forks: None) -> Start:
    """Starts the command line and returns at once; what still runs at the end of the test is killed.

    ``before`` is Python that runs first, ``env`` is added to the environment.
    """

    def begin(*arguments: object, before: str = "", env: dict[str, str] | None = None) -> Started:
        environment = {**os.environ, **(env or {})}
        process = Started([*map(str, arguments)], environment, before, tmp_path_factory.mktemp("started"))

        def end() -> None:
            process.kill()
            process.communicate()

        request.addfinalizer(end)
        return process

    return begin


def crops(photo: NDArray[np.uint8], count: int, seed: int, sides: tuple[int, int]) -> list[Image.Image]:
    """Pieces of a photo of many shapes and sizes."""
    random = np.random.default_rng(seed)
    height, width, _ = photo.shape
    pieces = []
    for _ in range(count):
        w, h = (int(side) for side in random.integers(*sides, size=2))
        left, top = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
        pieces.append(Image.fromarray(photo[top : top + h, left : left + w]))
    return pieces


def write_photos(folder: Path, counts: dict[str, int], seed: int, sides: tuple[int, int]) -> Path:
    """Class folders of JPEG crops from scikit-learn's two photos."""
    photos = dict(zip(("temple", "flower"), load_sample_images().images, strict=True))
    for number, (label, count) in enumerate(counts.items()):
        (folder / label).mkdir(parents=True)
        for i, piece in enumerate(crops(photos[label], count, seed + number, sides)):
            piece.save(folder / label / f"{label}-{i:03}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def make_photos() -> Callable[..., Path]:
    """Writes class folders of real photos: ``make_photos(folder, temple=20, flower=20)``."""

    def make(folder: Path, *, seed: int = 0, sides: tuple[int, int] = (96, 224), **counts: int) -> Path:
        return write_photos(folder, counts, seed, sides)

    return make


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 real photos of two classes, of many shapes."""
    return write_photos(tmp_path_factory.mktemp("photos") / "sights", {"temple": 50, "flower": 50}, 1, (96, 224))


@pytest.fixture(scope="session")
def other_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve more photos of each of the two classes."""
    return write_photos(tmp_path_factory.mktemp("other") / "other", {"temple": 12, "flower": 12}, 50, (96, 224))


@pytest.fixture(scope="session")
def small_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 of scikit-learn's handwritten digits as files: enough where it matters that training stops and resumes."""
    folder = tmp_path_factory.mktemp("small") / "digits"
    digits = load_digits()
    for number, (label, image) in enumerate(zip(digits.target[:240], digits.images[:240], strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype(np.uint8)).save(folder / str(label) / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The demo: handwritten digits, everything at its default."""
    return kilat.train("digits", runs=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def photos_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A classifier of the real photos."""
    return kilat.train(photos, runs=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def untimed() -> Callable[[Path], dict[str, Any]]:
    """The ``metrics.json`` of a run folder without its timings."""

    def read(folder: Path) -> dict[str, Any]:
        metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
        del metrics["timing"]
        return metrics

    return read


@pytest.fixture(scope="session")
def assert_same_run(untimed: Callable[[Path], dict[str, Any]]) -> Callable[[Path, Path], None]:
    """Two run folders hold the same, byte for byte, timings and report apart."""

    def check(one: Path, other: Path) -> None:
        assert untimed(one) == untimed(other)
        for name in ("model.onnx", "catalog.csv", "predictions.csv", "recipe.yaml"):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name

    return check


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty feature cache for this test alone."""
    folder = tmp_path / "own-cache"
    monkeypatch.setenv("KILAT_CACHE", str(folder))
    return folder


@pytest.fixture
def json_lines() -> Callable[[str], Sequence[dict[str, Any]]]:
    """Reads one strict JSON object a line: no NaN, no infinity."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    return lambda text: [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
