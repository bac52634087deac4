"""Milliseconds a training step (forward, backward, update) of kilat's loop, of plain PyTorch and of Keras 3 on PyTorch.

All train the same networks on the same pictures in memory: batches of 64, Adam, on the CPU, with and without the eight
augmentations of `vgg-cifar`. Plain PyTorch is a hand-written `nn.Sequential` in channels-last memory with
`torch.optim.Adam(fused=True)`; it takes uint8 pixels and normalises them in each step, as kilat does, and `model.l2` is
its optimizer's weight decay. Its augmentation is one `grid_sample` a batch, then brightness and channel shift. Keras
gets pixels that are normalised already, in `train_on_batch`; its augmentation is the courses' `ImageDataGenerator`,
which changes one picture at a time. A step of kilat's is all that its loop does: fetching, augmenting, loss, penalty,
accuracy.

Everything runs in one process, in turn, with the same number of threads. A time is the mean of `--steps` steps; shown
are the median over `--rounds` rounds, the range and the number of rounds. Then: how fast pictures are loaded for
training, from memory, or decoded each time from JPEG files (peer: PyTorch's `DataLoader` with Pillow and as many
workers as cores).
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import _measure as measure
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from kilat.data.arrays import ArraySource
from kilat.fit import prepare
from kilat.fit.checkpoint import Checkpoints
from kilat.fit.loader import InMemory, Streaming
from kilat.fit.loop import Trainer
from kilat.learn.network import read_dataset
from kilat.recipe import Augment, load
from kilat.runtime.array_types import Ints, Pixels
from kilat.runtime.progress import silent
from kilat.verbs.open_data import open_data

BATCH = 64
LEARNING_RATE = 5e-4
CLASSES = 10
PICTURES = 1024
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
_FOREVER = 1_000_000
_JPEG_SIDE = 128

Step = Callable[[], object]
Plan = Sequence[tuple[str, float]]
BatchLoader = Callable[[Sequence[Ints]], Iterator[Tensor]]


class Case(NamedTuple):
    """A network, written once for both peers.

    Args:
        recipe: kilat's own.
        size: side of its input in pixels.
        grey: whether it has one channel.
        l2: penalty on all kernels but the last.
        plan: its layers; ``conv`` is 3×3 with padding.
    """

    recipe: str
    size: int
    grey: bool
    l2: float
    plan: Plan


def _blocks(filters: Sequence[int], rates: Sequence[float], parts: Sequence[str]) -> list[tuple[str, float]]:
    """Return ``parts`` twice, then pooling and dropout, for every number of filters."""
    plan: list[tuple[str, float]] = []
    for number, rate in zip(filters, rates, strict=True):
        plan += [(part, number) for part in parts] * 2 + [("pool", 2), ("dropout", rate)]
    return plan


_DENSE: Plan = [("norm", 0), ("dense", 300), ("elu", 0), ("norm", 0), ("dense", 100), ("elu", 0), ("norm", 0)]
_SMALL = _blocks((32, 64, 128), (0.1, 0.2, 0.3), ("conv", "norm", "relu"))
TASKS = (
    Case("vgg-cifar", 32, False, 1e-4, [
        *_blocks((32, 64, 128, 256), (0.2, 0.3, 0.4, 0.5), ("conv", "relu", "norm")),
        ("flatten", 0), ("dense", CLASSES),
    ]),
    Case("small-cnn", 28, True, 0.0, [*_SMALL[:-2], ("mean", 0), _SMALL[-1], ("dense", CLASSES)]),
    Case("mlp-bn", 28, True, 0.0, [("flatten", 0), *_DENSE, ("dense", CLASSES)]),
)  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="steps a round")
    parser.add_argument("--only", choices=[task.recipe for task in TASKS])
    parser.add_argument("--no-keras", action="store_true", help="leave out Keras, which need not be installed then")
    args = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "torch"
    measure.print_header(__doc__, *measure.PACKAGES, "torch", *([] if args.no_keras else ["keras"]))
    capabilities = torch.cpu.get_capabilities()
    has_bf16 = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    print(f"threads   {torch.get_num_threads()}; bfloat16 in hardware: {'yes' if has_bf16 else 'no'}")
    with tempfile.TemporaryDirectory() as workdir:
        for task in TASKS:
            if args.only in (None, task.recipe):
                compare(task, args.rounds, args.steps, Path(workdir), with_keras=not args.no_keras)
        if not args.only:
            compare_loaders(args.rounds, Path(workdir))


def compare(task: Case, rounds: int, steps: int, workdir: Path, *, with_keras: bool) -> None:
    """Measure training steps of one network in all systems, and print them."""
    rng = np.random.default_rng(0)
    side = task.size
    pixels = rng.integers(0, 256, (PICTURES, side, side, 3), np.uint8)
    truth = np.arange(PICTURES) % CLASSES
    rivals: dict[str, Step] = {}
    for augmented in [False, True] if task.recipe == "vgg-cifar" else [False]:
        suffix = ", augmented" if augmented else ""
        for name, dtype in PRECISIONS.items():
            rivals[f"kilat {name}{suffix}"] = kilat(task, pixels, truth, name, workdir, augmented=augmented)
            rivals[f"PyTorch {name}{suffix}"] = plain(task, pixels, truth, dtype, augmented=augmented)
        if with_keras:
            rivals[f"Keras fp32{suffix}"] = keras_step(task, pixels, truth, augmented=augmented)
    print(f"{task.recipe}: batches of {BATCH}, {side}×{side}, {'grey' if task.grey else 'colour'}")
    for step in rivals.values():
        mean_ms(step, 3)  # memory, kernels and caches, which only the first steps pay for
    samples = measure.interleave(rounds, {name: partial(mean_ms, step, steps) for name, step in rivals.items()})
    for name, values in samples.items():
        system, variant = name.split(" ", 1)
        ours = samples.get(f"kilat {variant}", values)
        against = "" if system == "kilat" else f"   {measure.ratio(values, ours)[1]} × kilat {variant}"
        print(f"  {name:26} {measure.summary(values, 'ms')}{against}", flush=True)


def mean_ms(step: Step, steps: int) -> float:
    """Return milliseconds a step."""
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return 1000 * (time.perf_counter() - begin) / steps


def kilat(task: Case, pixels: Pixels, truth: Ints, precision: str, workdir: Path, *, augmented: bool) -> Step:
    """Return a step of kilat's loop, as in training."""
    settings: dict[str, Any] = {
        "input.size": task.size, "input.cache": "memory", "fit.precision": precision, "runtime.device": "cpu",
        "fit.batch": BATCH, "fit.schedule": "constant",
        "fit.optimizer": {"name": "adam", "learning_rate": LEARNING_RATE},
    }  # fmt: skip
    recipe = load(task.recipe, settings)
    recipe = recipe if augmented else recipe.model_copy(update={"augment": Augment()})
    source = ArraySource(pixels, [str(label) for label in truth], "noise")
    dataset, _near_duplicates = read_dataset(source, recipe, silent)
    training = prepare.network_run(source, dataset, recipe, device="cpu", name=task.recipe)
    trainer = Trainer(training.spec, Checkpoints(workdir / f"{task.recipe}{precision}{augmented}"))
    return partial(next, trainer.losses_at([LEARNING_RATE] * _FOREVER))


