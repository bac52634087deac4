"""On a CUDA GPU: training steps against bare PyTorch, feature extraction against the GPU's own limit, peak memory.

Everything that kilat does on a GPU and that has a peer, in one command:

vgg-cifar a training step in kilat's loop, and of the same network as a hand-written `nn.Sequential` resnet50 a training
step of timm's ResNet-50 (random weights, 224 px) in kilat's loop, and in bare PyTorch features the frozen backbone
(EfficientNet-Lite0, 224 px) as kilat runs it: called by one thread, by several_threads, and in a whole pass over
decoded pictures; the limit is the same compiled network on pictures that are on the GPU already fine-tuning a step of
the recipe `finetune` on all of EfficientNet-Lite0 (224 px), as it is, and without augmentation, weight averaging,
clipping and layer decay; and plain timm code with AdamW, its batch norms frozen as those of the recipe. kilat's head
has the statistics of every stage, timm's the last features alone

Training is in bf16 autocast (fp32 where the GPU has no bf16) and channels-last, the peers with a fused optimizer
(`_bare_steps.py`), everything once as it is and once through `torch.compile`. Pictures are noise in the GPU's memory.
A step of kilat's is all that its loop does: fetching, loss, penalty, accuracy, and the check for a loss that is not
finite, for which it waits for the GPU.

Everything runs in one process, in turn. A rate is over `--steps` steps, the GPU waited for at the end; shown are the
median over `--rounds` rounds, the range and the number of rounds, the ratio to the peer, and the most memory that
building and the first steps took on the GPU (weights, optimizer, pictures, activations).

    python benchmarks/gpu.py                                everything, some minutes on a large GPU
    python benchmarks/gpu.py --only resnet50 --batch 64     on a smaller one
    python benchmarks/gpu.py --device cpu --quick           whether the script works, in a minute, without a GPU

`--quick` takes tiny pictures and batches, one round of one step, and compiles nothing: its figures mean nothing.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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
from kilat.fit.loop import Trainer
from kilat.fit.precision import PRECISIONS
from kilat.fit.prepare import finetuning_run, network_run
from kilat.fit.training_run import TrainingRun
from kilat.learn import backbone as backbones
from kilat.learn.network import read_dataset
from kilat.model import feature_extractor, gpu
from kilat.probe import Head
from kilat.recipe import Augment, Features, Recipe, load
from kilat.runtime.progress import silent

LITE = "efficientnet_lite0"
LEARNING_RATE, WEIGHT_DECAY = 1e-4, 0.02
CLASSES = 10
PARTS = ("vgg-cifar", "resnet50", "features", "fine-tuning")
_WARM_UP = 3
_FOREVER = 1_000_000
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
    """

    device: str
    precision: str
    side: int
    batches: dict[str, tuple[int, ...]]
    pictures: int
    rounds: int
    steps: int
    compiles: bool

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
    parser.add_argument("--no-compile", action="store_true", help="leave out what is compiled")
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
    runs = {"vgg-cifar": vgg, "resnet50": resnet, "features": features, "fine-tuning": fine_tuning}
    with tempfile.TemporaryDirectory() as workdir:
        for name in args.only or PARTS:
            runs[name](scale, Path(workdir))


def full(args: argparse.Namespace) -> Scale:
    """Return the scale of the whole benchmark on a GPU."""
    batches: dict[str, tuple[int, ...]] = {"vgg-cifar": (64, 1024), "resnet50": (256, 128), "fine-tuning": (128, 32)}
    if args.batch:
        batches = dict.fromkeys(batches, (args.batch,))
    precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return Scale("cuda", precision, 224, batches, 1024, args.rounds, args.steps, compiles=not args.no_compile)


def quick(device: str) -> Scale:
    """Return a scale that runs the same code with as little as possible."""
    batches: dict[str, tuple[int, ...]] = {"vgg-cifar": (8,), "resnet50": (4,), "fine-tuning": (4,)}
    return Scale(device, "bf16", 32, batches, 8, rounds=1, steps=1, compiles=False)


def device_name(device: str) -> str:
    """Return the device and its memory, in words."""
    if device == "cpu":
        return f"the CPU, {torch.get_num_threads()} threads"
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / (1 << 30):.0f} GiB, CUDA {torch.version.cuda}"


def vgg(scale: Scale, workdir: Path) -> None:
    """Measure training steps of `vgg-cifar`, without augmentation."""
    task = training_speed.TASKS[0]
    assert task.recipe == "vgg-cifar"

    def network() -> nn.Module:
        return bare.on_device(training_speed.sequential(task), scale.device)

    for batch in scale.batches["vgg-cifar"]:
        recipe = load("vgg-cifar", {**_settings(scale, batch), "input.size": task.size})
        optimizer = partial(bare.adam, learning_rate=LEARNING_RATE, l2=task.l2)
        steps("vgg-cifar", recipe, network, optimizer, task.size, batch, scale, workdir)


