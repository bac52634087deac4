"""kilat's whole run, report included, is at least 8 times faster than the course recipe's training in Keras.

The course recipe (`_course_recipe.py`): MobileNetV2 at 192×192, frozen, Flatten, softmax, Adam, batches of 128, 10
epochs; random weights stand in for the downloaded ones, as the time is the same. It learns from the very pictures that
kilat learns from (the training split in kilat's catalog), on the same cores, and only its `fit` is timed: imports,
building, evaluation and saving are not charged. kilat is timed as a whole process from outside, with an empty cache,
from starting Python to the written report. In turn: kilat, Keras, kilat, Keras and so on.

Keras lives in an environment of its own, named by `--python` or `KERAS_PYTHON`:

    python3 -m venv kerasenv && kerasenv/bin/pip install keras tensorflow
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
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; flowers by default")
    parser.add_argument("--python", default=os.environ.get("KERAS_PYTHON"), help="a Python that has Keras")
    parser.add_argument("--backend", default="tensorflow", help="Keras's backend: tensorflow, jax or torch")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=0, help="take only so many (0: all)")
    given = parser.parse_args()
    python = find_keras(given.python)
    with tempfile.TemporaryDirectory() as place:
        folder = measure.thin(measure.pictures_of("flowers", given.folder), given.pictures, Path(place))
        measure.opening(__doc__)
        measure.read_once(measure.pictures_below(folder))
        compare(Kilat(folder, Path(place)), Course(python, given.backend, given.epochs, Path(place)), given.rounds)


def find_keras(python: str | None) -> Path:
    """The interpreter that has Keras; skips where there is none."""
    install = "python3 -m venv kerasenv && kerasenv/bin/pip install keras tensorflow"
    if python is None:
        measure.skip(f"no Python with Keras was named. {install}, then --python kerasenv/bin/python, or KERAS_PYTHON")
    path = Path(shutil.which(python) or python).absolute()
    probe: list[str | Path] = [path, "-c", "import keras, tensorflow"]
    if not path.exists() or subprocess.run(probe, check=False, capture_output=True).returncode:
        measure.skip(f"{path} cannot import keras and tensorflow. {install}")
    return path


def compare(kilat: "Kilat", course: "Course", rounds: int) -> None:
    """Measures both and prints it."""
    taken = measure.in_turn(
        rounds,
        {"kilat, whole first run": kilat.seconds, "Keras, fit alone": lambda: course.seconds(kilat.learnt())},
    )
    said = course.said
    print(f"versions  of the peer: {', '.join(f'{name} {version}' for name, version in said['versions'].items())}")
    print(f"n         {said['pictures']:,} pictures learnt from by both, {course.epochs} epochs, {rounds} rounds")
    for name, seconds in taken.items():
        print(f"  {name:24} {measure.spread(seconds)}")
    print(f"  Keras, the epochs of the last round: {measure.spread(said['epochs'])}")
    ours, theirs = taken.values()
    value, words = measure.ratio(theirs, ours)
    measure.verdict(f"course recipe ≥ {LEAST:.0f} × kilat", words, value >= LEAST)


class Kilat:
    """`kilat train` from nothing."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self.place, self.numbers = folder, place, count()
        self.run = place
        self._train("digits", place / "warm")

    def seconds(self) -> float:
        """A whole first run."""
        return self._train(self.folder, self.place / f"cache{next(self.numbers)}")

    def learnt(self) -> Path:
        """A folder with links to the pictures that the run learnt from."""
        chosen = self.place / "learnt"
        if not chosen.exists():
            with (self.run / "catalog.csv").open(encoding="utf-8", newline="") as table:
                rows = [row for row in csv.DictReader(table) if row["status"] == "used" and row["split"] == "train"]
            for row in rows:
                link = chosen / row["label"] / Path(row["path"]).name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.folder / row["path"])
        return chosen

    def _train(self, data: str | Path, cache: Path) -> float:
        done = measure.train(data, self.place / "runs", cache)
        self.run = Path(done.document["run"])
        return done.seconds


class Course:
    """The course recipe in Keras."""

    def __init__(self, python: Path, backend: str, epochs: int, place: Path) -> None:
        self.python, self.backend, self.epochs, self.place = python, backend, epochs, place
        self.said: dict[str, Any] = {}

    def seconds(self, folder: Path) -> float:
        """Its `fit`, by its own clock."""
        script = measure.HERE / "_course_recipe.py"
        command = [str(self.python), str(script), str(folder), "--epochs", str(self.epochs)]
        environment = {"KERAS_BACKEND": self.backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
        self.said = measure.whole(command, environment=environment).document
        return float(self.said["seconds"])


if __name__ == "__main__":
    main()
