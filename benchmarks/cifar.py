"""CIFAR-10 from scratch: accuracy by time of kilat's recipes, in epochs of the course recipe in Keras on TensorFlow.

Each round is a whole `kilat train` of every recipe, one seed a round, on the CPU; and beside it, in turn, the time of
an epoch of the course recipe (250 of them make it) in Keras on TensorFlow, with its augmentation and without, and in
plain PyTorch without, in bfloat16 where the processor has it. An epoch of the peers is 50,000 pictures; its time is
that of `--steps` steps. Accuracy is that on the 10,000 test pictures, which decide nothing. The claims are counted in
epochs without augmentation, which is the shorter time of Keras.

The shared copy of CIFAR-10 was compressed as JPEG, so accuracies are slightly below those on the original pixels.

    python benchmarks/cifar.py --root DATA --python kerasenv/bin/python                      hours
    python benchmarks/cifar.py --root DATA --python kerasenv/bin/python --recipe fast-cifar  half an hour on two cores
    python benchmarks/cifar.py --data digits --recipe tiny --rounds 1 --steps 10             whether it works
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _measure as measure
import numpy as np
import torch
from course_recipe import find_keras
from training_speed import TASKS, mean_ms, plain

EPOCH, BATCH = 50_000, 64
CLAIMS = {"fast-cifar": (0.89, 2), "fast-cifar-90": (0.90, 4), "fast-cifar-915": (0.915, None)}
"""For every recipe the mean accuracy, and in how many epochs of Keras."""

_KERAS = ("Keras epoch, augmented", "Keras epoch")
_TORCH = "PyTorch epoch"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", help=f"may be repeated; by default {', '.join(CLAIMS)}")
    parser.add_argument("--rounds", type=int, default=5, help="seeds 0, 1, …")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--steps", type=int, default=100, help="of the peers, a round")
    parser.add_argument("--root", type=Path, help="folder with a copy of cifar10")
    parser.add_argument("--data", help="another set or folder, such as digits")
    parser.add_argument("--python", default=os.environ.get("KERAS_PYTHON"), help="with keras, tensorflow, scipy")
    args = parser.parse_args()
    data = (args.data,) if args.data else cifar(args.root)
    recipes = args.recipe or list(CLAIMS)
    keras = find_keras(args.python) if args.python else None
    measure.print_header(__doc__, *measure.PACKAGES, "torch")
    with tempfile.TemporaryDirectory() as workdir:
        runs: dict[str, list[dict[str, Any]]] = {recipe: [] for recipe in recipes}
        peers: dict[str, list[float]] = {_TORCH: []}
        for seed in range(args.seed, args.seed + args.rounds):
            for name, seconds in epochs_of_peers(keras, args.steps).items():
                peers.setdefault(name, []).append(seconds)
            for recipe in recipes:
                runs[recipe].append(train(recipe, data, seed, Path(workdir)))
                print(line(recipe, seed, runs[recipe][-1]), flush=True)
    for name, values in peers.items():
        print(f"{name:24}{measure.summary(values)}")
    for recipe in recipes:
        conclude(recipe, runs[recipe], peers)


def cifar(root: Path | None) -> tuple[str, ...]:
    """Return the command's arguments for CIFAR-10; skip where it is not here."""
    folder = measure.dataset_folder("cifar10", root / "cifar10" if root else None)
    return ("cifar10", "--root", str(folder.parent))


def epochs_of_peers(keras: Path | None, steps: int) -> dict[str, float]:
    """Return the seconds of an epoch of the course recipe in every peer."""
    epochs = {_TORCH: plain_epoch(steps)}
    if keras:
        command = [str(keras), str(measure.HERE / "_keras_epoch.py"), "--steps", str(steps)]
        environment = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
        found = measure.run(command, environment=environment).document
        epochs |= dict(zip(_KERAS, (found["augmented"], found["plain"]), strict=True))
    return epochs


def plain_epoch(steps: int) -> float:
    """Return the seconds of an epoch in plain PyTorch, from so many steps."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1024, 32, 32, 3), np.uint8)
    capabilities = torch.cpu.get_capabilities()
    has_bf16 = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    step = plain(TASKS[0], pixels, np.arange(1024) % 10, torch.bfloat16 if has_bf16 else torch.float32, augmented=False)
    mean_ms(step, 3)  # kernels and caches, which only the first steps pay for
    return mean_ms(step, steps) / 1000 * EPOCH / BATCH


def train(recipe: str, data: Sequence[str], seed: int, workdir: Path) -> dict[str, Any]:
    """Return the seconds and the metrics of one whole run."""
    options = ["--recipe", recipe, "--seed", str(seed), *data[1:]]
    done = measure.train(data[0], workdir / "runs", workdir / "cache", *options)
    return {"seconds": done.seconds, **done.document["metrics"]}


def line(recipe: str, seed: int, run: dict[str, Any]) -> str:
    """Return what one run came to."""
    test, validation = run["test"], run["validation"]
    return (
        f"{recipe:16} seed {seed}  validation {validation['accuracy']:.4f}  test {test['accuracy']:.4f} "
        f"(n={test['n']:,})  {run['seconds']:.1f} s, of them training {run['timing']['fit_s']:.1f}"
    )


def conclude(recipe: str, runs: Sequence[dict[str, Any]], peers: dict[str, list[float]]) -> None:
    """Print accuracy and time of a recipe over all seeds, and whether its claims hold."""
    accuracies = [run["test"]["accuracy"] for run in runs]
    seconds = [run["seconds"] for run in runs]
    accuracy = statistics.mean(accuracies)
    shown = partial("{:.4f}".format)
    spread = f" ± {shown(statistics.stdev(accuracies))}" if len(accuracies) > 1 else ""
    print(f"{recipe:16}test {shown(accuracy)}{spread} (n={len(runs)} seeds)  {measure.summary(seconds)}")
    at_least, epochs = CLAIMS.get(recipe, (0.0, None))
    if at_least:
        measure.verdict(f"{recipe} ≥ {at_least}", shown(accuracy), accuracy >= at_least)
    for name in _KERAS:
        if name in peers:
            value, words = measure.ratio(seconds, peers[name])
            if epochs and name == _KERAS[1]:
                measure.verdict(f"{recipe} in ≤ {epochs} × {name}", words, value <= epochs)
            else:
                print(f"{recipe:16}{words} × {name}")


if __name__ == "__main__":
    main()
