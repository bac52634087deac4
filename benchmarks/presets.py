"""What the presets fast, good and best come to on the same pictures: test accuracy and time, beside `fast`.

Each run is a whole `kilat train --preset` on the CPU, timed from outside, for every seed one after the other: fast,
good, best, fast, good, best. Another seed draws another test (20%) and other validation pictures. Shown are the test
accuracy of what was kept, that of the frozen result which fine-tuning began with, which of the two was kept, what
fine-tuning gained in log loss on validation pictures with the standard error of that, seconds, and how far the model
file's answers lie from the trained network's (parity). Times are compared pair by pair, within a seed.

Every preset has a feature cache of its own, so it looks at every picture anew in its first seed and remembers in the
others; with `--cold` every run starts with an empty one. Only runs that began with an empty cache are compared in time.

    python benchmarks/presets.py flowers/ --presets fast good best --seeds 0 1 2 --cold
    python benchmarks/presets.py --data cifar10 --root ~/data       another set; no claim is made on it
    python benchmarks/presets.py --quick                            whether it works, in a minute

`--quick` takes 60 of the flowers (of `--data` all) at 64 pixels, one epoch and one seed: its figures mean nothing.
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
from _fine_tuning import Told, accuracy

PRESETS = ("fast", "good", "best")
LEAST = {"good": 0.945, "best": 0.955}
LEAST_GAIN, MOST_TIMES = 0.01, 20.0
_QUICK = ("--size", "64")
_QUICK_TUNING = ("--epochs", "1", "--set", "fit.resolution=[]")


@dataclass(frozen=True)
class Pictures:
    """What is trained on: a name, what the command gets, and whether the claims are about it."""

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
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; flowers by default")
    parser.add_argument("--data", help="another set or folder, as `kilat train` gets it; nothing is claimed of it")
    parser.add_argument("--root", type=Path, help="folder with copies of named sets")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cold", action="store_true", help="an empty feature cache for every run")
    parser.add_argument("--json", type=Path, help="write everything that was measured into this file")
    parser.add_argument("--quick", action="store_true", help="whether it works; the figures mean nothing")
    given = parser.parse_args()
    seeds = given.seeds[:1] if given.quick else given.seeds
    with tempfile.TemporaryDirectory() as place:
        pictures = chosen(given, Path(place))
        measure.opening(__doc__, *measure.PACKAGES, "torch", "timm")
        print(f"pictures  {pictures.name}{'; QUICK: the figures mean nothing' if given.quick else ''}", flush=True)
        measure.train("digits", Path(place) / "runs", Path(place) / "warm")  # imports are compiled to bytecode once
        runs = []
        for seed in seeds:
            for preset in given.presets:
                runs.append(train(preset, seed, pictures, Path(place), cold=given.cold, quick=given.quick))
                show(runs[-1])
        means(runs, given.presets)
        if pictures.claimed:
            claims(runs)
        if given.json:
            write(given.json, pictures, runs)


def chosen(given: argparse.Namespace, place: Path) -> Pictures:
    """The pictures that were asked for."""
    if given.data:
        root = ("--root", str(given.root.resolve())) if given.root else ()
        return Pictures(given.data, (given.data, *root), claimed=False)
    folder = measure.pictures_of("flowers", given.folder)
    measure.read_once(measure.pictures_below(folder))
    folder = measure.thin(folder, 60 if given.quick else 0, place)
    return Pictures(str(folder), (str(folder),), claimed=not given.quick)


def train(preset: str, seed: int, pictures: Pictures, place: Path, *, cold: bool, quick: bool) -> Run:
    """One whole run, with the feature cache of its preset, or where it is to be cold with one of its own."""
    cache = place / (f"cache-{preset}-{seed}" if cold else f"cache-{preset}")
    is_cold = not cache.exists()
    options = [*pictures.arguments[1:], "--preset", preset, "--seed", str(seed)]
    if quick:
        options += [*_QUICK, *(_QUICK_TUNING if preset != "fast" else ())]
    done = measure.train(pictures.arguments[0], place / "runs", cache, *options)
    return Run(preset, seed, done.seconds, is_cold, done.document["metrics"])


def show(run: Run) -> None:
    """Prints one run."""
    told, parity = Told.of(run.metrics), run.metrics["parity"]
    heat = "" if run.cold else " (features remembered)"
    print(f"{run.preset}, seed {run.seed}: test {accuracy(told.kept)}, {run.seconds:.1f} s{heat}")
    if told.tuned is not None:
        print(f"    frozen {accuracy(told.frozen)}, fine-tuned {accuracy(told.tuned)}: kept {told.which}")
        print(f"    gain in log loss on validation {told.gain}")
    print(
        f"    parity: labels agree {parity['labels_agree']:.4f} (n={parity['pictures']}), "
        f"largest difference {parity['max_difference']:.1e}",
        flush=True,
    )


def means(runs: Sequence[Run], presets: Sequence[str]) -> None:
    """Prints what every preset came to over the seeds, beside `fast`."""
    print(f"n         {runs[0].metrics['data']['used']:,} pictures used in each run")
    for preset in presets:
        own = [run for run in runs if run.preset == preset]
        values = [run.accuracy for run in own]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{preset}: test, mean {statistics.mean(values):.4f}, standard deviation {deviation:.4f}, ", end="")
        kept = sum(Told.of(run.metrics).which == "fine_tuned" for run in own)
        print(f"n={len(values)} seeds; fine-tuned kept in {kept}")
        cold = [run.seconds for run in own if run.cold]
        print(f"    seconds, nothing remembered: {measure.spread(cold, digits=1)}")
        if preset != "fast" and (gains := gained(runs, preset)):
            print(
                f"    gain over fast: mean {statistics.mean(gains):+.4f}, pairs {', '.join(f'{g:+.4f}' for g in gains)}"
            )
            print(f"    time over fast: {measure.spread(times(runs, preset), '×', 1)}")


def pairs(runs: Sequence[Run], preset: str) -> list[tuple[Run, Run]]:
    """The runs of a preset, each with that of `fast` with the same seed."""
    fast = {run.seed: run for run in runs if run.preset == "fast"}
    return [(run, fast[run.seed]) for run in runs if run.preset == preset and run.seed in fast]


def gained(runs: Sequence[Run], preset: str) -> list[float]:
    """How much more accurate than `fast`, seed by seed."""
    return [run.accuracy - fast.accuracy for run, fast in pairs(runs, preset)]


def times(runs: Sequence[Run], preset: str) -> list[float]:
    """How many times as long as `fast`, seed by seed, where both began with an empty cache."""
    return [run.seconds / fast.seconds for run, fast in pairs(runs, preset) if run.cold and fast.cold]


def claims(runs: Sequence[Run]) -> None:
    """Prints the claims about flowers."""
    for preset, least in LEAST.items():
        values = [run.accuracy for run in runs if run.preset == preset]
        if values:
            mean = statistics.mean(values)
            measure.verdict(f"{preset}: mean test accuracy ≥ {least}", f"{mean:.4f}", mean >= least)
    if gains := gained(runs, "good"):
        mean, middle = statistics.mean(gains), statistics.median(times(runs, "good"))
        measure.verdict(f"good: mean gain over fast ≥ {LEAST_GAIN}", f"{mean:+.4f}", mean >= LEAST_GAIN)
        measure.verdict(f"good: ≤ {MOST_TIMES:.0f} × the time of fast", f"{middle:.1f} ×", middle <= MOST_TIMES)


def write(file: Path, pictures: Pictures, runs: Sequence[Run]) -> None:
    """Writes everything that was measured."""
    packages = (*measure.PACKAGES, "torch", "timm")
    document = {
        "pictures": pictures.name,
        "machine": measure.machine(),
        "versions": measure.versions(packages),
        "runs": [asdict(run) for run in runs],
        "gain_over_fast": {preset: gained(runs, preset) for preset in PRESETS[1:]},
        "time_over_fast": {preset: times(runs, preset) for preset in PRESETS[1:]},
    }
    file.write_text(json.dumps(document, indent=1), "utf-8")


if __name__ == "__main__":
    main()
