"""A first `kilat train flowers` costs at most 1.25 times the bare look at every picture, a second one a fifth of it.

The bare cost: each picture decoded once with Pillow and run once through the fp32 backbone in ONNX Runtime, in a
process of its own that imports nothing of kilat (`_bare_pass.py`). Its network is the embedded one cut off at its last
features, without the statistics of the stages that kilat takes besides. A first round on some of the pictures finds the
fastest ordinary setting: one session that uses all cores, with batches of 8, 16 or 32, or one thread per core with
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
from kilat.runtime.cores import threads

SETTINGS = (("each", 1), ("each", 8), ("all", 8), ("all", 16), ("all", 32))
FIRST, SECOND = 1.25, 0.2


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="pictures in class folders; flowers by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=0, help="take only so many (0: all)")
    parser.add_argument("--trial", type=int, default=400, help="pictures on which the bare cost finds its setting")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = measure.thin(measure.pictures_of("flowers", given.folder), given.pictures, Path(place))
        measure.opening(__doc__)
        compare(folder, Path(place), given.rounds, given.trial)


def compare(folder: Path, place: Path, rounds: int, trial: int) -> None:
    """Measures everything and prints it."""
    files = measure.pictures_below(folder)
    measure.read_once(files)
    bare = Bare(place)
    some = measure.thin(folder, min(trial, len(files)), place / "trial")
    way, batch = bare.fastest(some)
    kilat = Kilat(folder, place)
    print(f"n         {len(files):,} pictures, {rounds} rounds")
    print(f"bare cost: {described(way, batch)}")
    taken = measure.in_turn(
        rounds,
        {
            "bare cost": lambda: bare.seconds(folder, way, batch),
            "kilat, first run": kilat.first,
            "kilat, second run": kilat.second,
        },
    )
    for name, seconds in taken.items():
        print(f"  {name:18} {measure.spread(seconds)}")
    for half in ("decode", "backbone"):
        alone = bare.inside(folder, way, batch, half)
        print(f"  of the bare cost, {half} alone: {alone:.2f} s, {len(files) / alone:,.0f} pictures/s")
    print(f"  kilat's last first run by its own clock: {kilat.timing}")
    plain, first, second = taken.values()
    value, words = measure.ratio(first, plain)
    measure.verdict(f"first run ≤ {FIRST} × bare cost", words, value <= FIRST)
    value, words = measure.ratio(second, first)
    measure.verdict(f"second run ≤ {SECOND} × first run", words, value <= SECOND)


class Bare:
    """The bare cost, as a process."""

    def __init__(self, place: Path) -> None:
        self.network = place / "plain.onnx"
        whole = onnx.shape_inference.infer_shapes(onnx.load_from_string(lite.build(224, "fp32").model))
        onnx.save(Extractor(whole).extract_model(["pixels"], ["last.mean"]), self.network)

    def seconds(self, folder: Path, way: str, batch: int) -> float:
        """A whole pass, timed from outside."""
        return measure.whole(self._command(folder, way, batch)).seconds

    def inside(self, folder: Path, way: str, batch: int, half: str) -> float:
        """One half of the work, by the program's own clock."""
        return float(measure.whole([*self._command(folder, way, batch), "--only", half]).document["seconds"])

    def fastest(self, folder: Path) -> tuple[str, int]:
        """The setting with the smallest median of three; its loading is left out, as there are few pictures."""
        rivals = {
            described(*setting): lambda setting=setting: float(
                measure.whole(self._command(folder, *setting)).document["seconds"]
            )
            for setting in SETTINGS
        }
        taken = measure.in_turn(3, rivals)
        print(f"settings of the bare cost, on {len(measure.pictures_below(folder)):,} pictures:")
        for name, seconds in taken.items():
            print(f"  {name:45} {measure.spread(seconds)}")
        return min(SETTINGS, key=lambda setting: statistics.median(taken[described(*setting)]))

    def _command(self, folder: Path, way: str, batch: int) -> list[str]:
        script = str(measure.HERE / "_bare_pass.py")
        cores = str(threads())
        return [
            sys.executable,
            script,
            str(folder),
            str(self.network),
            "--cores",
            cores,
            "--way",
            way,
            "--batch",
            str(batch),
        ]


class Kilat:
    """`kilat train`, from nothing and again."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self.place, self.numbers, self.cache = folder, place, count(), place
        self.timing = ""
        measure.train("digits", place / "runs", place / "warm")

    def first(self) -> float:
        """Seconds with an empty cache."""
        self.cache = self.place / f"cache{next(self.numbers)}"
        done = measure.train(self.folder, self.place / "runs", self.cache)
        timing = done.document["metrics"]["timing"]
        self.timing = ", ".join(f"{name} {seconds:.2f}" for name, seconds in timing.items())
        return done.seconds

    def second(self) -> float:
        """Seconds with the cache that the first run left."""
        return measure.train(self.folder, self.place / "runs", self.cache).seconds


def described(way: str, batch: int) -> str:
    """A setting of the bare cost in words."""
    return f"{'a thread per core' if way == 'each' else 'one session on all cores'}, batch {batch}"


if __name__ == "__main__":
    main()