def resnet(scale: Scale, workdir: Path) -> None:
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
        steps(
            "resnet50",
            recipe,
            network,
            partial(bare.adam, learning_rate=LEARNING_RATE),
            scale.side,
            batch,
            scale,
            workdir,
        )


def _settings(scale: Scale, batch: int) -> dict[str, Any]:
    """Return the settings that every network is trained with here."""
    return {
        "input.cache": "memory", "fit.batch": batch, "fit.precision": scale.precision, "fit.schedule": "constant",
        "fit.optimizer": {"name": "adam", "learning_rate": LEARNING_RATE}, "runtime.device": scale.device,
    }  # fmt: skip


def steps(
    title: str,
    recipe: Recipe,
    network: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    side: int,
    batch: int,
    scale: Scale,
    workdir: Path,
) -> None:
    """Measure the steps of a recipe's network in kilat's loop, and of the same network in bare PyTorch."""
    noise = _noise(side, batch, scale)
    recipe = recipe.model_copy(update={"augment": Augment()})
    rivals = []
    for suffix, compiles in scale.compilations():
        peer = f"bare PyTorch{suffix}"
        ours = recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"compile": compiles})})
        rivals += [
            Rival(f"kilat{suffix}", partial(layered, ours, noise, scale, workdir), batch, peer),
            Rival(peer, partial(plain, network, optimizer, noise, batch, scale, compiled=compiles), batch, peer),
        ]
    compare(f"{title}: training, {side}×{side}, batches of {batch}", rivals, scale)


def _noise(side: int, batch: int, scale: Scale) -> Noise:
    """Return as many pictures as the scale has, rounded up to whole batches."""
    return Noise(side, -(-scale.pictures // batch) * batch)


def layered(recipe: Recipe, noise: Noise, scale: Scale, workdir: Path) -> Work:
    """Return a step of kilat's loop with a network of layers."""
    source = noise.source()
    dataset, _near_duplicates = read_dataset(source, recipe, silent)
    return _loop(network_run(source, dataset, recipe, device=scale.device, name="benchmark"), workdir)


def _loop(training: TrainingRun, workdir: Path) -> Work:
    """Return the steps of a training, one a call; nothing is saved or validated."""
    trainer = Trainer(training.spec, Checkpoints(workdir / "checkpoints"))
    return partial(next, trainer.losses_at([LEARNING_RATE] * _FOREVER))


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
    runner = gpu.TorchRunner(LITE, scale.side, None, scale.device)
    pixels = Noise(scale.side, runner.batch).pixels()
    on_device = torch.from_numpy(pixels).to(scale.device)
    source = Noise(scale.side, max(scale.pictures, 2 * runner.batch)).source()
    backbone = backbones.choose(Features(size=scale.side), source, scale.device).backbone
    pool = ThreadPoolExecutor(_CALLERS)

    def limit() -> None:
        with torch.inference_mode():
            runner.run(on_device)

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


def fine_tuning(scale: Scale, workdir: Path) -> None:
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
                    partial(opened, full_recipe, noise, scale, workdir),
                    batch,
                    peer,
                ),
                Rival(f"kilat, reduced{suffix}", partial(opened, reduced_recipe, noise, scale, workdir), batch, peer),
                Rival(peer, partial(plain, network, optimizer, noise, batch, scale, compiled=compiles), batch, peer),
            ]
        compare(f"fine-tuning: {LITE}, {scale.side}×{scale.side}, batches of {batch}", rivals, scale)


def _finetuning_settings(scale: Scale, batch: int) -> dict[str, Any]:
    return {
        "features.size": scale.side, "fit.batch": batch, "fit.precision": scale.precision,
        "runtime.device": scale.device,
    }  # fmt: skip


def opened(recipe: Recipe, noise: Noise, scale: Scale, workdir: Path) -> Work:
    """Return a step of kilat's loop with a backbone under a head of zeros."""
    source = noise.source()
    dataset, _near_duplicates = read_dataset(source, recipe, silent)
    width = sum(block.width for block in feature_extractor.create(LITE, noise.side).blocks)
    zeros, ones = np.zeros((2, width), np.float32)[0], np.ones(width, np.float32)
    head = Head(zeros, ones, np.zeros((width, CLASSES), np.float32), np.zeros(CLASSES, np.float32))
    return _loop(finetuning_run(source, dataset, recipe, head, device=scale.device), workdir)


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
