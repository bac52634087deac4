"""airbench94 on the pictures that kilat was trained on, for `gpu.py`: accuracy and seconds for several lengths.

    python benchmarks/_airbench.py FOLDER

It works in that folder, where it puts the pictures in the form that airbench reads. The last line of its output is a
JSON list. The first training, which chooses and compiles kernels, does not count, as in airbench itself.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from kilat.learn.network import read_dataset
from kilat.recipe import load
from kilat.runtime.progress import silent
from kilat.verbs.open_data import open_data

EPOCHS = (3, 4, 9.9)
"""The last is airbench's own, for 0.94 on the original pictures."""


def main() -> None:
    """Train several times and print the results."""
    import airbench  # type: ignore[import-not-found,unused-ignore]

    folder = Path(sys.argv[1])
    (folder / "cifar10").mkdir(parents=True)
    write_pictures(folder / "cifar10")
    os.chdir(folder)  # airbench reads from there
    airbench.warmup94(verbose=False)
    rows = []
    for epochs in EPOCHS:
        torch.cuda.synchronize()
        began = time.perf_counter()
        network = airbench.train94(epochs=epochs, verbose=False)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        accuracy = airbench.evaluate(network, airbench.CifarLoader("cifar10", train=False), tta_level=2)
        rows.append({"epochs": epochs, "seconds": seconds, "accuracy": accuracy})
    print(json.dumps(rows))


def write_pictures(folder: Path) -> None:
    """Write training and test pictures of CIFAR-10 as airbench keeps them."""
    root = os.environ.get("KILAT_DATA")
    source = open_data("cifar10", root=Path(root) if root else None)
    dataset, _near_duplicates = read_dataset(source, load("vgg-cifar"), silent)
    assert dataset.pixels is not None
    parts = {"train": (dataset.train, dataset.validation, dataset.calibration), "test": (dataset.test,)}
    for name, members in parts.items():
        rows = np.concatenate([part.rows for part in members])
        truth = np.concatenate([part.truth for part in members])
        images, labels = torch.from_numpy(dataset.pixels[rows]), torch.from_numpy(truth)
        torch.save({"images": images, "labels": labels, "classes": dataset.classes}, folder / f"{name}.pt")


if __name__ == "__main__":
    main()
