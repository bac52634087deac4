"""On a CUDA GPU: training steps against bare PyTorch, feature extraction against the GPU's own limit, peak memory.

Everything that kilat does on a GPU and that has a peer, in one command:

vgg-cifar     a training step in kilat's loop, and of the same network as a hand-written `nn.Sequential`
resnet50      a training step of timm's ResNet-50 (random weights, 224 px) in kilat's loop, and in bare PyTorch
features      the frozen backbone (EfficientNet-Lite0, 224 px) as kilat runs it: called by one thread, by several, and
              in a whole pass over decoded pictures; the limit is the same compiled network on pictures that lie on the
              GPU already
fine-tuning   a step of the recipe `finetune` on all of EfficientNet-Lite0 (224 px), as it is, and without augmentation,
              mean of the weights, clipping and layer decay; and plain timm code with AdamW, its batch norms fixed as
              those of the recipe. kilat's head sees the statistics of every stage, timm's the last features alone

Training is in bf16 autocast (fp32 where the GPU has no bf16) and channels-last, the peers with a fused optimizer
(`_bare_steps.py`), everything once as it is and once through `torch.compile`. Pictures are noise that lies in the GPU's
memory. A step of kilat's is all that its loop does: fetching, loss, penalty, accuracy, and the check for a loss that is
no number, for which it waits for the GPU.

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
from kilat.fit import training_run
from kilat.fit.checkpoint import Checkpoints
from kilat.fit.loop import Trainer
from kilat.fit.train_step import PRECISIONS
from kilat.learn import backbone as choice
from kilat.learn import frozen
from kilat.model import feature_extractor, gpu
from kilat.probe import Head
from kilat.recipe import Augment, Features, Recipe, load
from kilat.runtime.progress import silent

LITE = "efficientnet_lite0"
RATE, DECAY = 1e-4, 0.02
CLASSES = 10
PARTS = ("vgg-cifar", "resnet50", "features", "fine-tuning")
_WARM = 3
_FOREVER = 1_000_000
_CALLERS = 4
_HELD_OUT = 20
"""Pictures for validation and for the test, which kilat wants to have; nobody looks at them here."""


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

    def ways(self) -> Iterator[tuple[str, bool]]:
        """Uncompiled and compiled, with what is said of it."""
        yield "", False
        if self.compiles:
            yield ", compiled", True


@dataclass(frozen=True)
class Rival:
    """What is measured.

    Args:
        name: in the table.
        make: builds it; gives what is called again and again.
        pictures: a call.
        peer: the name of the one that it is compared with; itself where there is none.
    """

    name: str
    make: Callable[[], Work]
    pictures: int
    peer: str


@dataclass(frozen=True)
class Noise:
    """Pictures that show nothing, with ready-made splits, so that every batch is full.

    Args:
        side: in pixels.
        count: how many there are to train on, a multiple of the batch.
    """

    side: int
    count: int

    def source(self) -> ArraySource:
        """As kilat gets them."""
        rest = ["validation"] * _HELD_OUT + ["test"] * _HELD_OUT
        labels = [str(row % CLASSES) for row in range(self.count + len(rest))]
        return ArraySource(self.pixels(len(rest)), labels, "noise", ["train"] * self.count + rest)

    def pixels(self, more: int = 0) -> NDArray[np.uint8]:
        """uint8 ``[count + more, side, side, 3]``."""
        return np.random.default_rng(0).integers(0, 256, (self.count + more, self.side, self.side, 3), np.uint8)

    def truth(self) -> torch.Tensor:
        """Classes ``[count]``."""
        return torch.arange(self.count) % CLASSES


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: with --quick only")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be said again")
    parser.add_argument("--batch", type=int, help="pictures a step of everything that is trained, instead of its own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="steps a round")
    parser.add_argument("--no-compile", action="store_true", help="leave out what is compiled")
    parser.add_argument("--quick", action="store_true", help="whether it works; the figures mean nothing")
    given = parser.parse_args()
    if given.device == "cpu" and not given.quick:
        parser.error("on a CPU this says nothing: --device cpu is for --quick")
    if given.device == "cuda" and not gpu.is_usable():
        sys.exit("This machine has no CUDA GPU that PyTorch can use, so nothing was measured.")
    measure.opening(__doc__, *measure.PACKAGES, "torch", "timm")
    print(f"device    {device_name(given.device)}")
    scale = quick(given.device) if given.quick else full(given)
    said = "; QUICK: the figures mean nothing" if given.quick else ""
    print(f"way       {scale.precision}, {scale.rounds} rounds of {scale.steps} steps{said}", flush=True)
    runs = {"vgg-cifar": vgg, "resnet50": resnet, "features": features, "fine-tuning": fine_tuning}
    with tempfile.TemporaryDirectory() as place:
        for name in given.only or PARTS:
            runs[name](scale, Path(place))


def full(given: argparse.Namespace) -> Scale:
    """The whole benchmark on a GPU."""
    batches: dict[str, tuple[int, ...]] = {"vgg-cifar": (64, 1024), "resnet50": (256, 128), "fine-tuning": (128, 32)}
    if given.batch:
        batches = dict.fromkeys(batches, (given.batch,))
    precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return Scale("cuda", precision, 224, batches, 1024, given.rounds, given.steps, compiles=not given.no_compile)


def quick(device: str) -> Scale:
    """The same ways through the code, as small as they can be."""
    batches: dict[str, tuple[int, ...]] = {"vgg-cifar": (8,), "resnet50": (4,), "fine-tuning": (4,)}
    return Scale(device, "bf16", 32, batches, 8, rounds=1, steps=1, compiles=False)


def device_name(device: str) -> str:
    """What computes, and its memory."""
    if device == "cpu":
        return f"the CPU, {torch.get_num_threads()} threads"
    about = torch.cuda.get_device_properties(0)
    return f"{about.name}, {about.total_memory / (1 << 30):.0f} GiB, CUDA {torch.version.cuda}"


def vgg(scale: Scale, place: Path) -> None:
    """A training step of `vgg-cifar`, without augmentation."""
    task = training_speed.TASKS[0]
    assert task.recipe == "vgg-cifar"

    def network() -> nn.Module:
        return bare.placed(training_speed.sequential(task), scale.device)

    for batch in scale.batches["vgg-cifar"]:
        recipe = load("vgg-cifar", {**_choices(scale, batch), "input.size": task.size})
        optimizer = partial(bare.adam, rate=RATE, l2=task.l2)
        steps("vgg-cifar", recipe, network, optimizer, task.size, batch, scale, place)


def resnet(scale: Scale, place: Path) -> None:
    """A training step of ResNet-50."""
    layers: list[Any] = [
        {"backbone": {"name": "resnet50", "trainable": True}},
        "global_avg_pool",
        {"dense": {"units": "classes", "activation": "softmax"}},
    ]
    network = partial(bare.from_timm, "resnet50", CLASSES, scale.device)
    for batch in scale.batches["resnet50"]:
        given = {"input": {"size": scale.side}, "model": {"weights": "none", "layers": layers}}
        recipe = load(given, _choices(scale, batch))
        steps("resnet50", recipe, network, partial(bare.adam, rate=RATE), scale.side, batch, scale, place)


def _choices(scale: Scale, batch: int) -> dict[str, Any]:
    """What every network is trained with here."""
    return {
        "input.cache": "memory", "fit.batch": batch, "fit.precision": scale.precision, "fit.schedule": "constant",
        "fit.optimizer": {"name": "adam", "learning_rate": RATE}, "runtime.device": scale.device,
    }  # fmt: skip


def steps(
    title: str,
    recipe: Recipe,
    network: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    side: int,
    batch: int,
    scale: Scale,
    place: Path,
) -> None:
    """Measures the steps of a recipe's network in kilat's loop, and of the same network outside."""
    noise = _noise(side, batch, scale)
    recipe = recipe.model_copy(update={"augment": Augment()})
    rivals = []
    for said, compiles in scale.ways():
        peer = f"bare PyTorch{said}"
        ours = recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"compile": compiles})})
        rivals += [
            Rival(f"kilat{said}", partial(layered, ours, noise, scale, place), batch, peer),
            Rival(peer, partial(plain, network, optimizer, noise, batch, scale, compiled=compiles), batch, peer),
        ]
    contest(f"{title}: training, {side}×{side}, batches of {batch}", rivals, scale)


def _noise(side: int, batch: int, scale: Scale) -> Noise:
    """As many pictures as are wanted, and a whole number of batches."""
    return Noise(side, -(-scale.pictures // batch) * batch)


def layered(recipe: Recipe, noise: Noise, scale: Scale, place: Path) -> Work:
    """A step of kilat's loop with a network of layers."""
    source = noise.source()
    seen = frozen.see(source, recipe, silent)
    return _loop(training_run.begin(source, seen, recipe, device=scale.device, name="benchmark"), place)


