"""On a CUDA GPU: whole commands, training steps against a captured bare step, features against the GPU's own limit.

Everything that kilat does on a GPU, in parts of less than a minute each (on a large GPU):

vgg-cifar    a training step with augmentation and L2 in kilat, and of the same network as a hand-written
             `nn.Sequential`: captured in a CUDA graph with all of that (the limit), and eagerly without augmentation
resnet50     a training step of timm's ResNet-50 (random weights, 224 px), in kilat and in bare PyTorch
fine-tuning  a step of the recipe `finetune` on all of EfficientNet-Lite0 (224 px), as it is, and without augmentation,
             weight averaging, clipping and layer decay; and plain timm code with AdamW, its batch norms frozen as those
             of the recipe. kilat's head has the statistics of every stage, timm's the last features alone
features     the frozen backbone (EfficientNet-Lite0, 224 px) as kilat runs it: called by one thread, by several
             threads, and in a whole pass over decoded pictures; the limit is the same network on pictures that are on
             the GPU
frozen       `kilat train` of CIFAR-10 and of flowers, whole and cold
epochs       `kilat train cifar10 --recipe vgg-cifar`, whole: pictures a second in its epochs, and what 250 would take
fast-cifar   `kilat train cifar10 --recipe fast-cifar`, whole, and airbench (arXiv 2404.00498) on the same pictures,
             where that package is installed: accuracy and seconds of training

Training is in bf16 autocast (fp32 where the GPU has no bf16) and channels-last, the peers with a fused optimizer
(`_bare_steps.py`). Pictures of steps are noise in the GPU's memory. A step of kilat's is what its loop does to a batch:
fetching, augmentation, loss, penalty, accuracy, clipping, optimizer; losses are read a few times a second, as in its
loop. `--compile` measures steps through `torch.compile` as well, which takes minutes.

Everything runs in one process, in turn; whole commands in processes of their own. A rate is over `--steps` steps, the
GPU waited for at the end; shown are the median over `--rounds` rounds, the range and the number of rounds, the ratio to
the peer, and the most memory that building and the first steps took on the GPU (weights, optimizer, pictures,
activations).

    python benchmarks/gpu.py                                everything, some minutes on a large GPU
    python benchmarks/gpu.py --only vgg-cifar --only frozen
    python benchmarks/gpu.py --only resnet50 --batch 64     on a smaller one
    python benchmarks/gpu.py --device cpu --quick           whether the script works, in minutes, without a GPU

`--quick` takes tiny pictures and batches, one round of one step, and the digits that scikit-learn brings: its figures
mean nothing. CIFAR-10 and flowers are looked for below `$KILAT_DATA`.
"""

import argparse
import csv
import gc
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import _bare_steps as bare
import _measure as measure
import numpy as np
import torch
import training_speed
from _bare_steps import Work
from numpy.typing import NDArray
from torch import nn

from kilat.data.arrays import ArraySource
from kilat.features.extract import extract_features
from kilat.fit.checkpoint import Checkpoints
from kilat.fit.loader import epoch_batches
from kilat.fit.loop import Trainer
from kilat.fit.precision import PRECISIONS
from kilat.fit.prepare import finetuning_run, network_run
from kilat.fit.training_run import TrainingRun
from kilat.learn import backbone as backbones
from kilat.learn.network import read_dataset
from kilat.model import feature_extractor, gpu
from kilat.probe import Head
from kilat.recipe import Features, Recipe, load
from kilat.runtime.progress import silent

LITE = "efficientnet_lite0"
LEARNING_RATE, WEIGHT_DECAY = 1e-4, 0.02
CLASSES = 10
PARTS = ("vgg-cifar", "resnet50", "fine-tuning", "features", "frozen", "epochs", "fast-cifar")
CLAIMS = {"cifar10": 20, "flowers": 10}
"""Seconds that a whole frozen run takes at most."""

EPOCHS = 250
"""Of the course recipe, as which `vgg-cifar` is told."""

