"""kilat's whole run, report included, is at least 8 times faster than the course recipe's training in Keras.

The course recipe (`_course_recipe.py`): MobileNetV2 at 192×192, frozen, Flatten, softmax, Adam, batches of 128, 10
epochs; random weights stand in for the downloaded ones, as the time is the same. It is trained on the very pictures
that kilat is trained on (the training split in kilat's catalog), on the same cores, and only its `fit` is timed:
imports, building, evaluation and saving are left out. kilat is timed as a whole process from outside, with an empty
cache, from starting Python to the written report. In turn: kilat, Keras, kilat, Keras and so on.

Keras lives in an environment of its own, named by `--python` or `KERAS_PYTHON`:

    python3 -m venv kerasenv && kerasenv/bin/pip install keras tensorflow scipy
    KERAS_PYTHON=kerasenv/bin/python python benchmarks/course_recipe.py
"""

import argparse
import csv
import os
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import _measure as measure

LEAST = 8.0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; flowers by default")
    parser.add_argument("--python", default=os.environ.get("KERAS_PYTHON"), help="a Python that has Keras")
    parser.add_argument("--backend", default="tensorflow", help="Keras's backend: tensorflow, jax or torch")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=0, help="use only so many (0: all)")
    args = parser.parse_args()
    python = find_keras(args.python)
    with tempfile.TemporaryDirectory() as workdir:
        folder = measure.subsample(measure.dataset_folder("flowers", args.folder), args.pictures, Path(workdir))
        measure.print_header(__doc__)
        measure.warm_disk_cache(measure.list_pictures(folder))
        compare(Kilat(folder, Path(workdir)), Course(python, args.backend, args.epochs), args.rounds)


def find_keras(python: str | None) -> Path:
    """Return the interpreter that has Keras; skip where there is none."""
    install = "python3 -m venv kerasenv && kerasenv/bin/pip install keras tensorflow scipy"
    if python is None:
        measure.skip(f"no Python with Keras was given. {install}, then --python kerasenv/bin/python, or KERAS_PYTHON")
    path = Path(shutil.which(python) or python).absolute()
    probe: list[str | Path] = [path, "-c", "import keras, tensorflow, scipy"]
    if not path.exists() or subprocess.run(probe, check=False, capture_output=True).returncode:
        measure.skip(f"{path} cannot import keras, tensorflow and scipy. {install}")
    return path


def compare(kilat: "Kilat", course: "Course", rounds: int) -> None:
    """Measure both in turn and print the times."""
    samples = measure.interleave(
        rounds,
        {"kilat, whole first run": kilat.seconds, "Keras, fit alone": lambda: course.seconds(kilat.training_folder())},
    )
    document = course.document
    print(f"versions  of the peer: {', '.join(f'{name} {version}' for name, version in document['versions'].items())}")
    print(f"n         {document['pictures']:,} training pictures of both, {course.epochs} epochs, {rounds} rounds")
    for name, seconds in samples.items():
        print(f"  {name:24} {measure.summary(seconds)}")
    print(f"  Keras, the epochs of the last round: {measure.summary(document['epochs'])}")
    ours, theirs = samples.values()
    value, words = measure.ratio(theirs, ours)
    measure.verdict(f"course recipe ≥ {LEAST:.0f} × kilat", words, value >= LEAST)


class Kilat:
    """`kilat train` with an empty cache."""

    def __init__(self, folder: Path, workdir: Path) -> None:
        self.folder, self.workdir, self.numbers = folder, workdir, count()
        self.run = workdir
        self._train("digits", workdir / "warm")

    def seconds(self) -> float:
        """Return the seconds of a whole first run."""
        return self._train(self.folder, self.workdir / f"cache{next(self.numbers)}")

    def training_folder(self) -> Path:
        """Return a folder with links to the training pictures of the run."""
        folder = self.workdir / "train"
        if not folder.exists():
            with (self.run / "catalog.csv").open(encoding="utf-8", newline="") as table:
                rows = [row for row in csv.DictReader(table) if row["status"] == "used" and row["split"] == "train"]
            for row in rows:
                link = folder / row["label"] / Path(row["path"]).name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.folder / row["path"])
        return folder

    def _train(self, data: str | Path, cache: Path) -> float:
        done = measure.train(data, self.workdir / "runs", cache)
        self.run = Path(done.document["run"])
        return done.seconds


class Course:
    """The course recipe in Keras."""

    def __init__(self, python: Path, backend: str, epochs: int) -> None:
        self.python, self.backend, self.epochs = python, backend, epochs
        self.document: dict[str, Any] = {}

    def seconds(self, folder: Path) -> float:
        """Return the seconds of its `fit`, measured inside."""
        script = measure.HERE / "_course_recipe.py"
        command = [str(self.python), str(script), str(folder), "--epochs", str(self.epochs)]
        environment = {"KERAS_BACKEND": self.backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
        self.document = measure.run(command, environment=environment).document
        return float(self.document["seconds"])


if __name__ == "__main__":
    main()