def _loop(begun: training_run.Job, place: Path) -> Work:
    """The steps of a training, one a call; nothing is saved or validated."""
    return partial(next, Trainer(begun.task, Checkpoints(place / "checkpoints")).probe([RATE] * _FOREVER))


def plain(
    network: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    noise: Noise,
    batch: int,
    scale: Scale,
    *,
    compiled: bool,
) -> Work:
    """A step outside of kilat."""
    built = network()
    pixels, truth = torch.from_numpy(noise.pixels()).to(scale.device), noise.truth().to(scale.device)
    dtype = PRECISIONS[scale.precision]
    return bare.step(built, optimizer(built), pixels, truth, batch=batch, dtype=dtype, compiled=compiled)


def features(scale: Scale, _place: Path) -> None:
    """The frozen backbone: as kilat runs it, and as fast as the device can."""
    runner = gpu.TorchRunner(LITE, scale.side, None, scale.device)
    pixels = Noise(scale.side, runner.batch).pixels()
    here = torch.from_numpy(pixels).to(scale.device)
    source = Noise(scale.side, max(scale.pictures, 2 * runner.batch)).source()
    backbone = choice.choose(Features(size=scale.side), source, scale.device)
    pool = ThreadPoolExecutor(_CALLERS)

    def limit() -> None:
        with torch.inference_mode():
            runner.run(here)

    def several() -> None:
        list(pool.map(runner, [pixels] * _CALLERS))

    def whole() -> None:
        extract_features(source, np.ones(len(source.entries), bool), backbone, resize="crop", cache=None, runner=runner)

    name = "the limit: pictures on the device"
    works: list[tuple[str, Work, int]] = [
        (name, limit, runner.batch),
        ("TorchRunner, one thread", partial(runner, pixels), runner.batch),
        (f"TorchRunner, {_CALLERS} threads", several, _CALLERS * runner.batch),
        ("a whole pass", whole, len(source.entries)),
    ]
    rivals = [Rival(said, lambda work=work: work, pictures, name) for said, work, pictures in works]  # type: ignore[misc]
    contest(f"features: {LITE}, {scale.side}×{scale.side}, batches of {runner.batch}", rivals, scale)
    pool.shutdown()