_WARM_UP = 15  # more than kilat makes before it records a step
_CALLERS = 4
_HELD_OUT = 20
"""Validation and test pictures each, which kilat needs; they are not used here."""


@dataclass(frozen=True)
class Scale:
    """How large everything is, and how it is measured.

    Args:
        device: ``cuda`` or ``cpu``.
        precision: of training, ``bf16`` or ``fp32``.
        side: of large pictures, in pixels.
        batches: pictures a step, for each part that trains.
        pictures: how many there are to train on, at least.
        rounds: how often everything is measured.
        steps: of a round.
        compiles: whether everything is also measured compiled.
        datasets: what whole commands are run on: CIFAR-10 and flowers, or what stands for them.
        epochs: of `vgg-cifar`.
    """

    device: str
    precision: str
    side: int
    batches: dict[str, tuple[int, ...]]
    pictures: int
    rounds: int
    steps: int
    compiles: bool
    datasets: tuple[str, str]
    epochs: int

    def compilations(self) -> Iterator[tuple[str, bool]]:
        """Yield a suffix of names, and whether to compile."""
        yield "", False
        if self.compiles:
            yield ", compiled", True


@dataclass(frozen=True)
class Rival:
    """Something to measure.

    Args:
        name: in the table.
        make: builds it; returns what is called again and again.
        pictures: a call.
        peer: the name of the one that it is compared with; its own where there is none.
    """

    name: str
    make: Callable[[], Work]
    pictures: int
    peer: str


@dataclass(frozen=True)
class Noise:
    """Pictures of noise, with ready-made splits, so that every batch is full.

    Args:
        side: in pixels.
        count: how many there are to train on, a multiple of the batch.
    """

    side: int
    count: int

    def source(self) -> ArraySource:
        """Return them as a source for kilat."""
        rest = ["validation"] * _HELD_OUT + ["test"] * _HELD_OUT
        labels = [str(row % CLASSES) for row in range(self.count + len(rest))]
        return ArraySource(self.pixels(len(rest)), labels, "noise", ["train"] * self.count + rest)

    def pixels(self, more: int = 0) -> NDArray[np.uint8]:
        """Return uint8 ``[count + more, side, side, 3]``."""
        return np.random.default_rng(0).integers(0, 256, (self.count + more, self.side, self.side, 3), np.uint8)

    def truth(self) -> torch.Tensor:
        """Return classes ``[count]``."""
        return torch.arange(self.count) % CLASSES


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: with --quick only")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--batch", type=int, help="pictures a step of everything that is trained, instead of its own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="steps a round")
    parser.add_argument("--compile", action="store_true", help="measure steps that are compiled as well")
    parser.add_argument("--epochs", type=int, default=8, help=f"of vgg-cifar in the part 'epochs'; {EPOCHS} make it")
    parser.add_argument("--quick", action="store_true", help="whether it works; the figures mean nothing")
    args = parser.parse_args()
    if args.device == "cpu" and not args.quick:
        parser.error("--device cpu is for --quick alone: times on a CPU mean nothing here")
    if args.device == "cuda" and not gpu.is_usable():
        sys.exit("This machine has no CUDA GPU that PyTorch can use, so nothing was measured.")
    measure.print_header(__doc__, *measure.PACKAGES, "torch", "timm")
    print(f"device    {device_name(args.device)}")
    scale = quick(args.device) if args.quick else full(args)
    warning = "; QUICK: the figures mean nothing" if args.quick else ""
    print(f"settings  {scale.precision}, {scale.rounds} rounds of {scale.steps} steps{warning}", flush=True)
    runs: dict[str, Callable[[Scale, Path], None]] = {
        "vgg-cifar": vgg, "resnet50": resnet, "fine-tuning": fine_tuning, "features": features, "frozen": frozen,
        "epochs": epochs, "fast-cifar": fast_cifar,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as workdir:
        for name in args.only or PARTS:
            began = time.perf_counter()
            runs[name](scale, Path(workdir))
            print(f"  ({name} took {time.perf_counter() - began:.0f} s)", flush=True)


def full(args: argparse.Namespace) -> Scale:
    """Return the scale of the whole benchmark on a GPU."""
    batches: dict[str, tuple[int, ...]] = {"vgg-cifar": (64, 256, 1024), "resnet50": (256,), "fine-tuning": (128, 32)}
    if args.batch:
        batches = dict.fromkeys(batches, (args.batch,))
    precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    datasets = "cifar10", "flowers"
    return Scale("cuda", precision, 224, batches, 1024, args.rounds, args.steps, args.compile, datasets, args.epochs)


def quick(device: str) -> Scale:
    """Return a scale that runs the same code with as little as possible."""
    batches: dict[str, tuple[int, ...]] = {"vgg-cifar": (8,), "resnet50": (4,), "fine-tuning": (4,)}
    return Scale(device, "bf16", 32, batches, 8, 1, 1, compiles=False, datasets=("digits", "digits"), epochs=2)


def device_name(device: str) -> str:
    """Return the device and its memory, in words."""
    if device == "cpu":
        return f"the CPU, {torch.get_num_threads()} threads"
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / (1 << 30):.0f} GiB, CUDA {torch.version.cuda}"


