"""The pass over small pictures when the network costs nothing, by threads and processes; work beside busy programs.

The pass is what decoding, measuring, resizing, hashing and handing over cost: 6,000 pictures of 32×32 (or
``--pictures``), every configuration in a process of its own, in turn. Decoding alone by Pillow, on one core, stands
beside it. Claimed for two cores that nothing else uses: at least 2,000 pictures a second, and with sixteen threads 0.9
of it at least. The start of worker processes is not counted; kilat starts them from four cores on, where six seconds of
work are left.

Then training steps of `strided-cnn` and `vgg-cifar`, and with ``--flowers`` the whole first run on them, alone and
beside ``--busy`` processes that do nothing but compute, in turn. With as many threads as cores, a program's share of
the processor beside n others of one thread is cores / (cores + n). Claimed is at most 1.3 times the time that this
share would give. (Linux shares processors out between sessions first; the busy processes belong to the same one.)

    python benchmarks/scaling.py [--folder cifar10] [--pictures 6000] [--threads 1 2 16] [--processes 1 2] [--rounds 3]
                                 [--busy 2] [--flowers flowers]
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import _measure as measure
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kilat.runtime.cores import available_cores

SIDE = 128
STEPS = 20
MOST = 1.3
"""Times the time that a share of the processor would give."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="small pictures; by default the data set 'cifar10'")
    parser.add_argument("--pictures", type=int, default=6000)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2, 4, 16])
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=2, help="processes beside which trainings run; 0 for none")
    parser.add_argument("--flowers", type=Path, help="photographs for a first run beside them; by default none")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone in NETWORKS:
        print(json.dumps(steps(args.alone)))
        return
    folder = measure.dataset_folder("cifar10", args.folder)
    if args.alone:
        print(json.dumps(once(folder, args.pictures, *args.alone.split("-"))))
        return
    measure.print_header(__doc__, "kilat", "numpy", "pillow", "onnxruntime")
    compare_pass(folder, args)
    if args.busy:
        compare_load(args.busy, args.rounds, args.flowers)


def compare_pass(folder: Path, args: argparse.Namespace) -> None:
    """Measure the pass in all configurations, and print it."""
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


NETWORKS = ("strided-cnn", "vgg-cifar")


def compare_load(busy: int, rounds: int, flowers: Path | None) -> None:
    """Measure work alone and beside busy processes, and print the ratio to what its share would give."""
    works: dict[str, Callable[[], float]] = {
        f"{name}, {STEPS} steps": lambda name=name: float(  # type: ignore[misc]
            measure.run([sys.executable, __file__, "--alone", name]).document
        )
        for name in NETWORKS
    }
    if flowers:
        works["flowers, first run"] = partial(first_run, flowers.resolve())
    cores = available_cores()
    factor = (cores + busy) / cores
    print(f"beside {busy} busy processes, share {1 / factor:.2f} of {cores} cores")
    for name, work in works.items():
        found = measure.interleave(rounds, {"alone": work, "beside": partial(beside, busy, work)})
        alone, loaded = found["alone"], found["beside"]
        print(f"  {name:24} alone {measure.summary(alone)}, beside {measure.summary(loaded)}")
        times = statistics.median(loaded) / statistics.median(alone) / factor
        measure.verdict(f"{name}: at most {MOST} times its share", f"{times:.2f}", times <= MOST)


def beside(busy: int, work: Callable[[], float]) -> float:
    """Do some work while busy processes run."""
    with busy_processes(busy):
        return work()


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep so many processes computing while the block lasts."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def first_run(folder: Path) -> float:
    """Return the seconds of a first run on photographs."""
    with tempfile.TemporaryDirectory() as workdir:
        return measure.train(folder, Path(workdir, "runs"), Path(workdir, "cache")).seconds


def steps(recipe: str) -> float:
    """Return the seconds of some training steps of kilat's loop, on noise of 32×32."""
    import kilat.fit  # noqa: F401, I001 - before PyTorch, as in `kilat train`: threads that wait sleep
    import training_speed

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (training_speed.PICTURES, 32, 32, 3), np.uint8)
    case = training_speed.Case(recipe, 32, False, 0.0, [])
    truth = np.arange(len(pixels)) % training_speed.CLASSES
    with tempfile.TemporaryDirectory() as workdir:
        step = training_speed.kilat(case, pixels, truth, "auto", Path(workdir), augmented=True)
        training_speed.mean_ms(step, 3)
        return training_speed.mean_ms(step, STEPS) * STEPS / 1000


if __name__ == "__main__":
    main()
