"""A first `kilat train flowers` costs at most 1.25 times the bare pass over the pictures, a second one a fifth of it.

The bare cost: each picture decoded once with Pillow and run once through the fp32 backbone in ONNX Runtime, in a
process of its own that imports nothing of kilat (`_bare_pass.py`). Its network is the embedded one up to its last
features, without the statistics of the stages that kilat extracts as well. A first round on some of the pictures finds
the fastest ordinary setting: one session that uses all cores, with batches of 8, 16 or 32, or one thread per core with
batches of 1 or 8. Then in turn: the bare cost, `kilat train` with an empty cache, and `kilat train` again with the
cache that this left; all are whole processes, timed from outside, the second and third with head, evaluation, bundle,
parity gate and report. Every program and every picture has been read from the disk once before.
"""

import argparse
import statistics
import sys
import tempfile
from itertools import count
from pathlib import Path

import _measure as measure
import onnx
from onnx.utils import Extractor

from kilat.features import lite
from kilat.runtime.cores import available_cores

SETTINGS = (("each", 1), ("each", 8), ("all", 8), ("all", 16), ("all", 32))
FIRST, SECOND = 1.25, 0.2


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; flowers by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=0, help="use only so many (0: all)")
    parser.add_argument(
        "--trial", type=int, default=400, help="pictures on which the setting of the bare cost is chosen"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as workdir:
        folder = measure.subsample(measure.dataset_folder("flowers", args.folder), args.pictures, Path(workdir))
        measure.print_header(__doc__)
        compare(folder, Path(workdir), args.rounds, args.trial)


def compare(folder: Path, workdir: Path, rounds: int, trial: int) -> None:
    """Measure everything in turn and print it."""
    files = measure.list_pictures(folder)
    measure.warm_disk_cache(files)
    bare = Bare(workdir)
    some = measure.subsample(folder, min(trial, len(files)), workdir / "trial")
    schedule, batch = bare.fastest(some)
    kilat = Kilat(folder, workdir)
    print(f"n         {len(files):,} pictures, {rounds} rounds")
    print(f"bare cost: {describe(schedule, batch)}")
    samples = measure.interleave(
        rounds,
        {
            "bare cost": lambda: bare.seconds(folder, schedule, batch),
            "kilat, first run": kilat.first,
            "kilat, second run": kilat.second,
        },
    )
    for name, seconds in samples.items():
        print(f"  {name:18} {measure.summary(seconds)}")
    for half in ("decode", "backbone"):
        alone = bare.seconds_of_half(folder, schedule, batch, half)
        print(f"  of the bare cost, {half} alone: {alone:.2f} s, {len(files) / alone:,.0f} pictures/s")
    print(f"  timing of kilat's last first run: {kilat.timing}")
    plain, first, second = samples.values()
    value, words = measure.ratio(first, plain)
    measure.verdict(f"first run ≤ {FIRST} × bare cost", words, value <= FIRST)
    value, words = measure.ratio(second, first)
    measure.verdict(f"second run ≤ {SECOND} × first run", words, value <= SECOND)


class Bare:
    """The bare cost, as a process."""

    def __init__(self, workdir: Path) -> None:
        self.network = workdir / "plain.onnx"
        whole = onnx.shape_inference.infer_shapes(onnx.load_from_string(lite.build(224, "fp32").model))
        onnx.save(Extractor(whole).extract_model(["pixels"], ["last.mean"]), self.network)

    def seconds(self, folder: Path, schedule: str, batch: int) -> float:
        """Return the seconds of a whole pass, timed from outside."""
        return measure.run(self._command(folder, schedule, batch)).seconds

    def seconds_of_half(self, folder: Path, schedule: str, batch: int, half: str) -> float:
        """Return the seconds of one half of the work, measured inside."""
        return float(measure.run([*self._command(folder, schedule, batch), "--only", half]).document["seconds"])

    def fastest(self, folder: Path) -> tuple[str, int]:
        """Return the setting with the smallest median of three, loading left out, as there are few pictures."""
        rivals = {
            describe(*setting): lambda setting=setting: float(
                measure.run(self._command(folder, *setting)).document["seconds"]
            )
            for setting in SETTINGS
        }
        samples = measure.interleave(3, rivals)
        print(f"settings of the bare cost, on {len(measure.list_pictures(folder)):,} pictures:")
        for name, seconds in samples.items():
            print(f"  {name:45} {measure.summary(seconds)}")
        return min(SETTINGS, key=lambda setting: statistics.median(samples[describe(*setting)]))

    def _command(self, folder: Path, schedule: str, batch: int) -> list[str]:
        script = str(measure.HERE / "_bare_pass.py")
        cores = str(available_cores())
        return [
            sys.executable,
            script,
            str(folder),
            str(self.network),
            "--cores",
            cores,
            "--schedule",
            schedule,
            "--batch",
            str(batch),
        ]


class Kilat:
    """`kilat train` with an empty cache, and again."""

    def __init__(self, folder: Path, workdir: Path) -> None:
        self.folder, self.workdir, self.numbers, self.cache = folder, workdir, count(), workdir
        self.timing = ""
        measure.train("digits", workdir / "runs", workdir / "warm")

    def first(self) -> float:
        """Return the seconds with an empty cache."""
        self.cache = self.workdir / f"cache{next(self.numbers)}"
        done = measure.train(self.folder, self.workdir / "runs", self.cache)
        timing = done.document["metrics"]["timing"]
        self.timing = ", ".join(f"{name} {seconds:.2f}" for name, seconds in timing.items())
        return done.seconds

    def second(self) -> float:
        """Return the seconds with the cache that the first run left."""
        return measure.train(self.folder, self.workdir / "runs", self.cache).seconds


def describe(schedule: str, batch: int) -> str:
    """Return a setting of the bare cost in words."""
    return f"{'a thread per core' if schedule == 'each' else 'one session on all cores'}, batch {batch}"


if __name__ == "__main__":
    main()
