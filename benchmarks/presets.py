"""Test accuracy and time of the presets fast, good and best on the same pictures, compared with `fast`.

Each run is a whole `kilat train --preset` on the CPU, timed from outside, for every seed one after the other: fast,
good, best, fast, good, best. Another seed draws another test set (20%) and other validation pictures. Shown are the
test accuracy of what was kept, seconds, and how far the model file's probabilities lie from the trained network's
(parity); where `best` trained a backbone further, the accuracy of the frozen result as well, which of the two was kept,
and the gain in log loss on validation pictures with its standard error. Times are compared pair by pair, within a seed.
On which sets it trains further, and what that costs and gains, is what `worth_finetuning.py` measures.

Every preset has a feature cache of its own, so it extracts all features in its first seed and finds them cached in the
others; with `--cold` every run starts with an empty one. Only times of runs with an empty cache are compared.

    python benchmarks/presets.py flowers/ --presets fast good best --seeds 0 1 2 --cold
    python benchmarks/presets.py --data cifar10 --root ~/data       another set; no claim is made on it
    python benchmarks/presets.py --quick                            whether it works, in a minute

`--quick` takes 60 of the flowers (of `--data` all) at 64 pixels and one seed: its figures mean nothing.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _measure as measure
from _fine_tuning import FineTuningResult, accuracy

PRESETS = ("fast", "good", "best")
LEAST = {"good": 0.950, "best": 0.955}
MOST_TIMES = 5.0
_QUICK = ("--size", "64")
_QUICK_TUNING = ("--epochs", "1")


@dataclass(frozen=True)
class Pictures:
    """What is trained on: a name, the arguments of the command, and whether the claims are about it."""

    name: str
    arguments: tuple[str, ...]
    claimed: bool


@dataclass(frozen=True)
class Run:
    """One run: its preset and seed, whole seconds, whether its cache was empty, and its ``metrics.json``."""

    preset: str
    seed: int
    seconds: float
    cold: bool
    metrics: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """On the test pictures, of what was kept."""
        return float(self.metrics["test"]["accuracy"])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; flowers by default")
    parser.add_argument("--data", help="another set or folder, as for `kilat train`; no claim is made on it")
    parser.add_argument("--root", type=Path, help="folder with copies of named sets")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cold", action="store_true", help="an empty feature cache for every run")
    parser.add_argument("--json", type=Path, help="write everything that was measured into this file")
    parser.add_argument("--quick", action="store_true", help="whether it works; the figures mean nothing")
    args = parser.parse_args()
    seeds = args.seeds[:1] if args.quick else args.seeds
    with tempfile.TemporaryDirectory() as workdir:
        pictures = choose_pictures(args, Path(workdir))
        measure.print_header(__doc__, *measure.PACKAGES, "torch", "timm")
        print(f"pictures  {pictures.name}{'; QUICK: the figures mean nothing' if args.quick else ''}", flush=True)
        measure.train("digits", Path(workdir) / "runs", Path(workdir) / "warm")  # imports are compiled to bytecode once
        runs = []
        for seed in seeds:
            for preset in args.presets:
                runs.append(train(preset, seed, pictures, Path(workdir), cold=args.cold, quick=args.quick))
                show(runs[-1])
        means(runs, args.presets)
        if pictures.claimed:
            claims(runs)
        if args.json:
            write(args.json, pictures, runs)


def choose_pictures(args: argparse.Namespace, workdir: Path) -> Pictures:
    """Return the chosen pictures."""
    if args.data:
        root = ("--root", str(args.root.resolve())) if args.root else ()
        return Pictures(args.data, (args.data, *root), claimed=False)
    folder = measure.dataset_folder("flowers", args.folder)
    measure.warm_disk_cache(measure.list_pictures(folder))
    folder = measure.subsample(folder, 60 if args.quick else 0, workdir)
    return Pictures(str(folder), (str(folder),), claimed=not args.quick)


def train(preset: str, seed: int, pictures: Pictures, workdir: Path, *, cold: bool, quick: bool) -> Run:
    """Train once, with the feature cache of the preset, or with an empty one."""
    cache = workdir / (f"cache-{preset}-{seed}" if cold else f"cache-{preset}")
    is_cold = not cache.exists()
    options = [*pictures.arguments[1:], "--preset", preset, "--seed", str(seed)]
    if quick:
        options += [*_QUICK, *(_QUICK_TUNING if preset == "best" else ())]
    done = measure.train(pictures.arguments[0], workdir / "runs", cache, *options)
    return Run(preset, seed, done.seconds, is_cold, done.document["metrics"])


def show(run: Run) -> None:
    """Print one run."""
    result, parity = FineTuningResult.of(run.metrics), run.metrics["parity"]
    cached = "" if run.cold else " (features cached)"
    print(f"{run.preset}, seed {run.seed}: test {accuracy(result.kept)}, {run.seconds:.1f} s{cached}")
    if result.fine_tuned is not None:
        print(f"    frozen {accuracy(result.frozen)}, trained {accuracy(result.fine_tuned)}: kept {result.which}")
        print(f"    gain in log loss on validation {result.gain}")
    print(
        f"    parity: labels agree {parity['labels_agree']:.4f} (n={parity['pictures']}), "
        f"largest difference {parity['max_difference']:.1e}",
        flush=True,
    )


def means(runs: Sequence[Run], presets: Sequence[str]) -> None:
    """Print means of every preset over the seeds, compared with `fast`."""
    print(f"n         {runs[0].metrics['data']['used']:,} pictures used in each run")
    for preset in presets:
        own = [run for run in runs if run.preset == preset]
        values = [run.accuracy for run in own]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{preset}: test, mean {statistics.mean(values):.4f}, standard deviation {deviation:.4f}, ", end="")
        kept = sum(FineTuningResult.of(run.metrics).which != "frozen" for run in own)
        print(f"n={len(values)} seeds; a trained network kept in {kept}")
        cold = [run.seconds for run in own if run.cold]
        print(f"    seconds with an empty cache: {measure.summary(cold, digits=1)}")
        if preset != "fast" and (differences := gains(runs, preset)):
            pairs_in_words = ", ".join(f"{difference:+.4f}" for difference in differences)
            print(f"    gain over fast: mean {statistics.mean(differences):+.4f}, pairs {pairs_in_words}")
            print(f"    time over fast: {measure.summary(times(runs, preset), '×', 1)}")


def pairs(runs: Sequence[Run], preset: str) -> list[tuple[Run, Run]]:
    """Return the runs of a preset, each with that of `fast` with the same seed."""
    fast = {run.seed: run for run in runs if run.preset == "fast"}
    return [(run, fast[run.seed]) for run in runs if run.preset == preset and run.seed in fast]


def gains(runs: Sequence[Run], preset: str) -> list[float]:
    """Return how much more accurate than `fast` a preset is, seed by seed."""
    return [run.accuracy - fast.accuracy for run, fast in pairs(runs, preset)]


def times(runs: Sequence[Run], preset: str) -> list[float]:
    """Return how many times as long as `fast` a preset takes, seed by seed, where both began with an empty cache."""
    return [run.seconds / fast.seconds for run, fast in pairs(runs, preset) if run.cold and fast.cold]


def claims(runs: Sequence[Run]) -> None:
    """Print whether the claims about flowers hold."""
    for preset, least in LEAST.items():
        values = [run.accuracy for run in runs if run.preset == preset]
        if values:
            mean = statistics.mean(values)
            measure.verdict(f"{preset}: mean test accuracy ≥ {least}", f"{mean:.4f}", mean >= least)
    if ratios := times(runs, "good"):
        ratio = statistics.median(ratios)
        measure.verdict(f"good: ≤ {MOST_TIMES:.0f} × the time of fast", f"{ratio:.1f} ×", ratio <= MOST_TIMES)


def write(file: Path, pictures: Pictures, runs: Sequence[Run]) -> None:
    """Write everything that was measured into a file."""
    packages = (*measure.PACKAGES, "torch", "timm")
    document = {
        "pictures": pictures.name,
        "machine": measure.machine(),
        "versions": measure.versions(packages),
        "runs": [asdict(run) for run in runs],
        "gain_over_fast": {preset: gains(runs, preset) for preset in PRESETS[1:]},
        "time_over_fast": {preset: times(runs, preset) for preset in PRESETS[1:]},
    }
    file.write_text(json.dumps(document, indent=1), "utf-8")


if __name__ == "__main__":
    main()