def vgg(scale: Scale, _workdir: Path) -> None:
    """Measure training steps of `vgg-cifar`, with augmentation and L2."""
    task = training_speed.TASKS[0]
    assert task.recipe == "vgg-cifar"

    def network() -> nn.Module:
        return bare.on_device(training_speed.sequential(task), scale.device)

    def limit(noise: Noise, batch: int) -> Work:
        built = network()
        optimizer = bare.adam(built, LEARNING_RATE, task.l2, capturable=scale.device == "cuda")
        pixels, truth = (tensor.to(scale.device) for tensor in (torch.from_numpy(noise.pixels()), noise.truth()))
        return bare.captured(
            built, optimizer, pixels, truth, batch=batch, dtype=PRECISIONS[scale.precision],
            augment=training_speed.augment,
        )  # fmt: skip

    eager, name = partial(bare.adam, learning_rate=LEARNING_RATE, l2=task.l2), "bare PyTorch, captured"
    for batch in scale.batches["vgg-cifar"]:
        recipe = load("vgg-cifar", {**_settings(scale, batch), "input.size": task.size})
        noise = _noise(task.size, batch, scale)
        rivals = [
            Rival("kilat", partial(layered, recipe, noise, scale), batch, name),
            Rival(name, partial(limit, noise, batch), batch, name),
            Rival(
                "bare PyTorch, not augmented",
                partial(plain, network, eager, noise, batch, scale, compiled=False), batch, name,
            ),
        ]  # fmt: skip
        compare(f"vgg-cifar: training, {task.size}×{task.size}, batches of {batch}", rivals, scale)


def resnet(scale: Scale, _workdir: Path) -> None:
    """Measure training steps of ResNet-50."""
    layers: list[Any] = [
        {"backbone": {"name": "resnet50", "trainable": True}},
        "global_avg_pool",
        {"dense": {"units": "classes", "activation": "softmax"}},
    ]
    network = partial(bare.from_timm, "resnet50", CLASSES, scale.device)
    for batch in scale.batches["resnet50"]:
        document = {"input": {"size": scale.side}, "model": {"weights": "none", "layers": layers}}
        recipe = load(document, _settings(scale, batch))
        noise, optimizer = _noise(scale.side, batch, scale), partial(bare.adam, learning_rate=LEARNING_RATE)
        rivals = []
        for suffix, compiles in scale.compilations():
            peer = f"bare PyTorch{suffix}"
            ours = recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"compile": compiles})})
            rivals += [
                Rival(f"kilat{suffix}", partial(layered, ours, noise, scale), batch, peer),
                Rival(peer, partial(plain, network, optimizer, noise, batch, scale, compiled=compiles), batch, peer),
            ]
        compare(f"resnet50: training, {scale.side}×{scale.side}, batches of {batch}", rivals, scale)