def fine_tuning(scale: Scale, place: Path) -> None:
    """A step of fine-tuning with all stages open."""
    for batch in scale.batches["fine-tuning"]:
        noise = _noise(scale.side, batch, scale)
        network = partial(bare.from_timm, f"tf_{LITE}", CLASSES, scale.device, fixed_norms=True)
        optimizer = partial(bare.adamw, rate=RATE, decay=DECAY)
        rivals = []
        for said, compiles in scale.ways():
            peer = f"plain timm{said}"
            whole = load("finetune", {**_tuning(scale, batch), "fit.compile": compiles})
            less: dict[str, Any] = {"fit.ema": None, "fit.clip": {}, "fit.layer_decay": 1.0, "augment": {}}
            ours = load(whole, less)
            rivals += [
                Rival(f"kilat, the recipe as it is{said}", partial(opened, whole, noise, scale, place), batch, peer),
                Rival(f"kilat, as plain{said}", partial(opened, ours, noise, scale, place), batch, peer),
                Rival(peer, partial(plain, network, optimizer, noise, batch, scale, compiled=compiles), batch, peer),
            ]
        contest(f"fine-tuning: {LITE}, {scale.side}×{scale.side}, batches of {batch}", rivals, scale)


def _tuning(scale: Scale, batch: int) -> dict[str, Any]:
    return {
        "features.size": scale.side, "fit.batch": batch, "fit.precision": scale.precision,
        "runtime.device": scale.device,
    }  # fmt: skip


def opened(recipe: Recipe, noise: Noise, scale: Scale, place: Path) -> Work:
    """A step of kilat's loop with a backbone under a head that knows nothing yet."""
    source = noise.source()
    seen = frozen.see(source, recipe, silent)
    width = sum(block.width for block in feature_extractor.create(LITE, noise.side).blocks)
    zeros, ones = np.zeros((2, width), np.float32)[0], np.ones(width, np.float32)
    head = Head(zeros, ones, np.zeros((width, CLASSES), np.float32), np.zeros(CLASSES, np.float32))
    return _loop(training_run.open_backbone(source, seen, recipe, head, device=scale.device), place)


def contest(title: str, rivals: Sequence[Rival], scale: Scale) -> None:
    """Builds rivals, measures them in turn, and prints it."""
    print(title, flush=True)
    torch.compiler.reset()
    ready: dict[str, tuple[Rival, Work, str]] = {}
    for rival in rivals:
        try:
            ready[rival.name] = (rival, *prepared(rival.make, scale.device))
        except torch.OutOfMemoryError:
            print(f"  {rival.name:36} out of memory: give a smaller --batch")
    meters = {name: partial(rate, work, rival.pictures, scale) for name, (rival, work, _) in ready.items()}
    taken = measure.in_turn(scale.rounds, meters)
    for name, values in taken.items():
        rival, _work, peak = ready[name]
        against = ""
        if rival.peer != name and rival.peer in taken:
            against = f"   {measure.ratio(values, taken[rival.peer])[1]} × {rival.peer}"
        print(f"  {name:36} {measure.spread(values, 'pictures/s', 1)}   {peak}{against}", flush=True)


def prepared(make: Callable[[], Work], device: str) -> tuple[Work, str]:
    """Builds a rival and lets it make its first steps; also the most memory that this took on the GPU."""
    gc.collect()
    if device == "cpu":
        return _warmed(make), "memory not measured"
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work = _warmed(make)
    wait(device)
    return work, f"peak {(torch.cuda.max_memory_allocated() - before) / (1 << 30):.2f} GiB"


def _warmed(make: Callable[[], Work]) -> Work:
    work = make()
    for _ in range(_WARM):  # memory, kernels, compilation and caches that only the first steps need
        work()
    return work


def rate(work: Work, pictures: int, scale: Scale) -> float:
    """Pictures a second."""
    wait(scale.device)
    begin = time.perf_counter()
    for _ in range(scale.steps):
        work()
    wait(scale.device)
    return scale.steps * pictures / (time.perf_counter() - begin)


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