def plain(task: Case, pixels: Pixels, truth: Ints, dtype: torch.dtype, *, augmented: bool) -> Step:
    """Return a step in plain PyTorch, as in a good tutorial."""
    network = sequential(task).to(memory_format=torch.channels_last).train()
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": kernels[:-1], "weight_decay": 2 * task.l2},  # the gradient of l2 × weight²
        {"params": [*kernels[-1:], *others]},
    ]
    optimizer = torch.optim.Adam(groups, lr=LEARNING_RATE, fused=True)
    batches = shuffled_batches()
    pictures, labels = torch.from_numpy(pixels), torch.from_numpy(truth)
    mean, scale = float(pictures.float().mean()), float(1 / pictures.float().std())

    def step() -> None:
        rows = torch.from_numpy(next(batches))
        planes = pictures[rows].permute(0, 3, 1, 2).float()
        planes = augment(planes) if augmented else planes
        planes = planes.mean(1, keepdim=True) if task.grey else planes
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = network((planes - mean) * scale)
        loss = functional.cross_entropy(logits.float(), labels[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def sequential(task: Case) -> nn.Sequential:
    """Return the network of a plan in PyTorch."""
    channels, side = (1 if task.grey else 3), task.size
    layers: list[nn.Module] = []
    for kind, number in task.plan:
        flat = any(isinstance(layer, nn.Flatten) for layer in layers)
        if kind == "conv":
            layers.append(nn.Conv2d(channels, int(number), 3, padding=1))
            channels = int(number)
        elif kind == "dense":
            layers.append(nn.Linear(channels, int(number)))
            channels = int(number)
        elif kind == "norm":
            layers.append((nn.BatchNorm1d if flat else nn.BatchNorm2d)(channels, eps=1e-3, momentum=0.01))
        elif kind == "pool":
            layers.append(nn.MaxPool2d(2))
            side //= 2
        elif kind == "flatten":
            layers.append(nn.Flatten())
            channels *= side * side
        elif kind == "mean":
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        elif kind == "dropout":
            layers.append(nn.Dropout(number))
        else:
            layers.append({"relu": nn.ReLU, "elu": nn.ELU}[kind]())
    return nn.Sequential(*layers)


def augment(planes: Tensor) -> Tensor:
    """Apply the eight augmentations of `vgg-cifar` to a batch."""
    n, device = len(planes), planes.device

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(n, *shape, device=device).uniform_(low, high)

    angle, shear = draw(-15, 15).deg2rad(), draw(-10, 10).deg2rad()
    zoom_x, zoom_y, flip = draw(0.9, 1.1), draw(0.9, 1.1), torch.randint(0, 2, (n,), device=device) * 2.0 - 1
    rows = [
        torch.stack([angle.cos() * zoom_x * flip, -(angle + shear).sin() * zoom_y, 2 * draw(-0.12, 0.12)], 1),
        torch.stack([angle.sin() * zoom_x * flip, (angle + shear).cos() * zoom_y, 2 * draw(-0.12, 0.12)], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(planes.shape), align_corners=False)
    moved = functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    return (moved * draw(0.9, 1.1, 1, 1, 1) + draw(-25.5, 25.5, 3, 1, 1)).clamp_(0, 255)


def keras_step(task: Case, pixels: Pixels, truth: Ints, *, augmented: bool) -> Step:
    """Return a step of Keras, as in courses."""
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # no longer public in Keras

    layers, side = keras.layers, task.size
    penalty = keras.regularizers.L2(task.l2) if task.l2 else None
    make: dict[str, Callable[[float], Any]] = {
        "conv": lambda number: layers.Conv2D(int(number), 3, padding="same", kernel_regularizer=penalty),
        "dense": lambda number: layers.Dense(int(number)),
        "norm": lambda _number: layers.BatchNormalization(),
        "pool": lambda _number: layers.MaxPooling2D(),
        "mean": lambda _number: layers.GlobalAveragePooling2D(),
        "flatten": lambda _number: layers.Flatten(),
        "dropout": layers.Dropout,
        "relu": lambda _number: layers.Activation("relu"),
        "elu": lambda _number: layers.Activation("elu"),
    }
    model = keras.Sequential([keras.Input((side, side, 1 if task.grey else 3)), *(make[k](n) for k, n in task.plan)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=loss, metrics=["accuracy"])
    values = pixels.astype(np.float32)
    values = values.mean(3, keepdims=True) if task.grey else values
    values = (values - values.mean()) / values.std()
    if augmented:
        generator = ImageDataGenerator(
            rotation_range=15, width_shift_range=0.12, height_shift_range=0.12, horizontal_flip=True, zoom_range=0.1,
            brightness_range=(0.9, 1.1), shear_range=10, channel_shift_range=0.1, fill_mode="nearest",
        )  # fmt: skip
        flow = generator.flow(values, truth, batch_size=BATCH)
        return lambda: model.train_on_batch(*next(flow))
    batches = shuffled_batches()

    def step() -> None:
        rows = next(batches)
        model.train_on_batch(values[rows], truth[rows])

    return step


def shuffled_batches() -> Iterator[Ints]:
    """Yield batches of rows without end, each epoch in another order."""
    for epoch in count():
        yield from np.random.default_rng(epoch).permutation(PICTURES).reshape(-1, BATCH)


def compare_loaders(rounds: int, workdir: Path) -> None:
    """Measure how many pictures a second are loaded for training, and print it."""
    folder = workdir / "noise"
    noise = np.random.default_rng(0).integers(0, 256, (PICTURES, 16, 16, 3), np.uint8)
    for number, picture in enumerate(noise):
        file = folder / str(number % 2) / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).resize((_JPEG_SIDE, _JPEG_SIDE)).save(file, quality=90)
    source = open_data(folder)
    recipe = load("vgg-cifar", {"input.size": _JPEG_SIDE, "input.cache": "memory"})
    dataset, _near_duplicates = read_dataset(source, recipe, silent)
    assert dataset.pixels is not None
    loaders: dict[str, BatchLoader] = {
        "kilat, in memory": InMemory(dataset.pixels, "cpu").batches,
        "kilat, streamed": Streaming(source, _JPEG_SIDE, "crop", "cpu").batches,
        "PyTorch DataLoader": partial(torch_batches, measure.list_pictures(folder)),
    }
    order = list(np.random.default_rng(0).permutation(PICTURES).reshape(-1, BATCH))
    print(f"pictures: {PICTURES:,} JPEG files of {_JPEG_SIDE}×{_JPEG_SIDE}, batches of {BATCH}")
    rivals = {name: partial(pictures_per_second, loader, order) for name, loader in loaders.items()}
    samples = measure.interleave(rounds, rivals)
    for name, values in samples.items():
        print(f"  {name:26} {measure.summary(values, 'pictures/s', 0)}", flush=True)


class PictureFiles(torch.utils.data.Dataset[Tensor]):
    """Pictures from files, as a tutorial reads them."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Tensor:
        with Image.open(self.files[row]) as picture:
            return torch.from_numpy(np.array(picture.convert("RGB")))


def torch_batches(files: Sequence[Path], order: Sequence[Ints]) -> Iterator[Tensor]:
    """Yield batches from PyTorch's own loader."""
    workers = os.cpu_count() or 1
    yield from torch.utils.data.DataLoader(PictureFiles(files), batch_sampler=[*map(list, order)], num_workers=workers)


def pictures_per_second(loader: BatchLoader, order: Sequence[Ints]) -> float:
    """Return pictures a second over one epoch."""
    begin = time.perf_counter()
    pictures = sum(len(batch) for batch in loader(order))
    return pictures / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