def _settings(scale: Scale, batch: int) -> dict[str, Any]:
    """Return the settings that every network is trained with here."""
    return {
        "input.cache": "memory", "fit.batch": batch, "fit.precision": scale.precision, "fit.schedule": "constant",
        "fit.optimizer": {"name": "adam", "learning_rate": LEARNING_RATE}, "runtime.device": scale.device,
    }  # fmt: skip


def _noise(side: int, batch: int, scale: Scale) -> Noise:
    """Return as many pictures as the scale has, rounded up to whole batches."""
    return Noise(side, -(-scale.pictures // batch) * batch)


def layered(recipe: Recipe, noise: Noise, scale: Scale) -> Work:
    """Return a step of kilat's with a network of layers."""
    source = noise.source()
    dataset, _near_duplicates = read_dataset(source, recipe, silent)
    return _updates(network_run(source, dataset, recipe, device=scale.device, name="benchmark"))


def _updates(training: TrainingRun) -> Work:
    """Return the updates of a training, one a call; losses are read as often as in kilat's loop."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(training.spec, Checkpoints(Path(folder)))
    trainer.train_step.start_phase(trainer.fit.all_phases[0])
    trainer.network.train()

    def updates() -> Iterator[None]:
        step, rows = trainer.train_step, training.spec.train.rows
        for epoch in count():
            order = epoch_batches(rows, trainer.fit.batch, seed=0, epoch=epoch)
            for number, (each, batch) in enumerate(zip(order, step.batches(order), strict=True)):
                trainer.results.begin()
                generator = torch.Generator().manual_seed(epoch * len(order) + number)
                is_first = epoch == number == 0
                values = step.update(each, batch, LEARNING_RATE, generator=generator, first=is_first)
                trainer.results.add(values, len(each))
                if trainer.results.are_due:
                    trainer.results.read()
                yield

    return partial(next, updates())


def plain(
    network: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    noise: Noise,
    batch: int,
    scale: Scale,
    *,
    compiled: bool,
) -> Work:
    """Return a step in bare PyTorch."""
    built = network()
    pixels, truth = torch.from_numpy(noise.pixels()).to(scale.device), noise.truth().to(scale.device)
    dtype = PRECISIONS[scale.precision]
    return bare.step(built, optimizer(built), pixels, truth, batch=batch, dtype=dtype, compiled=compiled)


def features(scale: Scale, _workdir: Path) -> None:
    """Measure the frozen backbone as kilat runs it, and as fast as the device can run it."""
    backbone = backbones.choose(Features(size=scale.side), Noise(scale.side, 8).source(), scale.device).backbone
    batch = 8 if scale.device == "cpu" else None
    runner = gpu.TorchRunner([LITE], scale.side, None, scale.device, batch=batch)
    pixels = Noise(scale.side, runner.batch).pixels()
    on_device = torch.from_numpy(pixels).to(scale.device)
    source = Noise(scale.side, max(scale.pictures, 2 * runner.batch)).source()
    pool = ThreadPoolExecutor(_CALLERS)

    def limit() -> None:
        with torch.inference_mode():
            runner.computation(on_device)

    def several_threads() -> None:
        list(pool.map(runner, [pixels] * _CALLERS))

    def whole_pass() -> None:
        extract_features(source, np.ones(len(source.entries), bool), backbone, resize="crop", cache=None, runner=runner)

    name = "the limit: pictures on the device"
    works: list[tuple[str, Work, int]] = [
        (name, limit, runner.batch),
        ("TorchRunner, one thread", partial(runner, pixels), runner.batch),
        (f"TorchRunner, {_CALLERS} threads", several_threads, _CALLERS * runner.batch),
        ("a whole pass", whole_pass, len(source.entries)),
    ]
    rivals = [Rival(title, lambda work=work: work, pictures, name) for title, work, pictures in works]  # type: ignore[misc]
    compare(f"features: {LITE}, {scale.side}×{scale.side}, batches of {runner.batch}", rivals, scale)
    pool.shutdown()


def frozen(scale: Scale, workdir: Path) -> None:
    """Time whole commands that train on frozen features."""
    for number, name in enumerate(scale.datasets):
        done = command(scale, name, workdir / f"frozen{number}")
        timing, test = done.document["metrics"]["timing"], done.document["metrics"]["test"]
        parts = ", ".join(f"{key.removesuffix('_s')} {seconds:.1f}" for key, seconds in timing.items())
        print(
            f"frozen: kilat train {name}  {done.seconds:.1f} s ({parts})  test {test['accuracy']:.4f} (n={test['n']:,})"
        )
        if name in CLAIMS:
            measure.verdict(f"{name} ≤ {CLAIMS[name]} s", f"{done.seconds:.1f}", done.seconds <= CLAIMS[name])


def epochs(scale: Scale, workdir: Path) -> None:
    """Time epochs of `vgg-cifar` in a whole command."""
    options = ["--recipe", "vgg-cifar", "--epochs", str(scale.epochs)]
    done = command(scale, scale.datasets[0], workdir / "epochs", *options)
    metrics = done.document["metrics"]
    with (Path(done.document["run"]) / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["pictures_per_second"]) for row in rows]
    seconds = statistics.median(float(row["seconds"]) for row in rows)
    print(
        f"epochs: vgg-cifar, {len(rows)} epochs of batch {metrics['fit']['batch']}, whole command {done.seconds:.1f} s"
    )
    print(f"  updates               {measure.summary(rates, 'pictures/s', 0)}")
    print(f"  epochs, validation included   {seconds:.2f} s, {EPOCHS} of them {EPOCHS * seconds / 60:.1f} min")
    print(f"  test accuracy after {len(rows)}   {metrics['test']['accuracy']:.4f} (n={metrics['test']['n']:,})")


def fast_cifar(scale: Scale, workdir: Path) -> None:
    """Time `fast-cifar` in a whole command, and airbench on the same pictures."""
    options = ["--recipe", "fast-cifar"] + (["--epochs", "2"] if scale.datasets[0] == "digits" else [])
    done = command(scale, scale.datasets[0], workdir / "fast", *options)
    metrics = done.document["metrics"]
    print(
        f"fast-cifar: kilat  test {metrics['test']['accuracy']:.4f} (n={metrics['test']['n']:,})  "
        f"{done.seconds:.1f} s, of them training {metrics['timing']['fit_s']:.1f}"
    )
    if importlib.util.find_spec("airbench") is None:
        print("  airbench is not installed: pip install airbench")
    elif scale.device == "cuda" and scale.datasets[0] == "cifar10":
        peer = measure.run([sys.executable, str(measure.HERE / "_airbench.py"), str(workdir / "airbench")])
        for row in peer.document:
            print(f"  airbench, {row['epochs']} epochs  test {row['accuracy']:.4f}  training {row['seconds']:.1f} s")
    else:
        print("  airbench runs on a CUDA GPU and on CIFAR-10 only")


def command(scale: Scale, name: str, folder: Path, *options: str) -> measure.Finished:
    """Run `kilat train` with caches and runs of its own."""
    root = os.environ.get("KILAT_DATA")
    where = ["--root", root] if root and name in CLAIMS else []
    line = [measure.KILAT, "train", name, "--device", scale.device, "--runs", str(folder / "runs"), "--json"]
    return measure.run([*line, *where, *options], environment={"KILAT_CACHE": str(folder / "cache")})


def fine_tuning(scale: Scale, _workdir: Path) -> None:
    """Measure steps of fine-tuning with all stages open."""
    for batch in scale.batches["fine-tuning"]:
        noise = _noise(scale.side, batch, scale)
        network = partial(bare.from_timm, f"tf_{LITE}", CLASSES, scale.device, frozen_batch_norm=True)
        optimizer = partial(bare.adamw, learning_rate=LEARNING_RATE, decay=WEIGHT_DECAY)
        rivals = []
        for suffix, compiles in scale.compilations():
            peer = f"plain timm{suffix}"
            full_recipe = load("finetune", {**_finetuning_settings(scale, batch), "fit.compile": compiles})
            less: dict[str, Any] = {"fit.ema": None, "fit.clip": {}, "fit.layer_decay": 1.0, "augment": {}}
            reduced_recipe = load(full_recipe, less)
            rivals += [
                Rival(
                    f"kilat, the recipe as it is{suffix}",
                    partial(opened, full_recipe, noise, scale),
                    batch,
                    peer,
                ),
                Rival(f"kilat, reduced{suffix}", partial(opened, reduced_recipe, noise, scale), batch, peer),
                Rival(peer, partial(plain, network, optimizer, noise, batch, scale, compiled=compiles), batch, peer),
            ]
        compare(f"fine-tuning: {LITE}, {scale.side}×{scale.side}, batches of {batch}", rivals, scale)


def _finetuning_settings(scale: Scale, batch: int) -> dict[str, Any]:
    return {
        "features.size": scale.side, "fit.batch": batch, "fit.precision": scale.precision,
        "runtime.device": scale.device,
    }  # fmt: skip


def opened(recipe: Recipe, noise: Noise, scale: Scale) -> Work:
    """Return a step of kilat's loop with a backbone under a head of zeros."""
    source = noise.source()
    dataset, _near_duplicates = read_dataset(source, recipe, silent)
    width = sum(block.width for block in feature_extractor.create(LITE, noise.side).blocks)
    zeros, ones = np.zeros((2, width), np.float32)[0], np.ones(width, np.float32)
    head = Head(zeros, ones, np.zeros((width, CLASSES), np.float32), np.zeros(CLASSES, np.float32))
    return _updates(finetuning_run(source, dataset, recipe, head, device=scale.device))


def compare(title: str, rivals: Sequence[Rival], scale: Scale) -> None:
    """Build rivals, measure them in turn, and print the rates."""
    print(title, flush=True)
    torch.compiler.reset()
    ready: dict[str, tuple[Rival, Work, str]] = {}
    for rival in rivals:
        try:
            ready[rival.name] = (rival, *prepare(rival.make, scale.device))
        except torch.OutOfMemoryError:
            print(f"  {rival.name:36} out of memory: give a smaller --batch")
    rates = {name: partial(rate, work, rival.pictures, scale) for name, (rival, work, _) in ready.items()}
    samples = measure.interleave(scale.rounds, rates)
    for name, values in samples.items():
        rival, _work, peak = ready[name]
        against = ""
        if rival.peer != name and rival.peer in samples:
            against = f"   {measure.ratio(values, samples[rival.peer])[1]} × {rival.peer}"
        print(f"  {name:36} {measure.summary(values, 'pictures/s', 1)}   {peak}{against}", flush=True)


def prepare(make: Callable[[], Work], device: str) -> tuple[Work, str]:
    """Build a rival and run its first steps; return it with the peak memory that this took on the GPU, in words."""
    gc.collect()
    if device == "cpu":
        return _warm_up(make), "memory not measured"
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work = _warm_up(make)
    wait(device)
    return work, f"peak {(torch.cuda.max_memory_allocated() - before) / (1 << 30):.2f} GiB"


def _warm_up(make: Callable[[], Work]) -> Work:
    work = make()
    for _ in range(_WARM_UP):  # memory, kernels, compilation and caches, which only the first steps pay for
        work()
    return work


def rate(work: Work, pictures: int, scale: Scale) -> float:
    """Return pictures a second."""
    wait(scale.device)
    begin = time.perf_counter()
    for _ in range(scale.steps):
        work()
    wait(scale.device)
    return scale.steps * pictures / (time.perf_counter() - begin)


def wait(device: str) -> None:
    """Wait until the device has finished."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
