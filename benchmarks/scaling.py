"""The pass over small pictures when the network costs nothing, by threads and by worker processes.

It is what decoding, measuring, resizing, hashing and handing over cost: 6,000 pictures of 32×32 (or ``--pictures``),
every configuration in a process of its own, in turn. Decoding alone by Pillow, on one core, stands beside it. Claimed
for two cores that nothing else uses: at least 2,000 pictures a second, and with sixteen threads 0.9 of it at least. The
start of worker processes is not counted; kilat starts them from four cores on, where six seconds of work are left.

    python benchmarks/scaling.py [--folder cifar10] [--pictures 6000] [--threads 1 2 16] [--processes 1 2] [--rounds 3]
"""

import argparse
import io
import json
import sys
import time
from functools import partial
from pathlib import Path

import _measure as measure
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 128


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="small pictures; by default the data set 'cifar10'")
    parser.add_argument("--pictures", type=int, default=6000)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2, 4, 16])
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    folder = measure.dataset_folder("cifar10", args.folder)
    if args.alone:
        print(json.dumps(once(folder, args.pictures, *args.alone.split("-"))))
        return
    measure.print_header(__doc__, "kilat", "numpy", "pillow", "onnxruntime")
    wanted = ["decoding-1", *(f"threads-{n}" for n in args.threads), *(f"processes-{n}" for n in args.processes)]

    def rate(configuration: str) -> float:
        own = ["--folder", str(folder), "--pictures", str(args.pictures), "--alone", configuration]
        return float(measure.run([sys.executable, __file__, *own]).document)

    rates = measure.interleave(args.rounds, {name: partial(rate, name) for name in wanted})
    for name, found in rates.items():
        print(f"{name:>14} {measure.summary(found, 'pictures/s', 0)}")
    if {"threads-2", "threads-16"} <= set(rates):
        two, sixteen = max(rates["threads-2"]), max(rates["threads-16"])
        measure.verdict("two threads, 2,000 pictures/s", f"{two:,.0f}", two >= 2000)
        measure.verdict("sixteen threads, 0.9 of that", f"{sixteen / two:.2f}", sixteen >= 0.9 * two)


class Nothing:
    """A network that costs nothing."""

    batch, portable = 3, True

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return no features at all, but of the right shape."""
        return np.zeros((len(pixels), 8), np.float32)


def once(folder: Path, count: int, kind: str, number: str) -> float:
    """Return how many pictures a second one configuration goes over."""
    from kilat.data.source import PathsSource
    from kilat.features import extract
    from kilat.features.processing import Preprocessor, Processing

    paths = sorted(folder.rglob("*.jpg"))[:count]
    if kind == "decoding":
        files = [path.read_bytes() for path in paths]
        begin = time.perf_counter()
        for file in files:
            np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        return len(files) / (time.perf_counter() - begin)
    times: list[float] = []
    processes = int(number) if kind == "processes" else 0
    if kind == "threads":
        extract.available_cores = lambda: int(number)  # type: ignore[attr-defined]
    extractor = extract.Extractor(
        PathsSource(paths, ["a"] * len(paths)),
        np.ones(len(paths), bool),
        Processing(Preprocessor(SIDE, "crop"), Nothing()),
        np.zeros((len(paths), 8), np.float32),
        lambda done, total, note="": times.append(time.perf_counter()),
        processes=processes,
    )
    begin = time.perf_counter()
    extractor.run()
    # Worker processes have started when the first pictures are done; the rest is what they do.
    if processes:
        first = len(times) // 4
        return (len(times) - first) / (times[-1] - times[first])
    return len(paths) / (times[-1] - begin)


if __name__ == "__main__":
    main()
